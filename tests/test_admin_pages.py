"""The administrator sees how the CUP link is, mends it, and never meets a person in it."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import jinja2
import pytest
from sqlalchemy import select

from server.administration.health import (
    Feed,
    Finding,
    Health,
    Trouble,
    find_troubles,
    parse_sent_at,
)
from server.administration.settingsform import (
    SettingsForm,
    WrongSettings,
    form_of,
    parse_form,
)
from server.audit import Act
from server.auth import hash_token
from server.cup.booking import Field, Order, Reason
from server.cup.outbox.parcels import Trouble as DeliveryTrouble
from server.db import Database
from server.i18n import LANGUAGES, Translator
from server.keyring import Keyring
from server.models import (
    Clinic,
    Connector,
    Difference,
    DifferenceKind,
    DispatchState,
    EventKind,
    EventState,
    InboxMessage,
    LogEntry,
    MessageState,
    NoticeRule,
    Organisation,
    OutboxEvent,
    Phase,
    PhaseChange,
    Reconciliation,
    Source,
    Visit,
    new_id,
)
from server.sealed import open_outgoing_token, seal_message
from server.sources import Listener, Mapping, Outgoing, SourceSettings, settings_of
from tests.conftest import ROSA, Cast, MakeVisit, Team
from tests.visitors import OWN_PAGE, Answer, Site, Visitor, site

__all__ = ["site"]

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
TEMPLATES = Path(__file__).parent.parent / "server" / "templates"
RAW = b"MSH|^~\\&|CUP|ASL|||20261126090000||SIU^S12|7|P|2.5\rPID|1||||Bertolucci^Rosa\r"
SOURCE_TEXT = '{"listener": {"port": 2575}, "mapping": {"hl7_paths": {"booking_code": "SCH-2.1"}}}'


@pytest.fixture
async def administrator(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.administrator)


async def add_source(database: Database, team: Team, code: str = "cup-prova") -> Source:
    source = Source(
        organisation_id=team.organisation.id, code=code, name="CUP di prova", settings=SOURCE_TEXT
    )
    async with database.begin(team.organisation.id) as session:
        session.add(source)
    return source


async def add_message(
    database: Database,
    keyring: Keyring,
    source: Source,
    *,
    state: MessageState = MessageState.QUARANTINED,
    reason: Reason = Reason.MISSING,
    at: datetime | None = None,
    raw: bytes = RAW,
    connector: Connector = Connector.HL7V2,
) -> InboxMessage:
    now = at or datetime.now(UTC)
    message = InboxMessage(
        id=new_id(),
        organisation_id=source.organisation_id,
        source_id=source.id,
        connector=connector,
        control_id=new_id(),
        content_digest="",
        booking_code="PRN-SEGRETO",
        event="S12",
        message_order=Order(sent_at=now - timedelta(seconds=4)).key,
        state=state,
        reason=reason.value if state is MessageState.QUARANTINED else "",
        field="start" if state is MessageState.QUARANTINED else "",
        received_at=now,
        decided_at=now,
    )
    async with database.begin(source.organisation_id) as session:
        await seal_message(keyring, session, message, raw)
        session.add(message)
    return message


async def add_event(
    database: Database, visit: Visit, state: EventState, at: datetime | None = None
) -> OutboxEvent:
    event = OutboxEvent(
        organisation_id=visit.organisation_id,
        source_id=visit.appointment.source_id,
        visit_id=visit.id,
        kind=EventKind.ENDED,
        state=state,
        reason="refused" if state is EventState.DEAD else "",
        created_at=at or datetime.now(UTC),
    )
    async with database.begin(visit.organisation_id) as session:
        session.add(event)
    return event


async def acts(database: Database, team: Team) -> list[dict[str, object]]:
    async with database.read(team.organisation.id) as session:
        rows = await session.scalars(select(LogEntry).order_by(LogEntry.id))
        return [json.loads(row.entry) for row in rows]


async def last_act(database: Database, team: Team, act: Act) -> dict[str, object]:
    found = [entry for entry in await acts(database, team) if entry["action"] == act.value]
    assert found, act
    return found[-1]


# ---- rules -----------------------------------------------------------------------------


def feed(**changes: object) -> Feed:
    source = Source(id="s1", code="cup", is_paused=bool(changes.pop("is_paused", False)))
    usual: dict[str, object] = {"last_at": NOW, "delay": timedelta(seconds=3)}
    return Feed(source=source, **(usual | changes))  # type: ignore[arg-type]


def health(*feeds: Feed, **changes: object) -> Health:
    usual: dict[str, object] = {"events": {}, "oldest_event_at": None, "letters": {}}
    return Health(feeds=feeds or (feed(),), **(usual | changes))  # type: ignore[arg-type]


def test_a_link_that_works_has_no_trouble() -> None:
    assert find_troubles(health(), NOW) == []


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        (Health((), {}, None, {}), Trouble.NO_SOURCE),
        (health(feed(quarantined=2)), Trouble.QUARANTINE),
        (health(feed(is_paused=True)), Trouble.PAUSED),
        (health(feed(last_at=NOW - timedelta(days=4))), Trouble.SILENT),
        (health(feed(delay=timedelta(hours=1))), Trouble.SLOW),
        (health(events={EventState.DEAD: 1}), Trouble.EVENTS_DEAD),
        (health(events={EventState.NO_ROUTE: 1}), Trouble.NO_ROUTE),
        (
            health(events={EventState.QUEUED: 3}, oldest_event_at=NOW - timedelta(minutes=16)),
            Trouble.EVENTS_LATE,
        ),
        (health(letters={DispatchState.FAILED: 1}), Trouble.LETTERS_FAILED),
        (health(letters={DispatchState.UNREACHABLE: 1}), Trouble.UNREACHABLE),
        (health(overdue_letters=1), Trouble.LETTERS_LATE),
    ],
)
def test_each_trouble_is_found(state: Health, trouble: Trouble) -> None:
    assert [finding.trouble for finding in find_troubles(state, NOW)] == [trouble]


def test_the_worst_comes_first() -> None:
    bad = health(feed(quarantined=1), events={EventState.DEAD: 1})

    assert find_troubles(bad, NOW)[0].trouble is Trouble.EVENTS_DEAD


def test_time_of_sending_is_in_the_order_of_a_message() -> None:
    assert parse_sent_at(Order(sent_at=NOW, control_id="7").key) == NOW
    assert parse_sent_at("") is None
    assert parse_sent_at("20261399999999999999|0") is None


def test_settings_survive_the_form() -> None:
    settings = SourceSettings(
        listener=Listener(port=2575),
        outgoing=Outgoing(connector=Connector.HL7V2, address="127.0.0.1:2600"),
        mapping=Mapping(
            csv_delimiter="\t",
            csv_encoding="cp1252",
            csv_columns={"booking_code": "NUM PREN", "start": "QUANDO"},
            hl7_paths={"booking_code": "SCH-2.1"},
            words={"priority": {"1": "U", "a=b": "B"}},
        ),
    )

    assert parse_form(form_of(settings)) == settings
    assert parse_form(form_of(SourceSettings())) == SourceSettings()


@pytest.mark.parametrize(
    ("form", "field", "reason", "line"),
    [
        (SettingsForm('{"listener": {\n"port": }}'), "connection", "not_json", 2),
        (SettingsForm("[1]"), "connection", "not_json", 1),
        (SettingsForm('{"listener": {"port": "x"}}'), "connection", "unreadable", 0),
        (SettingsForm('{"unknown": 1}'), "connection", "unreadable", 0),
        (SettingsForm('{"mapping": {}}'), "connection", "mapping_is_below", 0),
        (SettingsForm("[" * 15_000), "connection", "not_json", 0),
        (SettingsForm("{}", csv_encoding="klingon"), "csv_encoding", "unknown", 0),
        (SettingsForm("{}", csv_delimiter="#"), "csv_delimiter", "unknown", 0),
        (SettingsForm("{}", csv_columns="\nfoo = a"), "csv_columns", "unknown_field", 2),
        (SettingsForm("{}", csv_columns="start"), "csv_columns", "not_a_pair", 1),
        (SettingsForm("{}", csv_columns="start = a\nstart = b"), "csv_columns", "twice", 2),
        (SettingsForm("{}", hl7_paths="start = a\n"), "hl7_paths", "not_a_path", 1),
        (SettingsForm("{}", words="priority = U"), "words", "not_a_word", 1),
        (SettingsForm("{}", words="x" * 20_001), "words", "too_long", 0),
    ],
)
def test_wrong_settings_are_named_by_field_and_line(
    form: SettingsForm, field: str, reason: str, line: int
) -> None:
    with pytest.raises(WrongSettings) as caught:
        parse_form(form)

    assert (caught.value.field, caught.value.reason, caught.value.line) == (field, reason, line)


# ---- words -----------------------------------------------------------------------------


def load_macros(language: str, name: str) -> jinja2.environment.TemplateModule:
    words = Translator(language)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    context = {
        "_": words.gettext,
        "ngettext": words.ngettext,
        "day_and_time": words.day_and_time,
    }
    return environment.get_template(name).make_module(context)


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_that_happens_to_a_message_has_its_words(language: str) -> None:
    say = load_macros(language, "staff/cup_words.html")

    for words, macro in (
        (Reason, say.reason), (Field, say.field), (MessageState, say.message_state),
        (Connector, say.connector),
    ):  # fmt: skip
        said = {str(macro(word.value)).strip() for word in words}
        assert len(said) == len(words)
        assert not any("_" in text for text in said)
    assert all(str(say.advice(reason.value)).strip() for reason in Reason)


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_that_goes_out_has_its_words(language: str) -> None:
    say = load_macros(language, "admin/_words.html")

    for words, macro in (
        (EventKind, say.event_kind), (EventState, say.event_state),
        (DifferenceKind, say.difference), (Phase, say.phase),
        (Phase, say.phase_meaning), (NoticeRule, say.rule),
        (DeliveryTrouble, say.event_reason),
    ):  # fmt: skip
        said = {str(macro(word.value)).strip() for word in words}
        assert len(said) == len(words)
        assert not any("_" in text for text in said)
    finding = [Finding(word, 2, NOW, feed()) for word in Trouble]
    assert len({str(say.trouble(one)).strip() for one in finding}) == len(Trouble)


# ---- overview and sources --------------------------------------------------------------


async def test_overview_says_what_is_wrong_and_how_each_source_is(
    administrator: Visitor, cast: Cast, database: Database, keyring: Keyring, make_visit: MakeVisit
) -> None:
    source = await add_source(database, cast.toscana)
    await add_message(database, keyring, source)
    await add_message(database, keyring, source, state=MessageState.APPLIED)
    await add_event(database, await make_visit(cast.toscana), EventState.DEAD)
    foreign = await add_source(database, cast.emilia, "cup-emilia")
    await add_message(database, keyring, foreign)

    page = (await administrator.get("/admin")).text

    assert set(re.findall(r'data-trouble="(\w+)"', page)) == {"events_dead", "quarantine"}
    assert "1 messaggio di CUP di prova non si è potuto leggere" in page
    assert "1 presi in carico, 1 non letti" in page
    assert "4 secondi" in page
    assert "cup-emilia" not in page
    assert "PRN-SEGRETO" not in page
    assert ROSA.family_name not in page


async def test_a_source_can_be_added_once(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    first = await administrator.post("/admin/sources", code="cup-nuovo", name="Nuovo")
    again = await administrator.post("/admin/sources", code="cup-nuovo", name="Altro")
    wrong = await administrator.post("/admin/sources", code="../etc", name="")

    assert (first.status, again.status, wrong.status) == (303, 409, 400)
    page = await administrator.get(first.location)
    assert 'data-state="never_heard"' in page.text
    entry = await last_act(database, cast.toscana, Act.SOURCE_CHANGED)
    assert entry["facts"] == {"source": "cup-nuovo", "change": "added"}


def fields_of(page: Answer) -> dict[str, str]:
    [seen] = re.findall(r'name="seen" value="(\w+)"', page.text)
    return {
        "seen": seen, "name": "CUP nuovo", "connection": "{}", "csv_delimiter": "",
        "csv_encoding": "utf-8", "csv_columns": "", "hl7_paths": "", "words": "",
    }  # fmt: skip


async def test_settings_are_saved_and_logged(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    source = await add_source(database, cast.toscana)
    path = f"/admin/sources/{source.id}"
    page = await administrator.get(path)
    assert "booking_code = SCH-2.1" in page.text

    changed = fields_of(page) | {"csv_columns": "booking_code = NUMERO", "words": "priority: 1 = U"}
    answer = await administrator.post(path, **changed)
    late = await administrator.post(path, **changed)

    assert (answer.status, late.status) == (303, 409)
    async with database.read(source.organisation_id) as session:
        row = await session.get_one(Source, source.id)
    assert row.name == "CUP nuovo"
    assert settings_of(row).mapping == Mapping(
        csv_columns={"booking_code": "NUMERO"}, words={"priority": {"1": "U"}}
    )
    entry = await last_act(database, cast.toscana, Act.SOURCE_CHANGED)
    assert entry["actor"] == cast.toscana.administrator.id


async def test_wrong_settings_are_shown_as_they_were_typed_and_not_saved(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    source = await add_source(database, cast.toscana)
    path = f"/admin/sources/{source.id}"
    wrong = fields_of(await administrator.get(path)) | {"words": "priority: 1 = U\nfoo: 2 = B"}

    answer = await administrator.post(path, **wrong)

    assert answer.status == 400
    assert "foo: 2 = B" in answer.text
    assert "Riga 2." in answer.text
    async with database.read(source.organisation_id) as session:
        assert (await session.get_one(Source, source.id)).settings == SOURCE_TEXT


async def test_a_key_is_shown_once_and_kept_as_a_hash(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    source = await add_source(database, cast.toscana)

    shown = await administrator.post(f"/admin/sources/{source.id}/token")

    [token] = re.findall(r'data-testid="source-token">([\w-]+)<', shown.text)
    async with database.read(source.organisation_id) as session:
        assert (await session.get_one(Source, source.id)).token_hash == hash_token(token)
    assert token not in (await administrator.get(f"/admin/sources/{source.id}")).text
    entry = await last_act(database, cast.toscana, Act.SOURCE_KEY_ISSUED)
    assert token not in str(entry)


async def test_cups_own_key_is_sealed_and_can_be_forgotten(
    administrator: Visitor, cast: Cast, database: Database, keyring: Keyring
) -> None:
    source = await add_source(database, cast.toscana)
    path = f"/admin/sources/{source.id}/outgoing-token"
    kept: list[str] = []
    for token in ("chiave-del-cup", ""):
        assert (await administrator.post(path, token=token)).status == 303
        async with database.read(source.organisation_id) as session:
            row = await session.get_one(Source, source.id)
            kept.append(await open_outgoing_token(keyring, session, row))

    assert kept == ["chiave-del-cup", ""]
    assert "chiave-del-cup" not in str(await acts(database, cast.toscana))


async def test_a_source_is_paused_and_goes_on(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    source = await add_source(database, cast.toscana)
    path = f"/admin/sources/{source.id}"

    await administrator.post(f"{path}/pause")
    await administrator.post(f"{path}/pause")
    paused = (await administrator.get(path)).text
    await administrator.post(f"{path}/resume")

    assert 'data-state="paused"' in paused
    assert 'data-state="paused"' not in (await administrator.get(path)).text
    changes = [
        entry["facts"]["change"]  # type: ignore[index]
        for entry in await acts(database, cast.toscana)
        if entry["action"] == Act.SOURCE_CHANGED
    ]
    assert changes == ["paused", "resumed"]


# ---- inbox and quarantine --------------------------------------------------------------


async def test_inbox_is_filtered_by_source_state_and_day(
    administrator: Visitor, cast: Cast, database: Database, keyring: Keyring
) -> None:
    first = await add_source(database, cast.toscana, "cup-a")
    second = await add_source(database, cast.toscana, "cup-b")
    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    await add_message(database, keyring, first, state=MessageState.APPLIED, at=late)
    await add_message(database, keyring, first, at=late - timedelta(hours=2))
    await add_message(database, keyring, second, at=late - timedelta(days=3))

    async def count(query: str) -> int:
        page = await administrator.get(f"/admin/inbox?{query}")
        return page.text.count('data-testid="inbox-row"')

    assert await count("") == 3
    assert await count(f"source={first.id}") == 2
    assert await count("state=applied") == 1
    assert await count("day=2026-11-21") == 1
    assert await count("day=2026-11-20") == 1
    assert await count(f"source={second.id}&state=applied") == 0
    for query in ("state=odd", "day=ieri", "page=0", "page=x"):
        assert (await administrator.get(f"/admin/inbox?{query}")).status == 400


async def test_long_lists_have_pages(
    administrator: Visitor, cast: Cast, database: Database, keyring: Keyring
) -> None:
    source = await add_source(database, cast.toscana)
    async with database.begin(source.organisation_id) as session:
        for number in range(120):
            message = InboxMessage(
                id=new_id(), organisation_id=source.organisation_id, source_id=source.id,
                connector=Connector.FHIR, control_id=str(number), content_digest="",
                state=MessageState.APPLIED, sealed_raw=b"",
                received_at=NOW + timedelta(seconds=number), decided_at=NOW,
            )  # fmt: skip
            session.add(message)

    first = (await administrator.get("/admin/inbox?state=applied")).text
    second = (await administrator.get("/admin/inbox?state=applied&page=2")).text

    assert first.count('data-testid="inbox-row"') == 100
    assert second.count('data-testid="inbox-row"') == 20
    assert 'href="/admin/inbox?state=applied&amp;page=2"' in first
    assert 'href="/admin/inbox?state=applied&amp;page=1"' in second


async def test_quarantine_says_fault_and_advice_and_nothing_of_the_person(
    administrator: Visitor, cast: Cast, database: Database, keyring: Keyring
) -> None:
    source = await add_source(database, cast.toscana)
    for reason in (Reason.MISSING, Reason.MISSING, Reason.WRONG_SENDER):
        await add_message(database, keyring, source, reason=reason)
    await add_message(database, keyring, await add_source(database, cast.emilia))

    page = (await administrator.get("/admin/quarantine")).text

    assert page.count('data-testid="quarantine-row"') == 3
    assert "inizio: manca" in page
    assert "lo aggiunga alle impostazioni della fonte" in page
    for word in ("PRN-SEGRETO", "Bertolucci", "MSH|"):
        assert word not in page


async def test_discarding_asks_first_and_is_logged(
    administrator: Visitor, cast: Cast, database: Database, keyring: Keyring
) -> None:
    message = await add_message(database, keyring, await add_source(database, cast.toscana))
    path = f"/admin/quarantine/{message.id}/discard"

    asked = await administrator.get(path)
    assert 'data-testid="discard-confirm"' in asked.text
    done = await administrator.post(path)
    again = await administrator.post(path)

    assert (done.status, again.status) == (303, 409)
    async with database.read(message.organisation_id) as session:
        row = await session.get_one(InboxMessage, message.id)
    assert row.state is MessageState.DISCARDED
    entry = await last_act(database, cast.toscana, Act.CUP_MESSAGE_DISCARDED)
    assert (entry["actor"], entry["role"]) == (cast.toscana.administrator.id, "administrator")


# ---- outbox ----------------------------------------------------------------------------


async def test_dead_events_are_tried_again(
    administrator: Visitor, cast: Cast, database: Database, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    dead = await add_event(database, visit, EventState.DEAD)
    delivered = await add_event(database, visit, EventState.DELIVERED)
    assert (await administrator.get("/admin/outbox")).text.count('"outbox-row"') == 2
    page = (await administrator.get("/admin/outbox?state=dead")).text
    assert page.count('data-testid="outbox-row"') == 1
    assert "il CUP l&#39;ha rifiutato" in page
    assert visit.appointment.booking_code not in page

    answer = await administrator.post(f"/admin/outbox/{dead.id}/retry")
    refused = await administrator.post(f"/admin/outbox/{delivered.id}/retry")

    assert (answer.status, refused.status) == (303, 409)
    async with database.read(visit.organisation_id) as session:
        row = await session.get_one(OutboxEvent, dead.number)
    is_tried_by_now = row.attempts > 0
    assert row.state is EventState.QUEUED or is_tried_by_now
    entry = await last_act(database, cast.toscana, Act.CUP_EVENT_RETRIED)
    assert entry["actor"] == cast.toscana.administrator.id


# ---- phases and rules ------------------------------------------------------------------


async def load_organisation(database: Database, team: Team) -> Organisation:
    async with database.read(team.organisation.id) as session:
        return await session.get_one(Organisation, team.organisation.id)


async def test_a_change_of_phase_is_said_in_words_before_it_is_made(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    wish = {"phase": "sperimentale", "clinic": cast.toscana.clinic.code}

    review = await administrator.post("/admin/phases/review", **wish)

    assert "Da attivo (a regime) a sperimentale (pilota)" in review.text
    assert cast.toscana.clinic.name in review.text
    assert (await load_organisation(database, cast.toscana)).phase is Phase.ATTIVO

    saved = await administrator.post("/admin/phases", seen="attivo", **wish)
    late = await administrator.post("/admin/phases", seen="attivo", **wish)

    assert (saved.status, late.status) == (303, 409)
    organisation = await load_organisation(database, cast.toscana)
    assert organisation.phase is Phase.SPERIMENTALE
    assert organisation.pilot_clinics == [cast.toscana.clinic.code]
    page = (await administrator.get("/admin/phases")).text
    assert page.count('data-testid="phase-change"') == 1
    assert "Ugo Testa" in page
    entry = await last_act(database, cast.toscana, Act.PHASE_CHANGED)
    assert entry["actor"] == cast.toscana.administrator.id
    assert (await load_organisation(database, cast.emilia)).phase is Phase.ATTIVO


async def test_a_pilot_needs_a_clinic_of_the_organisation(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    async with database.begin(cast.emilia.organisation.id) as session:
        organisation_id = cast.emilia.organisation.id
        session.add(Clinic(organisation_id=organisation_id, code="ALTRUI", name="Altrui"))

    none = await administrator.post("/admin/phases/review", phase="sperimentale")
    unsaid = await administrator.post("/admin/phases", phase="sperimentale", seen="attivo")
    foreign = await administrator.post(
        "/admin/phases", phase="sperimentale", clinic="ALTRUI", seen="attivo"
    )
    odd = await administrator.post("/admin/phases/review", phase="prova")

    assert [answer.status for answer in (none, unsaid, foreign, odd)] == [400] * 4
    assert "Scelga almeno un ambulatorio" in none.text
    async with database.read(cast.toscana.organisation.id) as session:
        assert (await session.scalars(select(PhaseChange))).all() == []


async def test_rules_of_notice_are_kept_and_logged(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    good = {"province": "MI", "notice_days": "3", "notice_rule": "solar_days"}
    wrong = [{"province": "XX"}, {"notice_days": "-1"}, {"notice_days": "31"}, {"notice_rule": "x"}]

    saved = await administrator.post("/admin/phases/rules", **good)
    refused = [await administrator.post("/admin/phases/rules", **(good | one)) for one in wrong]

    assert saved.status == 303
    assert [answer.status for answer in refused] == [400] * len(wrong)
    organisation = await load_organisation(database, cast.toscana)
    assert (organisation.province, organisation.notice_days) == ("MI", 3)
    assert organisation.notice_rule is NoticeRule.SOLAR_DAYS
    entry = await last_act(database, cast.toscana, Act.NOTICE_RULE_CHANGED)
    assert entry["facts"] == {"province": "MI", "days": 3, "rule": "solar_days"}


# ---- reconciliation --------------------------------------------------------------------


async def add_run(database: Database, source: Source, *codes: str) -> Reconciliation:
    run = Reconciliation(
        id=new_id(),
        organisation_id=source.organisation_id,
        source_id=source.id,
        compared_at=NOW,
        compared=41,
    )
    async with database.begin(source.organisation_id) as session:
        session.add(run)
        await session.flush()
        for code in codes:
            session.add(
                Difference(
                    organisation_id=source.organisation_id,
                    reconciliation_id=run.id,
                    booking_code=code,
                    kind=DifferenceKind.DIFFERENT,
                    fields="start",
                )
            )
    return run


async def test_differences_are_listed_and_can_be_taken_along(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    run = await add_run(database, await add_source(database, cast.toscana), "PRN-1", "=1+1")
    foreign = await add_run(database, await add_source(database, cast.emilia), "PRN-9")

    runs = (await administrator.get("/admin/reconciliation")).text
    page = (await administrator.get(f"/admin/reconciliation/{run.id}")).text
    file = await administrator.get(f"/admin/reconciliation/{run.id}/csv")
    other = await administrator.get(f"/admin/reconciliation/{foreign.id}/csv")

    assert runs.count('data-testid="reconciliation-run"') == 1
    assert page.count('data-testid="reconciliation-row"') == 2
    assert "diversa" in page
    assert "attachment" in file.headers["Content-Disposition"]
    assert "\n'=1+1;" in file.text
    assert other.status == 404


async def test_a_file_of_cup_is_compared_and_not_applied(
    administrator: Visitor, cast: Cast, database: Database, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    text = "codice_prenotazione;cognome;nome;codice_fiscale;inizio\n" + "".join(
        f"{code};Bertolucci;Rosa;BRTRSO48C52D612U;{visit.appointment.start.isoformat()}\n"
        for code in (visit.appointment.booking_code, "PRN-MANCA")
    )

    answer = await upload(
        administrator, "/admin/reconciliation", text.encode(), visit.appointment.source_id
    )

    assert answer.status == 303
    page = (await administrator.get(answer.location)).text
    assert re.findall(r'data-kind="(\w+)"', page) == ["missing_here"]
    assert "PRN-MANCA" in page
    async with database.read(visit.organisation_id) as session:
        assert len(list(await session.scalars(select(Visit)))) == 1


async def test_a_file_that_cannot_be_compared_is_refused_in_words(
    administrator: Visitor, cast: Cast, database: Database
) -> None:
    source = await add_source(database, cast.toscana)
    foreign = await add_source(database, cast.emilia)

    empty = await upload(administrator, "/admin/reconciliation", b"", source.id)
    other = await upload(administrator, "/admin/reconciliation", b"a;b\n", foreign.id)
    not_a_form = await administrator.post("/admin/reconciliation", source=source.id)

    assert [one.status for one in (empty, other, not_a_form)] == [400, 404, 400]
    assert "Prima scelga un file" in empty.text


async def upload(visitor: Visitor, path: str, content: bytes, source_id: str) -> Answer:
    form = aiohttp.FormData()
    form.add_field("source", source_id)
    form.add_field(
        "file", io.BytesIO(content), filename="prenotazioni.csv", content_type="text/csv"
    )
    return await visitor.ask("POST", path, OWN_PAGE, data=form)
