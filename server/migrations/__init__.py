"""The schema's history, run from inside the package: there is no ``alembic.ini``.

:func:`migrate` brings a database to the newest revision; :func:`is_current` tells whether it is
there, :func:`is_empty` whether it never was. All work on SQLite and PostgreSQL, in one transaction.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from server.db import Database


def alembic_config(connection: Connection | None = None) -> Config:
    """The configuration of alembic for this folder, over an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def migrate(database: Database) -> None:
    """Bring the schema to the newest revision; a current one is left as it is."""
    async with database.engine.begin() as connection:
        await connection.run_sync(upgrade)


async def is_current(database: Database) -> bool:
    """Whether the schema is at the newest revision."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(find_revision) == _newest_revision()


async def is_empty(database: Database) -> bool:
    """Whether no revision was ever applied."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(find_revision) is None


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to a revision, in the caller's transaction."""
    command.upgrade(alembic_config(connection), revision)


def is_known(revision: str) -> bool:
    """Whether this version's history has the revision."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return revision in {script.revision for script in scripts.walk_revisions()}


def find_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@cache
def _newest_revision() -> str | None:
    """Of this version of the platform: its files are read once in a process."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()
