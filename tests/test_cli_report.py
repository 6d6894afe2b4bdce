"""What the command line sets for reports, and lists of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from server.db import EVERY_ORGANISATION, Database
from server.keyring import load_keyring
from server.models import Clinic, Organisation, Profession, User
from server.sealed import open_codice_fiscale
from server.settings import load_settings
from tests.test_cli import VECTORS, Installation, first_installation, installation

__all__ = ["first_installation", "installation"]

PASSWORD = "gelsomino-ventaglio-44\n"
CODICE_FISCALE = "BNCNNA75T50D612N"


def add_user(installation: Installation, *more: str) -> str:
    return installation.succeed(
        "user", "add", "--organisation", "ausl-toscana", "--username", "anna.bianchi",
        "--role", "clinician", "--code", "MED-1", "--password-stdin", *more, stdin=PASSWORD,
    )  # fmt: skip


async def load_author(folder: Path) -> tuple[User, str]:
    database = Database(load_settings(folder).database)
    async with database.read(EVERY_ORGANISATION) as session:
        user = (await session.scalars(select(User))).one()
        code = await open_codice_fiscale(load_keyring(folder), session, user)
    await database.close()
    return user, code


async def test_user_is_added_and_changed_with_what_reports_say(
    installation: Installation,
) -> None:
    add_user(installation, "--codice-fiscale", CODICE_FISCALE.lower())
    user, code = await load_author(installation.folder)
    assert (user.profession, code) == (Profession.SPECIALIST, CODICE_FISCALE)
    assert CODICE_FISCALE.encode() not in (user.sealed_codice_fiscale or b"")

    installation.succeed("user", "set", "anna.bianchi", "--profession", "general_practitioner")
    user, code = await load_author(installation.folder)
    assert (user.profession, code) == (Profession.GENERAL_PRACTITIONER, CODICE_FISCALE)


async def test_a_clinician_becomes_a_facilitator_and_nobody_else(
    installation: Installation,
) -> None:
    add_user(installation, "--codice-fiscale", CODICE_FISCALE)
    installation.succeed("user", "set", "anna.bianchi", "--facilitator")
    author, _ = await load_author(installation.folder)
    installation.succeed(
        "user", "add", "--organisation", "ausl-toscana", "--username", "paola",
        "--role", "desk", "--password-stdin", stdin=PASSWORD,
    )  # fmt: skip

    assert author.is_facilitator
    assert "no clinician" in installation.fail("user", "set", "paola", "--facilitator")


def test_a_wrong_codice_fiscale_is_refused(installation: Installation) -> None:
    add_user(installation)

    said = installation.fail("user", "set", "anna.bianchi", "--codice-fiscale", "BNCNNA75T50D612Z")

    assert "sixteenth character" in said
    assert "There is no user" in installation.fail("user", "set", "nessuno")


async def test_codes_of_body_and_clinic(installation: Installation) -> None:
    installation.succeed(
        "organisation", "set", "ausl-toscana", "--region-code", "090", "--ministry-code", "090201",
        "--street", "Via Pier Capponi 1", "--postal-code", "50132", "--city", "Firenze",
    )  # fmt: skip
    installation.succeed(
        "clinic", "set", "ausl-toscana", "CARD-01", "--site-code", "090201001",
        "--site-name", "Presidio Centro", "--discipline-code", "08", "--branch-code", "02",
    )  # fmt: skip
    installation.succeed("clinic", "set", "ausl-toscana", "CARD-01", "--branch-code", "03")

    database = Database(load_settings(installation.folder).database)
    async with database.read(EVERY_ORGANISATION) as session:
        body = (await session.scalars(select(Organisation))).one()
        clinic = (await session.scalars(select(Clinic))).one()
    await database.close()
    assert (body.region_code, body.ministry_code, body.postal_code, body.city) == (
        "090", "090201", "50132", "Firenze",
    )  # fmt: skip
    assert (clinic.site_code, clinic.site_name) == ("090201001", "Presidio Centro")
    assert (clinic.discipline_code, clinic.branch_code) == ("08", "03")


@pytest.mark.parametrize(
    "arguments",
    [
        ("organisation", "set", "ausl-toscana", "--region-code", "9"),
        ("organisation", "set", "ausl-toscana", "--ministry-code", "abc"),
        ("clinic", "set", "ausl-toscana", "CARD-01", "--discipline-code", "8"),
        ("clinic", "set", "nessuna", "CARD-01"),
    ],
)
def test_wrong_codes_are_refused(installation: Installation, arguments: tuple[str, ...]) -> None:
    installation.fail(*arguments)


def test_visits_are_listed_without_names(installation: Installation) -> None:
    installation.add_organisation("ausl-emilia")
    installation.succeed("cup", "import", VECTORS / "giornata.csv")

    lines = installation.succeed("visits", "--json").splitlines()
    text = installation.succeed("visits")

    visits = [json.loads(line) for line in lines]
    assert [set(visit) for visit in visits] == [
        {"id", "booking_code", "outcome", "report_state"}
    ] * len(visits)
    assert {(visit["outcome"], visit["report_state"]) for visit in visits} == {("", "none")}
    assert len(text.splitlines()) == len(visits) == 5
    assert "no signed report" in installation.fail(
        "report", "export", visits[0]["id"], "--to", installation.folder / "out"
    )
