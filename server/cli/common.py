"""What every command shares: the data option, the loop, and the border where an error becomes a
sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.cli.leaving import LEAVES, LONG_ONES
from server.db import OrganisationId
from server.errors import CommandFailed, Conflict, InvalidInput
from server.footprint import follow

data_option = click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data folder; else ACCANTO_DATA_DIR, else ./accanto-data.",
)
json_option = click.option("--json", "is_json", is_flag=True, help="One JSON object a line.")


class Commands(click.Group):
    """The border where an error becomes a sentence. ``modules``: the module of ``server.cli`` that
    holds each command."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._modules = modules

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(self._modules)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self._modules:
            return None
        module = import_module(f"server.cli.{self._modules[name]}")
        commands = [value for value in vars(module).values() if isinstance(value, click.Command)]
        return next(command for command in commands if command.name == name)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except CommandFailed as error:
            message = str(error)
        except InvalidInput as error:
            message = f"The {error.field} is {error.reason.replace('_', ' ')}"
        except Conflict as error:
            message = str(error)
        except BrokenPipeError:
            raise
        except (OSError, SQLAlchemyError) as error:
            message = f"The database or a file cannot be used ({type(error).__name__})"
        click.echo(message, err=True)
        raise SystemExit(1)


async def log_change(
    session: AsyncSession, organisation: str, act: Act, object_id: str, change: str
) -> None:
    """Write in the session log that somebody at this machine changed a user, a clinic or an
    organisation; ``change``: ``added``, ``saved`` or ``password``."""
    entry = Entry(
        datetime.now(UTC),
        act,
        ActorRole.SYSTEM,
        facts={"change": change},
        object=f"{act.partition('.')[0]}:{object_id}",
    )
    await append(session, OrganisationId(organisation), entry)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a command's coroutine and hold it to what the command declares to leave in the session
    log (:mod:`server.cli.leaving`)."""
    name = click.get_current_context().command_path.partition(" ")[2]
    if name in LONG_ONES:
        return _run(work)
    with follow() as done:
        result = _run(work)
    LEAVES[name].check(name, done, is_well=True, is_read=False)
    return result


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """On uvloop where it exists."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
