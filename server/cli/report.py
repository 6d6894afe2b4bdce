"""``accanto visits`` and ``accanto report``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from server import admin
from server.audit import Act, ActorRole, Entry, Fact, append
from server.cli.common import data_option, json_option, run
from server.db import EVERY_ORGANISATION
from server.errors import CommandFailed
from server.keyring import load_keyring
from server.models import ReportState, Visit
from server.report.fhir import render_document, render_transaction
from server.report.keep import load_reports, load_states, open_content
from server.report.state import find_current
from server.sealed import open_report_cda, open_report_pdf
from server.settings import Settings, load_settings

_FILES: Final = ("report.pdf", "cda.xml", "document.json", "transaction.json")


@click.command()
@json_option
@data_option
def visits(is_json: bool, data_dir: Path | None) -> None:
    """List the visits of all organisations with their outcome and where their report is, without
    names."""
    for visit, state in run(_load_visits(load_settings(data_dir))):
        facts = {
            "id": visit.id,
            "booking_code": visit.appointment.booking_code,
            "outcome": visit.outcome.value if visit.outcome else "",
            "report_state": state.value,
        }
        words = "  ".join(value or "-" for value in facts.values())
        click.echo(json.dumps(facts) if is_json else words)


async def _load_visits(settings: Settings) -> list[tuple[Visit, ReportState]]:
    async with admin.open_database(settings) as database:
        found = [visit for visit, _ in await admin.load_visits(database)]
        async with database.read(EVERY_ORGANISATION) as session:
            states = await load_states(session)
    return [(visit, states.get(visit.id, ReportState.NONE)) for visit in found]


@click.group()
def report() -> None:
    """Signed reports."""


@report.command(name="export")
@click.argument("visit")
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Write over files that are there.")
@data_option
def report_export(visit: str, folder: Path, force: bool, data_dir: Path | None) -> None:
    """Write the signed report of VISIT (its id or booking code) as report.pdf, cda.xml,
    document.json and transaction.json. The session log keeps that it was done."""
    there = [name for name in _FILES if (folder / name).exists()]
    if there and not force:
        raise CommandFailed(f"{folder} already holds {', '.join(there)}: --force writes over them")
    files = run(_export(load_settings(data_dir), visit, datetime.now(UTC)))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
    click.echo(f"Wrote {', '.join(files)} to {folder}.")


async def _export(settings: Settings, wanted: str, now: datetime) -> dict[str, bytes]:
    keyring = load_keyring(settings.data_dir)
    async with admin.open_database(settings) as database:
        visit = _find_visit([row for row, _ in await admin.load_visits(database)], wanted)
        async with database.begin(visit.organisation_id) as session:
            current = find_current(await load_reports(session, visit.id))
            if current is None:
                raise CommandFailed(f"The visit {wanted} has no signed report")
            content = await open_content(keyring, session, current)
            pdf = await open_report_pdf(keyring, session, current)
            cda = await open_report_cda(keyring, session, current)
            facts: dict[str, Fact] = {"report": current.id, "version": current.version}
            entry = Entry(now, Act.REPORT_EXPORTED, ActorRole.SYSTEM, visit=visit.id, facts=facts)
            await append(session, visit.organisation_id, entry)
    forms = (pdf, cda, render_document(content), render_transaction(content))
    return dict(zip(_FILES, forms, strict=True))


def _find_visit(visits: list[Visit], wanted: str) -> Visit:
    """:raises CommandFailed: there is none, or the code is of visits of several bodies."""
    found = [row for row in visits if wanted in {row.id, row.appointment.booking_code}]
    if not found:
        raise CommandFailed(f"There is no visit {wanted}: 'accanto visits' lists them")
    if len(found) > 1:
        raise CommandFailed(f"Several organisations have a visit {wanted}: give its id")
    return found[0]
