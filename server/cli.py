"""The command line: options and words only; the work is in the modules it calls.

Every command takes ``--data DIR`` (or ``ACCANTO_DATA_DIR``), ends with a status other than 0 on
failure, and then says why in a sentence.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from server import admin
from server.check import Level, check_installation
from server.cup.booking import RowError
from server.cup.inbox import ImportReport, import_file
from server.db import EVERY_ORGANISATION
from server.demo import run_demo
from server.errors import CommandFailed, InvalidInput
from server.keyring import load_keyring
from server.listen import serve
from server.logs import configure_logging
from server.models import Organisation, User, UserRole, Visit
from server.passwords import hash_password
from server.settings import Settings, load_settings

_COLOURS: Final = {Level.GOOD: "green", Level.WARNING: "yellow", Level.BAD: "red"}
_MARKS: Final = {Level.GOOD: "ok", Level.WARNING: "note", Level.BAD: "FAILS"}

data_option = click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data folder; else ACCANTO_DATA_DIR, else ./accanto-data.",
)


class _Commands(click.Group):
    """The border where an error becomes a sentence."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except CommandFailed as error:
            message = str(error)
        except InvalidInput as error:
            message = f"The {error.field} is {error.reason.replace('_', ' ')}"
        except BrokenPipeError:
            raise
        except (OSError, SQLAlchemyError) as error:
            message = f"The database or a file cannot be used ({type(error).__name__})"
        click.echo(message, err=True)
        raise SystemExit(1)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a command's coroutine, on uvloop where it exists."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Accanto: video visits for a public health service."""


@main.command(name="serve")
@data_option
def serve_command(data_dir: Path | None) -> None:
    """Serve a data folder until Ctrl-C.

    The embedded SQLite database is made and migrated by itself; another one must have been
    migrated with 'accanto migrate'.
    """
    settings = load_settings(data_dir)
    configure_logging(settings.log_level)
    _run(_serve(settings))


async def _serve(settings: Settings) -> None:
    if not settings.database_url:
        await admin.prepare(settings)
    async with admin.open_database(settings):
        pass
    await serve(settings)


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default 8080; 0 takes a free one.")
@click.option("--json", "is_json", is_flag=True, help="One JSON line on stdout when ready.")
@data_option
def demo(port: int | None, data_dir: Path | None, is_json: bool) -> None:
    """A demonstration with invented people, in a fresh folder.

    The folder is demo-data/<date and time>; --data takes another, or goes on with an earlier
    demonstration. It stays after the stop.
    """
    configure_logging("WARNING")
    _run(run_demo(data_dir, port, is_json=is_json, now=datetime.now(UTC)))


@main.command()
@data_option
def migrate(data_dir: Path | None) -> None:
    """Make or update the database, and make the keys of a new installation."""
    settings = load_settings(data_dir)
    configure_logging("WARNING")
    _run(admin.prepare(settings))
    click.echo("The database is at the newest version.")


@main.command(name="settings")
@data_option
def settings_command(data_dir: Path | None) -> None:
    """Print the settings: name, value, default, meaning."""
    settings = load_settings(data_dir)
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if not field.repr:
            value = "(set)" if value else ""
        elif name == "database_url" and value:
            value = make_url(value).render_as_string(hide_password=True)
        click.echo(f"ACCANTO_{name.upper()} = {_as_written(value)}")
        click.echo(f"    {field.description} Default: {_as_written(field.default) or 'empty'}")


def _as_written(value: object) -> str:
    """A value as ``accanto.env`` would hold it."""
    return json.dumps(value) if isinstance(value, list) else str(value)


@main.command()
@data_option
def check(data_dir: Path | None) -> None:
    """Say what is in order and what is not covered; fails when something must be mended."""
    findings = _run(check_installation(load_settings(data_dir), datetime.now(UTC)))
    for finding in findings:
        mark = click.style(f"{_MARKS[finding.level]:>5}", fg=_COLOURS[finding.level])
        click.echo(f"{mark}  {finding.text}")
    if any(finding.level is Level.BAD for finding in findings):
        raise SystemExit(1)


@main.group()
def cup() -> None:
    """Bookings from CUP."""


@cup.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--organisation", help="Code of the organisation for rows that do not name theirs.")
@data_option
def cup_import(file: Path, organisation: str | None, data_dir: Path | None) -> None:
    """Import bookings from FILE: a FHIR R4 bundle or a CSV file, told apart by content.

    Good rows go in whatever the others are; importing a file again changes nothing. The status
    is 0 when every row went in, 1 when some row or the whole file did not.
    """
    report: ImportReport = _run(_import(load_settings(data_dir), file, organisation))
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


@main.command()
@click.option("--json", "is_json", is_flag=True, help="One JSON object a line.")
@data_option
def appointments(is_json: bool, data_dir: Path | None) -> None:
    """List the appointments of all organisations, without names.

    The id is the visit's: it is also the id of its room and of its lines in the session log.
    The state is the visit's.
    """
    for visit, organisation in _run(_load_visits(load_settings(data_dir))):
        facts = _facts(visit, organisation)
        click.echo(json.dumps(facts) if is_json else "  ".join(facts.values()))


async def _load_visits(settings: Settings) -> list[tuple[Visit, str]]:
    async with admin.open_database(settings) as database:
        return await admin.load_visits(database)


def _facts(visit: Visit, organisation: str) -> dict[str, str]:
    return {
        "id": visit.id,
        "booking_code": visit.appointment.booking_code,
        "state": visit.state.value,
        "start": visit.appointment.start.isoformat(),
        "end": visit.appointment.end.isoformat(),
        "organisation": organisation,
    }


@main.group()
def organisation() -> None:
    """Health bodies."""


@organisation.command(name="add")
@click.option("--code", required=True, help="As CUP files name it, for instance 090203.")
@click.option("--name", required=True)
@click.option("--desk-phone", required=True, help="The number that patients are told to call.")
@click.option("--no-second-factor", is_flag=True, help="Staff log in with the password alone.")
@click.option("--relay-only", is_flag=True, help="Calls always go through the TURN server.")
@data_option
def organisation_add(
    code: str,
    name: str,
    desk_phone: str,
    no_second_factor: bool,
    relay_only: bool,
    data_dir: Path | None,
) -> None:
    """Add an organisation."""
    row = Organisation(
        code=code,
        name=name,
        desk_phone=desk_phone,
        is_totp_required=not no_second_factor,
        is_relay_only=relay_only,
    )
    _run(_add_organisation(load_settings(data_dir), row))
    click.echo(f"Added the organisation {code}.")


async def _add_organisation(settings: Settings, row: Organisation) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        await admin.add_organisation(session, load_keyring(settings.data_dir), row)


@main.group()
def user() -> None:
    """Members of staff."""


@user.command(name="add")
@click.option("--organisation", "organisation_code", required=True, help="Its code.")
@click.option("--username", required=True)
@click.option("--role", required=True, type=click.Choice([role.value for role in UserRole]))
@click.option("--given-name", default="")
@click.option("--family-name", default="")
@click.option("--title", default="", help="As patients read it, for instance dott.ssa.")
@click.option("--code", help="The clinician's code in CUP files.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@data_option
def user_add(
    organisation_code: str, role: str, password_stdin: bool, data_dir: Path | None, **names: str
) -> None:
    """Add a member of staff; the password is asked for."""
    settings = load_settings(data_dir)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    row = User(role=UserRole(role), password_hash=hash_password(password), **names)
    _run(_add_user(settings, organisation_code, row))
    click.echo(f"Added the user {row.username}.")


async def _add_user(settings: Settings, organisation_code: str, row: User) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        organisation = await admin.load_organisation(session, organisation_code)
        row.organisation_id = organisation.id
        await admin.add_user(session, row)
