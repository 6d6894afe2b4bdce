"""Ratings: two taps and a sentence of each side, after a visit that was held; nobody reads the
other's."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from server.db import Database
from server.keyring import Keyring
from server.models import LogEntry, Rating, Score, Visit
from server.rated import RATED_WITHIN
from server.retention.erasure import erase_visit
from server.sealed import open_rating_words
from tests.conftest import Cast, MakeVisit
from tests.reportvisits import make_finished
from tests.visitors import OWN_PAGE, Answer, Site, Visitor, site

__all__ = ["site"]

PRESSED = 'aria-pressed="true"'


@pytest.fixture
async def visit(make_visit: MakeVisit, database: Database, keyring: Keyring, cast: Cast) -> Visit:
    """Over for five minutes."""
    return await make_finished(make_visit, database, keyring, cast.toscana)


async def rate(patient: Visitor, visit: Visit, /, **answers: str) -> Answer:
    return await patient.post(f"/v/{visit.locator}/rating", **answers)


async def ratings_of(database: Database, visit: Visit) -> dict[str, Rating]:
    async with database.read(visit.organisation_id) as session:
        found = await session.scalars(select(Rating).where(Rating.visit_id == visit.id))
        return {rating.seat: rating for rating in found}


async def entries_of(database: Database, visit: Visit) -> list[str]:
    """The texts of the entries about ratings."""
    async with database.read(visit.organisation_id) as session:
        start = '{"action":"visit.rated"'
        found = await session.scalars(
            select(LogEntry.entry)
            .where(LogEntry.visit_id == visit.id, LogEntry.entry.startswith(start))
            .order_by(LogEntry.id)
        )
        return list(found)


async def test_two_taps_and_a_sentence_are_kept_one_by_one(
    site: Site, visit: Visit, database: Database, keyring: Keyring
) -> None:
    patient = await site.patient(visit)

    for answers in ({"visit": "good"}, {"line": "poor"}, {"words": "  La  voce\nsaltava. "}):
        answer = await rate(patient, visit, **answers)
        assert (answer.status, answer.location) == (303, f"/v/{visit.locator}/end#rating")

    rating = (await ratings_of(database, visit))["patient"]
    assert (rating.visit_score, rating.line_score) == (Score.GOOD, Score.POOR)
    assert b"saltava" not in (rating.sealed_words or b"")
    async with database.read(visit.organisation_id) as session:
        assert await open_rating_words(keyring, session, rating) == "La voce saltava."


async def test_log_says_that_and_never_how(site: Site, visit: Visit, database: Database) -> None:
    patient = await site.patient(visit)

    await rate(patient, visit, visit="poor")
    await rate(patient, visit, visit="poor", line="fair", words="Non sentivo.")

    entries = await entries_of(database, visit)
    facts = [json.loads(entry)["facts"] for entry in entries]
    assert facts == [{"kind": "rated_visit"}, {"kind": "rated_line"}, {"kind": "rated_words"}]
    assert not any(word in "".join(entries) for word in ("poor", "fair", "sentivo"))


async def test_clinician_rates_too_and_neither_reads_the_other(
    site: Site, visit: Visit, cast: Cast, database: Database
) -> None:
    patient, clinician = await site.patient(visit), await site.staff(cast.toscana.clinician)

    await rate(patient, visit, visit="poor", words="Troppo di fretta.")
    page = await clinician.get(f"/visits/{visit.id}")
    assert 'id="rating"' in page.text
    assert PRESSED not in page.text
    assert "fretta" not in page.text
    answer = await clinician.post(f"/visits/{visit.id}/rating", visit="good", line="good")
    assert (answer.status, answer.location) == (303, f"/visits/{visit.id}#rating")

    assert set(await ratings_of(database, visit)) == {"patient", "clinician"}
    own = await patient.get(f"/v/{visit.locator}/end")
    assert own.text.count(PRESSED) == 1
    assert (await clinician.get(f"/visits/{visit.id}")).text.count(PRESSED) == 2


async def test_taps_at_the_same_moment_are_both_kept(
    site: Site, visit: Visit, database: Database
) -> None:
    patient = await site.patient(visit)

    answers = await asyncio.gather(
        *(rate(patient, visit, **tap) for tap in ({"visit": "good"}, {"line": "fair"}))
    )

    assert {answer.status for answer in answers} == {303}
    rating = (await ratings_of(database, visit))["patient"]
    assert (rating.visit_score, rating.line_score) == (Score.GOOD, Score.FAIR)


@pytest.mark.parametrize(
    "answers",
    [{}, {"visit": "great"}, {"words": " "}, {"words": "a" * 501}, {"words": "a\x1b[2Jb"}],
)
async def test_answers_that_are_none_are_refused(
    site: Site, visit: Visit, database: Database, answers: dict[str, str]
) -> None:
    assert (await rate(await site.patient(visit), visit, **answers)).status == 400
    assert await ratings_of(database, visit) == {}


@pytest.mark.parametrize(
    "change",
    [{"waiting_since": None}, {"ended_at": RATED_WITHIN + timedelta(days=1)}],
    ids=["nobody came", "long ago"],
)
async def test_visit_that_is_not_to_be_rated_asks_for_nothing(
    site: Site, visit: Visit, database: Database, change: dict[str, timedelta | None]
) -> None:
    patient = await site.patient(visit)
    ended = visit.appointment.start
    values = {name: None if ago is None else ended - ago for name, ago in change.items()}
    async with database.begin(visit.organisation_id) as session:
        await session.execute(update(Visit).where(Visit.id == visit.id).values(**values))

    assert 'id="rating"' not in (await patient.get(f"/v/{visit.locator}/end")).text
    assert (await rate(patient, visit, visit="good")).status == 409


async def test_script_gets_its_answer_without_another_page(site: Site, visit: Visit) -> None:
    patient = await site.patient(visit)
    headers = {**OWN_PAGE, "Accept": "application/json"}

    answer = await patient.ask("POST", f"/v/{visit.locator}/rating", headers, data={"line": "good"})

    assert (answer.status, answer.text) == (200, "{}")


async def test_sentence_ends_with_the_record_and_the_scores_stay(
    site: Site, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await rate(await site.patient(visit), visit, visit="good", words="La voce saltava.")

    async with database.begin(visit.organisation_id) as session:
        await erase_visit(keyring, session, visit.id, datetime.now(UTC))

    rating = (await ratings_of(database, visit))["patient"]
    assert (rating.visit_score, rating.sealed_words) == (Score.GOOD, None)
