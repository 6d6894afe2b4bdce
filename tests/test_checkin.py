"""The check-in over HTTP and on both databases: four steps, consents, the way out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from markupsafe import escape
from sqlalchemy import select, update

from server.checkin.texts import consent_text
from server.db import Database
from server.i18n import Translator
from server.keyring import Keyring
from server.models import CheckIn, Consent, ConsentKind, Organisation, Visit, VisitState
from server.sealed import Answers, open_answers
from tests.conftest import Cast, MakeVisit
from tests.patients import Practice, Telephone, acts_of, link_of, load_visit, open_practice

ADDRESS = "Via dei Serragli 12, Firenze"
BOTH = {"visit": "yes", "tool": "yes"}


@pytest.fixture
async def practice(database_url: str, data_dir: Path, keyring: Keyring) -> AsyncIterator[Practice]:
    async with open_practice(database_url, data_dir) as practice:
        yield practice


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


@pytest.fixture
async def telephone(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> Telephone:
    """Of the patient, who has claimed the link."""
    return await claimed(practice, visit, database, keyring)


async def claimed(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring, **headers: str
) -> Telephone:
    telephone = practice.telephone(**headers)
    link = await link_of(database, keyring, visit)
    reply = await telephone.claim(visit.locator, secret=link.fragment)
    assert reply.status == 200
    return telephone


async def check_in(telephone: Telephone, visit: Visit) -> None:
    """All four steps."""
    here = f"/v/{visit.locator}/check-in"
    await telephone.post(f"{here}/who")
    await telephone.post(f"{here}/consents", **BOTH)
    await telephone.post(f"{here}/devices", camera="ok", microphone="ok", loudspeaker="failed")
    reply = await telephone.post(f"{here}/place", address="Via Roma 1", companions="mia figlia")
    assert reply.location == f"{here}/ready"


async def load_answers(database: Database, keyring: Keyring, visit: Visit) -> Answers:
    async with database.read(visit.organisation_id) as session:
        return await open_answers(keyring, session, await session.get(CheckIn, visit.id))


async def load_consents(database: Database, visit: Visit) -> list[Consent]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(Consent)
            .where(Consent.visit_id == visit.id)
            .order_by(Consent.answered_at, Consent.kind)
        )
        return list(rows)


async def set_state(database: Database, visit: Visit, state: VisitState) -> None:
    async with database.begin(visit.organisation_id) as session:
        await session.execute(update(Visit).where(Visit.id == visit.id).values(state=state))


# ---- the steps -------------------------------------------------------------------------


async def test_four_steps_lead_to_the_waiting_room(
    telephone: Telephone, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await check_in(telephone, visit)

    ready = await telephone.get(f"/v/{visit.locator}/check-in/ready")
    assert 'data-testid="enter-waiting-room"' in ready.text
    assert (await load_visit(database, visit)).state is VisitState.CHECKED_IN
    answers = await load_answers(database, keyring, visit)
    assert answers == Answers(
        address="Via Roma 1",
        companions="mia figlia",
        camera="ok",
        microphone="ok",
        loudspeaker="failed",
    )
    assert await acts_of(database, visit) == [
        "link.claimed",
        "check_in.saved",
        "consent.given",
        "consent.given",
        "check_in.saved",
        "check_in.saved",
        "check_in.completed",
    ]
    entered = await telephone.post(f"/v/{visit.locator}/waiting-room")
    assert entered.location == f"/v/{visit.locator}/room"


async def test_each_step_can_be_left_and_entered_again(telephone: Telephone, visit: Visit) -> None:
    here = f"/v/{visit.locator}/check-in"

    reached = []
    for step, fields in (
        ("who", {}),
        ("consents", BOTH),
        ("devices", {"camera": "ok"}),
        ("place", {"address": ADDRESS}),
    ):
        reached.append((await telephone.get(here)).location)
        await telephone.post(f"{here}/{step}", **fields)
    reached.append((await telephone.get(here)).location)

    assert reached == [
        f"{here}/{step}" for step in ("who", "consents", "devices", "place", "ready")
    ]
    for step in ("who", "consents", "devices", "place"):
        assert (await telephone.get(f"{here}/{step}")).status == 200


async def test_a_change_goes_back_to_the_summary_and_keeps_the_rest(
    telephone: Telephone, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await check_in(telephone, visit)

    reply = await telephone.post(
        f"/v/{visit.locator}/check-in/devices", camera="failed", microphone="ok"
    )

    assert reply.location == f"/v/{visit.locator}/check-in/ready"
    answers = await load_answers(database, keyring, visit)
    assert (answers.camera, answers.loudspeaker) == ("failed", "skipped")
    assert (answers.address, answers.companions) == ("Via Roma 1", "mia figlia")
    assert (await acts_of(database, visit)).count("check_in.completed") == 1


async def test_name_is_as_in_cup_and_address_comes_from_the_booking(
    telephone: Telephone, visit: Visit
) -> None:
    here = f"/v/{visit.locator}/check-in"

    who = await telephone.get(f"{here}/who")
    place = await telephone.get(f"{here}/place")

    assert "Rosa Bertolucci" in who.text
    assert "Via dei Serragli 12, Firenze</textarea>" in place.text


async def test_address_is_required_and_what_was_typed_stays(
    telephone: Telephone, visit: Visit
) -> None:
    reply = await telephone.post(
        f"/v/{visit.locator}/check-in/place", address="  ", company="with", companions="Anna"
    )

    assert reply.status == 400
    assert 'value="Anna"' in reply.text
    assert "Scriva l&#39;indirizzo" in reply.text


@pytest.mark.parametrize(
    ("company", "companions", "kept"),
    [("", "", ""), ("alone", "", "Nessuno"), ("with", "", "Qualcuno"), ("", "Anna", "Anna")],
)
async def test_companions_may_stay_unanswered(
    telephone: Telephone,
    visit: Visit,
    database: Database,
    keyring: Keyring,
    company: str,
    companions: str,
    kept: str,
) -> None:
    here = f"/v/{visit.locator}/check-in"
    await telephone.post(f"{here}/place", address=ADDRESS, company=company, companions=companions)

    assert (await load_answers(database, keyring, visit)).companions == kept


async def test_unknown_results_are_refused(telephone: Telephone, visit: Visit) -> None:
    reply = await telephone.post(f"/v/{visit.locator}/check-in/devices", camera="<script>")

    assert reply.status == 400
    assert "<script>" not in reply.text


async def test_two_tabs_saving_at_once_lose_nothing(
    telephone: Telephone, visit: Visit, database: Database, keyring: Keyring
) -> None:
    here = f"/v/{visit.locator}/check-in"
    await telephone.post(f"{here}/who")

    replies = await asyncio.gather(
        telephone.post(f"{here}/place", address=ADDRESS),
        telephone.post(f"{here}/devices", camera="ok"),
    )

    answers = await load_answers(database, keyring, visit)
    saved = {"place": answers.address == ADDRESS, "devices": answers.camera == "ok"}
    assert {reply.status for reply in replies} <= {303, 409}
    assert list(saved.values()) == [reply.status == 303 for reply in replies]


async def test_answers_and_names_are_not_in_clear(
    telephone: Telephone, visit: Visit, database: Database
) -> None:
    await check_in(telephone, visit)

    async with database.read(visit.organisation_id) as session:
        sealed = (await session.get_one(CheckIn, visit.id)).sealed_answers
    assert b"Via Roma" not in sealed
    assert b"figlia" not in sealed


# ---- consents --------------------------------------------------------------------------


@pytest.mark.parametrize("ticked", [{}, {"visit": "yes"}, {"tool": "yes"}])
async def test_both_consents_are_needed(
    telephone: Telephone, visit: Visit, database: Database, ticked: dict[str, str]
) -> None:
    reply = await telephone.post(f"/v/{visit.locator}/check-in/consents", **ticked)

    assert reply.status == 400
    assert reply.text.count(" checked>") == len(ticked)
    assert await load_consents(database, visit) == []


@pytest.mark.parametrize("language", ["it", "en"])
async def test_consent_keeps_version_and_hash_of_the_text_on_the_screen(
    practice: Practice,
    visit: Visit,
    cast: Cast,
    database: Database,
    keyring: Keyring,
    language: str,
) -> None:
    telephone = await claimed(practice, visit, database, keyring, **{"Accept-Language": language})
    page = await telephone.get(f"/v/{visit.locator}/check-in/consents")

    await telephone.post(f"/v/{visit.locator}/check-in/consents", **BOTH)

    consents = await load_consents(database, visit)
    assert [consent.kind for consent in consents] == [ConsentKind.TOOL, ConsentKind.VISIT]
    for consent in consents:
        text = consent_text(consent.kind, Translator(language), cast.toscana.organisation)
        assert consent.text_hash == hashlib.sha256(text.plain.encode()).hexdigest()
        assert (consent.language, consent.text_version) == (language, text.version)
        assert escape(text.sentence) in page.text
        for paragraph in text.paragraphs:
            assert escape(paragraph.title) in page.text
            assert escape(paragraph.body) in page.text


def test_the_visit_consent_has_the_seven_points() -> None:
    organisation = Organisation(name="Azienda USL di Modena", desk_phone="059 123 4567")

    text = consent_text(ConsentKind.VISIT, Translator("it"), organisation)

    assert len(text.paragraphs) == 7
    assert organisation.name in text.plain
    assert organisation.desk_phone in text.plain


async def test_saying_yes_twice_is_written_once(
    telephone: Telephone, visit: Visit, database: Database
) -> None:
    for _ in range(2):
        await telephone.post(f"/v/{visit.locator}/check-in/consents", **BOTH)

    assert len(await load_consents(database, visit)) == 2


async def test_refusal_has_a_way_out_and_a_way_back(
    telephone: Telephone, visit: Visit, database: Database
) -> None:
    here = f"/v/{visit.locator}"

    refused = await telephone.post(f"{here}/check-in/consents", answer="refuse")
    in_person = await telephone.get(f"{here}/in-person")
    again = await telephone.get(f"{here}/check-in")
    await telephone.post(f"{here}/check-in/consents", **BOTH)

    assert refused.location == again.location == f"{here}/in-person"
    assert "055" in in_person.text
    assert (await telephone.get(f"{here}/in-person")).location == f"{here}/check-in"
    given = [consent.is_given for consent in await load_consents(database, visit)]
    assert given == [False, False, True, True]
    assert (await acts_of(database, visit))[1:] == ["consent.refused"] * 2 + ["consent.given"] * 2


async def test_withdrawing_while_waiting_leaves_the_waiting_room(
    telephone: Telephone, visit: Visit, database: Database
) -> None:
    here = f"/v/{visit.locator}"
    await check_in(telephone, visit)
    await telephone.post(f"{here}/waiting-room")

    withdrawn = await telephone.post(f"{here}/consents/withdraw")

    assert withdrawn.location == f"{here}/in-person"
    assert (await load_visit(database, visit)).state is VisitState.BOOKED
    assert (await acts_of(database, visit)).count("consent.withdrawn") == 2
    entered = await telephone.post(f"{here}/waiting-room")
    assert entered.location == f"{here}/check-in"
    assert (await telephone.get(f"{here}/check-in")).location == f"{here}/in-person"


async def test_a_changed_mind_completes_the_check_in_again(
    telephone: Telephone, visit: Visit, database: Database
) -> None:
    here = f"/v/{visit.locator}"
    await check_in(telephone, visit)
    await telephone.post(f"{here}/consents/withdraw")

    await telephone.post(f"{here}/check-in/consents", **BOTH)

    assert (await load_visit(database, visit)).state is VisitState.CHECKED_IN
    assert (await telephone.get(f"{here}/check-in")).location == f"{here}/check-in/ready"


# ---- when ------------------------------------------------------------------------------


async def test_days_before_only_the_test_and_the_calendar_are_open(
    practice: Practice, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana, start=datetime.now(UTC) + timedelta(days=5))
    telephone = await claimed(practice, visit, database, keyring)
    here = f"/v/{visit.locator}"

    early = await telephone.get(f"{here}/check-in")
    step = await telephone.post(f"{here}/check-in/who")
    test = await telephone.get(f"{here}/device-test")
    calendar = await telephone.get(f"{here}/calendar.ics")

    assert "È ancora presto" in early.text
    assert step.location == f"{here}/check-in"
    assert test.status == 200
    assert calendar.headers["Content-Type"].startswith("text/calendar")
    for word in ("http", visit.locator + "#", "Bertolucci", "Bianchi", "Cardiologia"):
        assert word not in calendar.text
    assert max(len(line.encode()) for line in calendar.text.split("\r\n")) <= 75
    practice.clock.move(days=4, minutes=1)
    assert (await telephone.get(f"{here}/check-in")).location == f"{here}/check-in/who"


async def test_the_waiting_room_opens_half_an_hour_before(
    practice: Practice, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana, start=datetime.now(UTC) + timedelta(hours=3))
    telephone = await claimed(practice, visit, database, keyring)
    await check_in(telephone, visit)
    ready = f"/v/{visit.locator}/check-in/ready"

    before = await telephone.get(ready)
    practice.clock.move(hours=2, minutes=31)
    after = await telephone.get(ready)

    assert "enter-waiting-room" not in before.text
    assert "enter-waiting-room" in after.text


@pytest.mark.parametrize(
    ("state", "page"),
    [
        (VisitState.WAITING, "/room"),
        (VisitState.IN_VISIT, "/room"),
        (VisitState.ENDED, "/end"),
        (VisitState.CANCELLED, ""),
    ],
)
async def test_the_link_leads_to_where_the_visit_is(
    telephone: Telephone, visit: Visit, database: Database, state: VisitState, page: str
) -> None:
    await set_state(database, visit, state)

    reply = await telephone.get(f"/v/{visit.locator}/check-in")

    assert reply.location == f"/v/{visit.locator}{page}"


async def test_after_the_hours_of_the_visit_the_steps_are_closed(
    practice: Practice, telephone: Telephone, visit: Visit
) -> None:
    practice.clock.move(hours=5)
    here = f"/v/{visit.locator}"

    assert (await telephone.get(f"{here}/check-in/place")).location == f"{here}/check-in"
    assert (await telephone.get(f"{here}/check-in")).location == here
    assert "è passato" in (await telephone.get(here)).text
