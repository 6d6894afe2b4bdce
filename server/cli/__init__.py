"""The command line: options and words only; the work is in the modules it calls.

Every command takes ``--data DIR`` (or ``ACCANTO_DATA_DIR``), ends with a status other than 0 on
failure, and then says why in a sentence.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from sqlalchemy.engine import make_url

from server import admin
from server.check import check_installation
from server.cli.clinic import clinic
from server.cli.codes import codes
from server.cli.common import Commands, data_option, json_option, run
from server.cli.cup import cup
from server.cli.keys import keys
from server.cli.operations import backup, init, restore
from server.cli.people import organisation, user
from server.cli.report import report, visits
from server.cli.retention import hold, retention
from server.cli.turn import turn_config
from server.demo import run_demo
from server.errors import CommandFailed
from server.findings import Level
from server.hygiene import close_memory
from server.listen import Place, check_port, serve
from server.logs import configure_logging
from server.models import Visit
from server.settings import Settings, load_settings
from server.supervisor import LINE_OPTION, Line, Supervisor

_COLOURS: Final = {Level.GOOD: "green", Level.WARNING: "yellow", Level.BAD: "red"}
_MARKS: Final = {Level.GOOD: "ok", Level.WARNING: "note", Level.BAD: "FAILS"}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Accanto: video visits for a public health service."""


@main.command(name="serve")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Processes; default 1.")
@click.option(LINE_OPTION, "line", type=int, hidden=True)
@data_option
def serve_command(workers: int, line: int | None, data_dir: Path | None) -> None:
    """Serve a data folder until Ctrl-C.

    The embedded SQLite database is made and migrated by itself; another one must have been
    migrated with 'accanto migrate'.

    SIGTERM ends without an error for anybody within 30 seconds; with several workers SIGHUP
    starts them anew, one after the other.
    """
    settings = load_settings(data_dir)
    configure_logging(settings.log_level)
    close_memory()
    if line is not None:
        run(_serve_as_child(settings, Line(line)))
    elif workers > 1:
        run(_supervise(settings, workers))
    else:
        run(_serve(settings))


async def _serve(settings: Settings) -> None:
    await _prepare(settings)
    await serve(settings)


async def _supervise(settings: Settings, workers: int) -> None:
    if not settings.valkey_url:
        raise CommandFailed("Several workers need a Valkey in common: set ACCANTO_VALKEY_URL")
    check_port(settings)
    await _prepare(settings)
    await Supervisor([sys.executable, *sys.argv], workers).run()


async def _serve_as_child(settings: Settings, line: Line) -> None:
    async with admin.open_database(settings):
        pass
    await serve(settings, place=Place(is_shared=True, line=line))


async def _prepare(settings: Settings) -> None:
    if not settings.database_url:
        await admin.prepare(settings)
    await admin.check_root_key(settings)


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default 8080; 0 takes a free one.")
@click.option("--nodes", type=click.IntRange(1, 4), default=1, help="Processes; default 1.")
@click.option("--json", "is_json", is_flag=True, help="One JSON line on stdout when ready.")
@data_option
def demo(port: int | None, nodes: int, data_dir: Path | None, is_json: bool) -> None:
    """A demonstration with invented people, in a fresh folder.

    The folder is demo-data/<date and time>; --data takes another, or goes on with an earlier
    demonstration. It stays after the stop.

    Several nodes share a PostgreSQL and a Valkey that are started with them. One that is killed is
    not started again.
    """
    configure_logging("WARNING")
    run(run_demo(data_dir, port, nodes, is_json=is_json, now=datetime.now(UTC)))


@main.command()
@data_option
def migrate(data_dir: Path | None) -> None:
    """Make or update the database, and make the keys of a new installation."""
    settings = load_settings(data_dir)
    configure_logging("WARNING")
    run(admin.prepare(settings))
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
@json_option
@data_option
def check(is_json: bool, data_dir: Path | None) -> None:
    """Say what is in order and what is not covered; fails when something must be mended."""
    configure_logging("CRITICAL")
    findings = run(check_installation(load_settings(data_dir), datetime.now(UTC)))
    for finding in findings:
        if is_json:
            click.echo(json.dumps({"level": finding.level.value, "text": finding.text}))
            continue
        mark = click.style(f"{_MARKS[finding.level]:>5}", fg=_COLOURS[finding.level])
        click.echo(f"{mark}  {finding.text}")
    if any(finding.level is Level.BAD for finding in findings):
        raise SystemExit(1)


@main.command()
@json_option
@data_option
def appointments(is_json: bool, data_dir: Path | None) -> None:
    """List the appointments of all organisations, without names.

    The id is the visit's: it is also the id of its room and of its lines in the session log.
    The state is the visit's.
    """
    for visit, code in run(_load_visits(load_settings(data_dir))):
        facts = _facts(visit, code)
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


for command in (
    backup, clinic, codes, cup, hold, init, keys, organisation, report, restore, retention,
    turn_config, user, visits,
):  # fmt: skip
    main.add_command(command)
