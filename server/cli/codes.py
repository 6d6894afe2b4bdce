"""``accanto codes``: lists of codes for the picker of the note."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from server import admin
from server.cli.common import data_option, run
from server.db import EVERY_ORGANISATION
from server.errors import CommandFailed
from server.models import CodeSystem
from server.settings import Settings, load_settings
from server.writing.codelists import MAX_VERSION, CodeLine, parse_code_file, replace_list

_SYSTEMS: Final = {"icd9cm": CodeSystem.ICD9_CM, "services": CodeSystem.SERVICES}
_MOST_LINES_SHOWN: Final = 50


@click.group()
def codes() -> None:
    """Lists of codes: ICD-9-CM and the nomenclature of services."""


@codes.command(name="import")
@click.argument("system", type=click.Choice(sorted(_SYSTEMS)))
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--version", default="", help="Of the list, for instance 2007; kept with each code.")
@data_option
def codes_import(system: str, file: Path, version: str, data_dir: Path | None) -> None:
    """Take a CSV file 'code,display' as the list of the installation.

    The file is taken whole or not at all: it replaces the list before it, and with one bad line
    nothing changes and each bad line is named. Comma, semicolon or tab; UTF-8 or Windows-1252.
    """
    lines, bad = parse_code_file(file.read_bytes())
    for one in bad[:_MOST_LINES_SHOWN]:
        click.echo(f"line {one.line}: the {one.field} {one.reason}", err=True)
    if bad:
        raise CommandFailed(f"{len(bad)} lines are wrong; nothing was changed.")
    if not lines:
        raise CommandFailed("There is no code in this file; nothing was changed.")
    if len(version) > MAX_VERSION:
        raise CommandFailed(f"The version is longer than {MAX_VERSION} characters.")
    run(_replace(load_settings(data_dir), _SYSTEMS[system], lines, version))
    click.echo(f"{len(lines)} codes are in the list {system}.")


async def _replace(
    settings: Settings, system: CodeSystem, lines: list[CodeLine], version: str
) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        await replace_list(session, system, lines, version=version, now=datetime.now(UTC))
