"""``accanto clinic``: the codes of a clinic that a report must state."""

from __future__ import annotations

from pathlib import Path

import click
from sqlalchemy import select

from server import admin
from server.audit import Act
from server.cli.common import data_option, log_change, run
from server.db import EVERY_ORGANISATION
from server.errors import CommandFailed
from server.models import Clinic
from server.settings import Settings, load_settings


@click.group()
def clinic() -> None:
    """Clinics, as CUP names them."""


@clinic.command(name="set")
@click.argument("organisation_code")
@click.argument("code")
@click.option("--site-code", help="Code of the building (HSP.11 or STS.11).")
@click.option("--site-name", help="Its name.")
@click.option("--discipline-code", help="Two digits, for instance 08 for cardiology.")
@click.option("--branch-code", help="Two digits of the outpatient branch (branca).")
@data_option
def clinic_set(
    organisation_code: str, code: str, data_dir: Path | None, **values: str | None
) -> None:
    """Change the codes of a clinic; what is not given stays. A clinic that CUP has not named yet
    is made with its code as its name."""
    run(_set_codes(load_settings(data_dir), organisation_code, code, values))
    click.echo(f"Changed the clinic {code}.")


async def _set_codes(
    settings: Settings, organisation_code: str, code: str, values: dict[str, str | None]
) -> None:
    for name, value in values.items():
        if name in {"discipline_code", "branch_code"} and value and not _is_two_digits(value):
            raise CommandFailed(f"--{name.replace('_', '-')} must be two digits")
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        organisation = await admin.load_organisation(session, organisation_code)
        of_it = select(Clinic).where(Clinic.organisation_id == organisation.id)
        row = await session.scalar(of_it.where(Clinic.code == code))
        if row is None:
            row = Clinic(organisation_id=organisation.id, code=code, name=code)
            session.add(row)
        for name, value in values.items():
            if value is not None:
                setattr(row, name, value)
        await session.flush()
        await log_change(session, organisation.id, Act.CLINIC_CHANGED, row.id, "saved")


def _is_two_digits(value: str) -> bool:
    return len(value) == 2 and value.isascii() and value.isdigit()
