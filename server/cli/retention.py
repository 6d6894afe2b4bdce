"""``accanto retention`` and ``accanto hold``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import select

from server import admin
from server.cli.common import data_option, json_option, run
from server.db import EVERY_ORGANISATION
from server.errors import CommandFailed, NotFound
from server.keyring import load_keyring
from server.models import Kept, LegalHold, Organisation
from server.retention.files import SealedFiles
from server.retention.holds import HoldReason, lift_hold, load_holds, place_hold
from server.retention.job import Done, Shredder
from server.settings import Settings, load_settings
from server.terms import load_terms, set_term


@click.group()
def retention() -> None:
    """How long records are kept."""


@retention.command(name="show")
@json_option
@data_option
def retention_show(is_json: bool, data_dir: Path | None) -> None:
    """Print the terms of every organisation, in days."""
    for code, terms in run(_load_terms(load_settings(data_dir))).items():
        if is_json:
            click.echo(json.dumps({"organisation": code, **terms}))
        else:
            click.echo(f"{code}: " + ", ".join(f"{kept} {days}" for kept, days in terms.items()))


async def _load_terms(settings: Settings) -> dict[str, dict[str, int]]:
    async with (
        admin.open_database(settings) as database,
        database.read(EVERY_ORGANISATION) as session,
    ):
        bodies = (await session.scalars(select(Organisation).order_by(Organisation.code))).all()
        return {
            body.code: {
                kept.value: days for kept, days in (await load_terms(session, body.id)).items()
            }
            for body in bodies
        }


@retention.command(name="set")
@click.argument("organisation")
@click.argument("kept", type=click.Choice([kept.value for kept in Kept]))
@click.argument("days", type=int)
@data_option
def retention_set(organisation: str, kept: str, days: int, data_dir: Path | None) -> None:
    """Keep one kind of records of an organisation for so many days."""
    is_new = run(_set_term(load_settings(data_dir), organisation, Kept(kept), days))
    click.echo(f"{organisation} keeps {kept} for {days} days{'' if is_new else ', as before'}.")


async def _set_term(settings: Settings, code: str, kept: Kept, days: int) -> bool:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        body = await session.scalar(select(Organisation).where(Organisation.code == code))
        if body is None:
            raise CommandFailed(f"There is no organisation {code}")
        return await set_term(session, body.id, kept, days, datetime.now(UTC))


@retention.command(name="run")
@data_option
def retention_run(data_dir: Path | None) -> None:
    """End now what has come to its term; the server does the same once a day."""
    done = run(_run_once(load_settings(data_dir)))
    click.echo(
        f"Ended: {done.visits} visits, {done.recordings} recordings, {done.months} months of "
        f"messages, {done.logins} log-ins and devices, {done.log.entries} entries of the log and "
        f"{done.log.values} of its personal values; {done.files} files deleted. "
        f"Held: {done.held} visits."
    )
    if done.log.held:
        click.echo(f"Held of the log: {done.log.held} entries.")


async def _run_once(settings: Settings) -> Done:
    async with admin.open_database(settings) as database:
        keyring, files = load_keyring(settings.data_dir), SealedFiles.of(settings)
        shredder = Shredder(database, keyring, files, lambda: datetime.now(UTC))
        return await shredder.run_once(datetime.now(UTC))


@click.group()
def hold() -> None:
    """Legal holds: while one runs nothing of its visit is deleted."""


@hold.command(name="place")
@click.argument("visit")
@click.option("--reason", type=click.Choice([reason.value for reason in HoldReason]), required=True)
@data_option
def hold_place(visit: str, reason: str, data_dir: Path | None) -> None:
    """Hold a visit, by the id that 'accanto visits' prints."""
    run(_change_hold(load_settings(data_dir), visit, HoldReason(reason)))
    click.echo(f"The visit {visit} is held.")


@hold.command(name="lift")
@click.argument("visit")
@data_option
def hold_lift(visit: str, data_dir: Path | None) -> None:
    """Let the terms of a visit count again."""
    run(_change_hold(load_settings(data_dir), visit, None))
    click.echo(f"The visit {visit} is not held any more.")


async def _change_hold(settings: Settings, visit_id: str, reason: HoldReason | None) -> None:
    now = datetime.now(UTC)
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        try:
            if reason is None:
                await lift_hold(session, visit_id, now)
            else:
                await place_hold(session, visit_id, reason, now)
        except NotFound as error:
            raise CommandFailed(f"There is no visit {visit_id}") from error


@hold.command(name="list")
@json_option
@data_option
def hold_list(is_json: bool, data_dir: Path | None) -> None:
    """Print the holds that run, a line each."""
    for row in run(_load_holds(load_settings(data_dir))):
        at = row.placed_at.isoformat(timespec="seconds")
        if is_json:
            click.echo(json.dumps({"visit": row.visit_id, "reason": row.reason, "placed_at": at}))
        else:
            click.echo(f"{row.visit_id}  {row.reason}  {at}")


async def _load_holds(settings: Settings) -> Sequence[LegalHold]:
    async with (
        admin.open_database(settings) as database,
        database.read(EVERY_ORGANISATION) as session,
    ):
        return await load_holds(session)
