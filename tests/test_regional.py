"""The pages of figures, the CSV, Prometheus and the sentences: who sees them, what is in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select, update

from server.audit import Act
from server.db import Database, OrganisationId, count_changed
from server.figures import last_settled, month_of
from server.figures.tables import TableName
from server.i18n import ROME, Translator
from server.keyring import Keyring
from server.line.measured import Path
from server.models import (
    LogEntry,
    Outcome,
    Rating,
    Score,
    Suitability,
    Visit,
    VisitState,
    VisitSummary,
)
from server.pages import Pages
from server.sealed import seal_rating_words
from server.sequencing import number_entries
from server.services import PAGES
from server.summary import follow_log
from server.visit.outcome import OutcomeReason
from tests.conftest import Cast, MakeVisit
from tests.visitors import Site, Visitor, site

__all__ = ["site"]

SETTLED = last_settled(datetime.now(UTC))
MONTH_START = SETTLED.start + timedelta(days=3)


Summarise = Callable[..., Awaitable[None]]


@pytest.fixture
def summarise(database: Database, keyring: Keyring) -> Summarise:
    return partial(_summarise, database, keyring)


async def _summarise(
    database: Database,
    keyring: Keyring,
    visits: list[Visit],
    start: datetime = MONTH_START,
    **values: object,
) -> None:
    """A summary of each visit, in place of the one that its log makes."""
    organisation = OrganisationId(visits[0].organisation_id)
    usual: dict[str, object] = {
        "start": start, "scheduled_minutes": 20, "state": VisitState.ENDED,
        "outcome": Outcome.COMPLETED, "priority": "B",
        "booked_on": (start - timedelta(days=8)).astimezone(ROME).date(),
    }  # fmt: skip
    ids = [visit.id for visit in visits]
    async with database.begin(organisation) as session:
        while await number_entries(session, organisation):
            pass
        while await follow_log(session, keyring, organisation):
            pass
        change = update(VisitSummary).where(VisitSummary.visit_id.in_(ids))
        assert await count_changed(session, change.values({**usual, **values})) == len(ids)


@pytest.fixture
async def visits(cast: Cast, make_visit: MakeVisit) -> list[Visit]:
    return [await make_visit(cast.toscana) for _ in range(11)]


@pytest.fixture
async def manager(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.manager)


async def read_csv(visitor: Visitor) -> list[dict[str, str]]:
    answer = await visitor.get("/figures.csv")
    assert answer.status == 200
    return list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")), delimiter=";"))


async def test_page_says_how_many_and_no_group_below_five(
    summarise: Summarise, manager: Visitor, visits: list[Visit], database: Database
) -> None:
    await summarise(visits[:6], verdict=Suitability.SUITABLE, municipality="Firenze")
    await summarise(visits[6:9], verdict=Suitability.SUITABLE, municipality="Vaglia")
    await summarise(visits[9:], outcome=Outcome.NO_SHOW_PATIENT)

    page = (await manager.get(f"/figures?month={SETTLED}")).text

    assert "11 visite." in page
    assert "Firenze" in page
    assert "Vaglia" not in page
    assert "i gruppi piccoli insieme" in page


async def test_of_another_organisation_or_month_nothing_counts(
    summarise: Summarise, site: Site, cast: Cast, visits: list[Visit], database: Database
) -> None:
    await summarise(visits[:6], start=SETTLED.start - timedelta(seconds=1))
    await summarise(visits[6:], start=SETTLED.end)

    for user in (cast.toscana.manager, cast.emilia.manager):
        page = (await (await site.staff(user)).get(f"/figures?month={SETTLED}")).text
        assert "Meno di 5 visite" in page


@pytest.mark.parametrize("month", ["2026-13", "2199-01", "ieri"])
async def test_impossible_month_is_refused(manager: Visitor, month: str) -> None:
    assert (await manager.get(f"/figures?month={month}")).status == 400


async def test_csv_tells_settled_months_and_is_no_formula(
    summarise: Summarise, manager: Visitor, visits: list[Visit], database: Database
) -> None:
    verdict = {"verdict": Suitability.SUITABLE, "municipality": "=1+1"}
    await summarise(visits[:5], **verdict)
    running = month_of(datetime.now(UTC)).start + timedelta(hours=1)
    await summarise(visits[5:], start=running)

    rows = await read_csv(manager)

    assert {row["Mese"] for row in rows} == {str(SETTLED)}
    assert {row["Azienda sanitaria"] for row in rows} == {"ausl-toscana"}
    [place] = [row for row in rows if "comune" in row["Tabella"]]
    assert place["Gruppo"] == "'=1+1"
    assert (place["Visite"], place["Percentuale"], place["Nei tempi, o adeguata"]) == (
        "5", "100", "5",
    )  # fmt: skip


async def test_ratings_are_released_when_no_more_can_come(
    summarise: Summarise, manager: Visitor, visits: list[Visit], database: Database
) -> None:
    months = [SETTLED, SETTLED.previous]
    for month, group in zip(months, (visits[:5], visits[5:]), strict=True):
        start = month.end - timedelta(days=1)
        await summarise(group, start=start)
        async with database.begin(group[0].organisation_id) as session:
            for visit in group:
                session.add(
                    Rating(
                        organisation_id=visit.organisation_id, visit_id=visit.id, seat="patient",
                        visit_score=Score.GOOD, words_version=0, rated_at=start,
                    )
                )  # fmt: skip
    is_over = datetime.now(UTC) >= SETTLED.end + timedelta(days=30)

    rated = {
        row["Mese"] for row in await read_csv(manager) if "Pazienti: la visita" in row.values()
    }

    assert rated == {str(month) for month in months} - (set() if is_over else {str(SETTLED)})


async def test_reading_is_written(
    manager: Visitor, visits: list[Visit], database: Database
) -> None:
    await manager.get("/figures")
    await manager.get("/figures.csv")
    await manager.get("/ratings")

    async with database.read(visits[0].organisation_id) as session:
        entries = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
        read = [text for text in entries if f'"{Act.FIGURES_READ}"' in text]
    assert len(read) == 3
    assert f'"month":"{SETTLED}"' in read[0]


async def test_prometheus_has_the_last_settled_month(
    summarise: Summarise, site: Site, visits: list[Visit], database: Database
) -> None:
    await summarise(visits[:6], municipality="Firenze", verdict=Suitability.SUITABLE)
    await summarise(visits[6:], outcome=Outcome.NO_SHOW_PATIENT)

    text = (await site.stranger.get("/metrics")).text

    start = 'accanto_figures_visits{group="'
    assert f'{start}completed",organisation="ausl-toscana",table="outcomes"}} 6.0' in text
    assert f'{start}no_show_patient",organisation="ausl-toscana",table="outcomes"}} 5.0' in text
    assert f'{start}Firenze",organisation="ausl-toscana",table="line_by_municipality"}} 6.0' in text
    number = SETTLED.year * 100 + SETTLED.number
    assert f'accanto_figures_month{{organisation="ausl-toscana"}} {float(number)}' in text


async def test_sentences_are_for_managers_without_names_or_visits(
    site: Site, cast: Cast, visits: list[Visit], database: Database, keyring: Keyring
) -> None:
    visit = visits[0]
    async with database.begin(visit.organisation_id) as session:
        rating = Rating(
            organisation_id=visit.organisation_id, visit_id=visit.id, seat="patient",
            visit_score=Score.POOR, words_version=1, rated_at=datetime.now(UTC),
        )  # fmt: skip
        await seal_rating_words(keyring, session, rating, "La <voce> saltava.")
        session.add(rating)

    page = (await (await site.staff(cast.toscana.manager)).get("/ratings")).text
    other = (await (await site.staff(cast.emilia.manager)).get("/ratings")).text

    assert "La &lt;voce&gt; saltava." in page
    assert visit.id not in page
    assert visit.appointment.booking_code not in page
    assert "saltava" not in other


@pytest.mark.parametrize("language", ["it", "en"])
async def test_every_table_and_group_has_its_words(site: Site, language: str) -> None:
    pages: Pages = site.app[PAGES]
    words = Translator(language)
    groups: dict[TableName, list[str]] = {
        TableName.OUTCOMES: [one.value for one in Outcome],
        TableName.ABSENCE_REASONS: ["message_failed", "link_not_opened", "did_not_come"],
        TableName.CONVERSION_REASONS: [one.value for one in OutcomeReason],
        TableName.WAITING_DAYS: ["U", ""],
        TableName.LINE: [one.value for one in Suitability],
        TableName.LINE_BY_DEVICE: ["phone", "tablet", "computer", ""],
        TableName.LINE_BY_BROWSER: ["chrome", "other", ""],
        TableName.LINE_BY_PATH: [path.value for path in Path],
        TableName.PATIENT_VISIT: [one.value for one in Score],
    }
    for table in TableName:
        assert pages.speak(words, "staff/figures_words.html", "title", table).strip()
        for key in [*groups.get(table, []), "other", "none"]:
            said = pages.speak(words, "staff/figures_words.html", "group_of", f"{table}:{key}")
            assert said.strip()
