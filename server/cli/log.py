"""``accanto log``: exports, verdicts and checkpoints of the session log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import or_, select
from sqlalchemy.exc import SQLAlchemyError

from server import admin
from server.audit import Act, ActorRole, Entry, append
from server.cli.accept import accept
from server.cli.common import data_option, run
from server.cli.watching import witness
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import load_keyring
from server.logexport import NoKey, settle_log, write_log_bundle
from server.logsigner.client import SignerProcess
from server.logsigner.memory import Memory
from server.models import Organisation
from server.settings import Settings, load_settings
from server.tlog.verify import verify

_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def log() -> None:
    """The session log: take it out, check it, sign it."""


@log.command()
@click.option("--organisation", "wanted", required=True, help="Its code or id.")
@click.option("--to", "path", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--with-values", is_flag=True, help="Also what names persons, in clear.")
@data_option
def export(wanted: str, path: Path, with_values: bool, data_dir: Path | None) -> None:
    """Write the log of an organisation as a zip that anybody can verify.

    A log that somebody has tampered with is written all the same: 'accanto log verify' says where.
    The log keeps that it was exported.
    """
    settings = load_settings(data_dir)
    size = run(_export(settings, wanted, path, datetime.now(UTC), with_values=with_values))
    click.echo(f"Wrote {path}: {size} entries are signed.")


async def _export(
    settings: Settings, wanted: str, path: Path, now: datetime, *, with_values: bool
) -> int:
    keyring = load_keyring(settings.data_dir) if with_values else None
    async with _opened(settings) as (database, signer):
        (body,) = await _choose(database, wanted)
        await _note_export(database, body, now)
        _complain(await settle_log(database, signer, settings.realm, body.id, now))
        memory = Memory(settings.signer_folder / body.id)
        try:
            async with database.read(body.id) as session:
                kept = await write_log_bundle(
                    session, keyring, memory, body.id, path, name=body.code, now=now
                )
        except NoKey as error:
            raise CommandFailed(f"{settings.signer_folder} has no key of this log") from error
    return kept.size


async def _note_export(database: Database, body: Organisation, now: datetime) -> None:
    """A table that takes no entry any more is evidence too: it is taken out all the same."""
    entry = Entry(now, Act.LOG_EXPORTED, ActorRole.SYSTEM, object=f"log:{body.id}")
    try:
        async with database.begin(body.id) as session:
            await append(session, body.id, entry)
    except (SQLAlchemyError, LookupError) as error:
        _complain([f"The log takes no entry of this export ({type(error).__name__})"])


@log.command("verify")
@click.argument("path", metavar="FILE.zip", type=_file)
@click.option("--checkpoint", type=_file, help="An older checkpoint, or an older export.")
@click.option("--key", help="The log's public key as it is known from elsewhere.")
def verify_command(path: Path, checkpoint: Path | None, key: str | None) -> None:
    """Say whether an export is whole and unaltered, and where it is not.

    Needs no data folder and no network. Ends with 0 when the line begins with OK, else with 1.
    """
    verdict = verify(str(path), str(checkpoint) if checkpoint else None, key)
    click.echo(verdict)
    if not verdict.startswith("OK"):
        raise SystemExit(1)


@log.command()
@click.option("--organisation", "wanted", help="Its code or id; else all of them.")
@data_option
def checkpoint(wanted: str | None, data_dir: Path | None) -> None:
    """Number and sign what is new, and print the newest checkpoint, to be kept elsewhere."""
    if not run(_print_checkpoints(load_settings(data_dir), wanted, datetime.now(UTC))):
        raise SystemExit(1)


async def _print_checkpoints(settings: Settings, wanted: str | None, now: datetime) -> bool:
    """Whether every log was signed."""
    is_good = True
    async with _opened(settings) as (database, signer):
        for body in await _choose(database, wanted):
            complaints = await settle_log(database, signer, settings.realm, body.id, now)
            _complain([f"{body.code}: {complaint}" for complaint in complaints])
            is_good = is_good and not complaints
            note = await asyncio.to_thread(Memory(settings.signer_folder / body.id).load_last_note)
            if note is None:
                _complain([f"{body.code}: there is nothing to sign yet"])
            else:
                click.echo(note, nl=False)
    return is_good


@log.command()
@click.option("--visits", type=click.IntRange(1, 1_000_000), required=True, help="How many.")
@data_option
def seed(visits: int, data_dir: Path | None) -> None:
    """Invent visits of the last two years with their log, to measure with.

    They are of an organisation of their own, dati-inventati, in a new data folder or in that of a
    demonstration, nowhere else. Its manager is seed.manager; 'accanto user password' lets her in.
    """
    from server.demo.seed import seed_log

    made = run(seed_log(load_settings(data_dir), visits, datetime.now(UTC)))
    speed = made.entries / made.seconds
    click.echo(
        f"Invented {made.visits} visits with {made.entries} entries in {made.seconds:.0f} s "
        f"({speed:.0f} entries a second)."
    )


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Database, SignerProcess]]:
    async with admin.open_database(settings) as database:
        signer = SignerProcess(settings.signer_folder)
        try:
            yield database, signer
        finally:
            await signer.stop()


async def _choose(database: Database, wanted: str | None) -> list[Organisation]:
    """:raises CommandFailed: no organisation has this code or id."""
    async with database.read(EVERY_ORGANISATION) as session:
        rows = select(Organisation).order_by(Organisation.code)
        if wanted is not None:
            rows = rows.where(or_(Organisation.code == wanted, Organisation.id == wanted))
        found = list(await session.scalars(rows))
        if wanted is not None and not found:
            await admin.load_organisation(session, wanted)
    return found


def _complain(sentences: list[str]) -> None:
    for sentence in sentences:
        click.echo(sentence, err=True)


log.add_command(accept)
log.add_command(witness)
