"""``accanto cup``: bookings in, events out, and what did not go through."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import select

from server import admin
from server.cli.common import data_option, json_option, run
from server.cli.source import list_sources, organisation_option, source
from server.cup import cuplist
from server.cup.inbox.intake import ImportReport, RowError, import_file
from server.cup.inbox.listing import Row, load_inbox, load_outbox, load_source_named
from server.cup.inbox.replay import replay
from server.cup.reconcile import export_csv, reconcile
from server.db import EVERY_ORGANISATION
from server.errors import CommandFailed
from server.keyring import load_keyring
from server.models import InboxMessage, MessageState, OutboxEvent
from server.outbox import retry_event
from server.settings import Settings, load_settings
from server.sources import settings_of


@click.group()
def cup() -> None:
    """Bookings from CUP, and events for it."""


@cup.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--organisation", help="Code of the organisation for rows that do not name theirs.")
@data_option
def cup_import(file: Path, organisation: str | None, data_dir: Path | None) -> None:
    """Import bookings from FILE: a FHIR R4 bundle or a CSV file, told apart by content.

    Good rows go in whatever the others are; importing a file again changes nothing. The status
    is 0 when every row went in, 1 when some row or the whole file did not.
    """
    report: ImportReport = run(_import(load_settings(data_dir), file, organisation))
    click.echo(
        f"{report.imported} imported, {report.updated} updated, {report.moved} moved, "
        f"{report.cancelled} cancelled, {report.ended} ended, {report.unchanged} unchanged, "
        f"{len(report.to_assign)} to assign, {len(report.errors)} wrong"
    )
    for booking_code in report.to_assign:
        click.echo(f"{booking_code}: to assign, the clinician is not known here")
    for error in report.errors:
        click.echo(_describe(error), err=True)
    if report.errors:
        raise SystemExit(1)


async def _import(settings: Settings, file: Path, organisation: str | None) -> ImportReport:
    async with admin.open_database(settings) as database:
        return await import_file(
            database,
            load_keyring(settings.data_dir),
            file,
            organisation_code=organisation,
            now=datetime.now(UTC),
        )


def _describe(error: RowError) -> str:
    return f"line {error.line}, {error.field or 'row'}: {error.reason.words}"


# ---- what came in ----------------------------------------------------------------------


@cup.command()
@json_option
@data_option
def inbox(is_json: bool, data_dir: Path | None) -> None:
    """List every message from CUP and what became of it."""
    _print(run(_load_inbox(load_settings(data_dir), frozenset(MessageState))), is_json=is_json)


@cup.command()
@json_option
@data_option
def quarantine(is_json: bool, data_dir: Path | None) -> None:
    """List the messages that could not be applied and wait for a person."""
    states = frozenset({MessageState.QUARANTINED})
    _print(run(_load_inbox(load_settings(data_dir), states)), is_json=is_json)


async def _load_inbox(settings: Settings, states: Collection[MessageState]) -> list[Row]:
    async with admin.open_database(settings) as database:
        return await load_inbox(database, states)


@cup.command(name="replay")
@click.argument("ids", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Everything in quarantine.")
@data_option
def cup_replay(ids: tuple[str, ...], is_all: bool, data_dir: Path | None) -> None:
    """Take messages from quarantine again, after the cause is fixed.

    The status is 0 when every one of them could be applied.
    """
    if not ids and not is_all:
        raise click.UsageError("Give the ids of messages, or --all")
    answers = run(_replay(load_settings(data_dir), ids))
    for message_id, state in answers:
        click.echo(f"{message_id}: {state.value}")
    if any(state is MessageState.QUARANTINED for _, state in answers):
        raise SystemExit(1)


async def _replay(settings: Settings, ids: Collection[str]) -> list[tuple[str, MessageState]]:
    keyring = load_keyring(settings.data_dir)
    answers = []
    async with admin.open_database(settings) as database:
        if not ids:
            rows = await load_inbox(database, {MessageState.QUARANTINED})
            ids = [str(row["id"]) for row in rows]
        for message_id in ids:
            async with database.read(EVERY_ORGANISATION) as session:
                message = await session.get(InboxMessage, message_id)
            if message is None:
                raise CommandFailed(f"There is no message {message_id}")
            organisation = message.organisation_id
            receipt = await replay(database, keyring, organisation, message_id, datetime.now(UTC))
            answers.append((message_id, receipt.state))
    return answers


# ---- what goes out ---------------------------------------------------------------------


@cup.command()
@json_option
@data_option
def outbox(is_json: bool, data_dir: Path | None) -> None:
    """List the events for CUP and whether they arrived."""
    _print(run(_load_outbox(load_settings(data_dir))), is_json=is_json)


async def _load_outbox(settings: Settings) -> list[Row]:
    async with admin.open_database(settings) as database:
        return await load_outbox(database)


@cup.command()
@click.argument("event_id")
@data_option
def retry(event_id: str, data_dir: Path | None) -> None:
    """Put an event that CUP refused back into the queue."""
    run(_retry(load_settings(data_dir), event_id))
    click.echo(f"{event_id}: queued")


async def _retry(settings: Settings, event_id: str) -> None:
    async with admin.open_database(settings) as database:
        async with database.read(EVERY_ORGANISATION) as session:
            event = await session.scalar(select(OutboxEvent).where(OutboxEvent.id == event_id))
        if event is None:
            raise CommandFailed(f"There is no event {event_id}")
        async with database.begin(event.organisation_id) as session:
            await retry_event(session, event_id, by="", now=datetime.now(UTC))


# ---- reconciliation --------------------------------------------------------------------


@cup.command(name="reconcile")
@click.argument("source_code", metavar="SOURCE")
@click.argument("file_or_url")
@organisation_option
@data_option
def cup_reconcile(
    source_code: str, file_or_url: str, organisation: str | None, data_dir: Path | None
) -> None:
    """Compare what CUP says it holds with what is here; nothing is changed.

    FILE_OR_URL is a CSV or FHIR file, or the address of CUP's FHIR server. The differences are
    printed as CSV, by booking code and names of fields. The status is 0 when there are none.
    """
    text, count = run(_reconcile(load_settings(data_dir), source_code, organisation, file_or_url))
    click.echo(text, nl=False)
    if count:
        raise SystemExit(1)


async def _reconcile(
    settings: Settings, code: str, organisation: str | None, file_or_url: str
) -> tuple[str, int]:
    keyring, now = load_keyring(settings.data_dir), datetime.now(UTC)
    async with admin.open_database(settings) as database:
        async with database.read(EVERY_ORGANISATION) as session:
            source = await load_source_named(session, code, organisation)
        if file_or_url.startswith(("http://", "https://")):
            bookings = cuplist.read_url(database, keyring, source, file_or_url, now)
        else:
            bookings = cuplist.read_file(Path(file_or_url), settings_of(source), now)
        found = await reconcile(database, keyring, source, bookings, now)
    return export_csv(found.differences), len(found.differences)


def _print(rows: list[Row], *, is_json: bool) -> None:
    for row in rows:
        words = (row[key] for key in ("id", "source", "state", "reason", "booking_code"))
        click.echo(json.dumps(row) if is_json else "  ".join(str(word) for word in words))


cup.add_command(source)
cup.add_command(list_sources)
