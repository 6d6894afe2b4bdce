"""``accanto migrate``, ``settings`` and ``appointments``."""

from __future__ import annotations

import json
from pathlib import Path

import click
from sqlalchemy.engine import make_url

from server import admin
from server.cli.common import data_option, json_option, run
from server.logs import configure_logging
from server.models import Visit
from server.settings import Settings, load_settings


@click.command()
@data_option
def migrate(data_dir: Path | None) -> None:
    """Make or update the database, and make the keys of a new installation."""
    settings = load_settings(data_dir)
    configure_logging("WARNING")
    run(admin.prepare(settings))
    click.echo("The database is at the newest version.")


@click.command(name="settings")
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


@click.command()
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
