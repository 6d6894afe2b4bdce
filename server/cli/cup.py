"""``accanto cup``: bookings in, events out, and what did not go through."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from server import admin
from server.cli.common import data_option, run
from server.cup.inbox import ImportReport, RowError, import_file
from server.keyring import load_keyring
from server.settings import Settings, load_settings


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
        f"{report.cancelled} cancelled, {report.unchanged} unchanged, "
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
