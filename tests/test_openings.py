"""The patient reads who opened their data: role, unit and time, and nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

from sqlalchemy import select

from server.audit import Act, ActorRole
from server.db import Database
from server.keyring import Keyring
from server.line.presence import Line
from server.models import Clinic, Visit
from server.openings.grouped import What, group
from tests.conftest import Cast, MakeVisit
from tests.patients import acts_of
from tests.visitors import Site, site

__all__ = ["site"]

TEN = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


def line(act: Act, role: ActorRole, at: datetime) -> Line:
    return Line(0, at, act, role, "", {})


def test_openings_of_one_kind_and_day_are_one_line() -> None:
    late = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
    days = group(
        [
            line(Act.CARD_OPENED, ActorRole.CLINICIAN, TEN),
            line(Act.NOTE_SAVED, ActorRole.CLINICIAN, TEN),
            line(Act.CONTACT_OPENED, ActorRole.DESK, TEN + timedelta(minutes=1)),
            line(Act.CARD_OPENED, ActorRole.CLINICIAN, TEN + timedelta(minutes=2)),
            line(Act.CARD_OPENED, ActorRole.CLINICIAN, late),
        ]
    )

    told = [
        (str(day), [(o.role, o.what, o.times, o.at) for o in found]) for day, found in days.items()
    ]
    assert told == [
        ("2026-11-27", [(ActorRole.CLINICIAN, What.CARD, 1, late)]),
        (
            "2026-11-26",
            [
                (ActorRole.CLINICIAN, What.CARD, 2, TEN + timedelta(minutes=2)),
                (ActorRole.DESK, What.CONTACT, 1, TEN + timedelta(minutes=1)),
            ],
        ),
    ]


async def test_each_opening_is_told_in_words_and_looking_is_logged(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit, other = await make_visit(cast.toscana), await make_visit(cast.toscana)
    patient = await site.patient(visit)
    clinician = await site.staff(cast.toscana.clinician)
    here = f"/v/{visit.locator}/who-opened"
    assert "Finora nessuno" in (await patient.get(here)).text

    await (await site.staff(cast.toscana.desk)).get(f"/desk/visits/{visit.id}")
    await clinician.get(f"/visits/{visit.id}")
    await clinician.get(f"/visits/{visit.id}/note")
    await clinician.get(f"/visits/{visit.id}/note")
    await clinician.get(f"/visits/{other.id}")
    await (await site.staff(cast.toscana.manager)).get(f"/sessions/{visit.id}")
    page = await patient.get(here)

    assert page.status == 200
    assert lines_of(page.text) == {
        f"Sportello, {cast.toscana.organisation.name}: il Suo nome e i Suoi recapiti",
        f"Medico, {await clinic_of(database, visit)}: la scheda della visita",
        f"Medico, {await clinic_of(database, visit)}: gli appunti del medico",
        f"Direzione, {cast.toscana.organisation.name}: "
        "orari e collegamenti della visita, senza il Suo nome",
    }
    assert "2 volte, l'ultima alle" in unescape(page.text)
    assert cast.toscana.clinician.family_name not in page.text
    assert (await acts_of(database, visit)).count("openings.read") == 2


async def clinic_of(database: Database, visit: Visit) -> str:
    async with database.read(visit.organisation_id) as session:
        found = await session.scalar(select(Clinic).where(Clinic.id == visit.appointment.clinic_id))
    assert found is not None
    return found.name


def lines_of(page: str) -> set[str]:
    """Each line of the lists, without its time."""
    items = re.findall(r"<li data-role.*?<span", page, re.DOTALL)
    return {
        " ".join(unescape(re.sub(r"<[^>]*>?", " ", item)).split())
        .replace(" ,", ",")
        .replace(" :", ":")
        for item in items
    }
