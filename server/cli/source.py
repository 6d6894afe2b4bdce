"""``accanto cup source``: the feeds of booking centres and what they are told to do."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

from server import admin
from server.audit import Act, ActorRole, Entry, append
from server.cli.common import data_option, json_option, run
from server.cup.inbox.listing import load_source_named, load_sources
from server.cup.tokens import issue_token
from server.db import EVERY_ORGANISATION
from server.errors import CommandFailed
from server.keyring import load_keyring
from server.models import Source
from server.sealed import seal_outgoing_token
from server.settings import Settings, load_settings
from server.sources import parse_settings, write_settings

organisation_option = click.option("--organisation", help="Code of the source's organisation.")


@click.command(name="sources")
@json_option
@data_option
def list_sources(is_json: bool, data_dir: Path | None) -> None:
    """List the sources and their settings; tokens are never shown."""
    for row, organisation in run(_load_sources(load_settings(data_dir))):
        facts = {
            "id": row.id,
            "code": row.code,
            "name": row.name,
            "organisation": organisation,
            "is_paused": row.is_paused,
            "settings": json.loads(row.settings),
        }
        click.echo(json.dumps(facts) if is_json else f"{organisation}  {row.code}  {row.settings}")


async def _load_sources(settings: Settings) -> list[tuple[Source, str]]:
    async with admin.open_database(settings) as database:
        return await load_sources(database)


@click.group()
def source() -> None:
    """One feed of a booking centre."""


@source.command(name="add")
@click.argument("code")
@click.option("--organisation", required=True, help="Code of the organisation it books for.")
@click.option("--name", default="", help="As people call it.")
@click.option("--settings", "file", type=click.File("r"), help="JSON file, see the README.")
@data_option
def source_add(
    code: str,
    organisation: str,
    name: str,
    file: TextIO | None,
    data_dir: Path | None,
) -> None:
    """Add a source."""
    text = file.read() if file else "{}"
    run(_add(load_settings(data_dir), code, organisation, name, text))
    click.echo(f"Added the source {code}.")


async def _add(settings: Settings, code: str, organisation: str, name: str, text: str) -> None:
    parsed = parse_settings(text)
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        owner = await admin.load_organisation(session, organisation)
        if code in {row.code for row, known in await load_sources(database) if known == owner.code}:
            raise CommandFailed(f"There is already a source {code}")
        row = Source(organisation_id=owner.id, code=code, name=name)
        write_settings(row, parsed)
        session.add(row)
        await session.flush()
        await append(session, owner.id, _entry(Act.SOURCE_CHANGED, row))


@source.command(name="set")
@click.argument("code")
@click.argument("file", type=click.File("r"))
@organisation_option
@data_option
def source_set(code: str, file: TextIO, organisation: str | None, data_dir: Path | None) -> None:
    """Replace the settings of a source by the JSON in FILE; a running server needs a restart to
    open or close listeners."""
    run(_set(load_settings(data_dir), code, organisation, file.read()))
    click.echo(f"Changed the source {code}.")


async def _set(settings: Settings, code: str, organisation: str | None, text: str) -> None:
    parsed = parse_settings(text)
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        row = await load_source_named(session, code, organisation)
        write_settings(row, parsed)
        await append(session, row.organisation_id, _entry(Act.SOURCE_CHANGED, row))


@source.command(name="token")
@click.argument("code")
@click.option("--outgoing-stdin", is_flag=True, help="Store the token that CUP gave us instead.")
@organisation_option
@data_option
def source_token(
    code: str, outgoing_stdin: bool, organisation: str | None, data_dir: Path | None
) -> None:
    """Issue a new bearer token for the FHIR entrance and print it, this once.

    With --outgoing-stdin the token that CUP gave us for its own server is read from standard
    input and kept sealed.
    """
    given = sys.stdin.readline().strip() if outgoing_stdin else ""
    issued = run(_issue(load_settings(data_dir), code, organisation, given))
    click.echo(issued or f"Stored the token of {code}.")


async def _issue(settings: Settings, code: str, organisation: str | None, given: str) -> str:
    keyring = load_keyring(settings.data_dir)
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        row = await load_source_named(session, code, organisation)
        await append(session, row.organisation_id, _entry(Act.SOURCE_KEY_ISSUED, row))
        if given:
            await seal_outgoing_token(keyring, session, row, given)
            return ""
        return issue_token(row)


def _entry(act: Act, row: Source) -> Entry:
    return Entry(datetime.now(UTC), act, ActorRole.SYSTEM, facts={"source": row.id})
