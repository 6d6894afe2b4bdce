"""Managers and auditors read what happened, without a name, and their reading is written too."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from html import unescape
from pathlib import Path

import jinja2
import msgspec
import pytest
from sqlalchemy import select, update

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import Database
from server.i18n import LANGUAGES, Translator
from server.keyring import Keyring
from server.line.presence import BarKind
from server.line.span import Span
from server.models import LogEntry, Outcome, Visit, VisitState
from server.sessionlog.sight import SIGHTS
from server.sessionlog.timeline import Timeline, draw
from server.summary import Summaries, parse_wish
from server.summary.wish import PROBLEMS, RESULTS, VERDICTS
from tests.conftest import Cast, MakeVisit, Team
from tests.numbers import number_all
from tests.visitors import Site, Visitor, site

__all__ = ["site"]

SERVER = Path(__file__).parent.parent / "server"
START = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
CALL: list[tuple[float, Act, ActorRole, dict[str, Fact]]] = [
    (-9000, Act.BOOKING_IMPORTED, ActorRole.SYSTEM, {}),
    (-9000, Act.LINK_ISSUED, ActorRole.SYSTEM, {}),
    (-30, Act.LINK_CLAIMED, ActorRole.PATIENT, {"way": "link"}),
    (-20, Act.CONSENT_GIVEN, ActorRole.PATIENT, {"kind": "visit"}),
    (-10, Act.WAITING, ActorRole.PATIENT, {}),
    (-10, Act.ROOM_JOINED, ActorRole.PATIENT, {}),
    (-2, Act.ROOM_JOINED, ActorRole.CLINICIAN, {}),
    (0, Act.ADMITTED, ActorRole.CLINICIAN, {"participant": "patient"}),
    (1, Act.MEDIA_PROVEN, ActorRole.CLINICIAN, {"of": "patient", "audio": True, "video": True}),
    (5, Act.ROOM_DROPPED, ActorRole.PATIENT, {}),
    (6, Act.ROOM_REJOINED, ActorRole.PATIENT, {}),
    (8, Act.NOTE_SAVED, ActorRole.CLINICIAN, {"version": 1, "sha256": "ab" * 32}),
    (12, Act.FINISHED, ActorRole.CLINICIAN, {"state": "in_visit"}),
    (12, Act.OUTCOME, ActorRole.CLINICIAN, {"outcome": "completed", "present": "patient"}),
]
Play = Callable[..., Awaitable[None]]


def entries_of(
    visit: str | None = "visit", start: datetime = START, outcome: Outcome = Outcome.COMPLETED
) -> list[Entry]:
    entries = [
        Entry(start + timedelta(minutes=minutes), act, role, "", visit, facts)
        for minutes, act, role, facts in CALL
    ]
    if outcome is not Outcome.COMPLETED:
        facts: dict[str, Fact] = {"stated": "not_suitable", "proposed": "voice_only"}
        end = msgspec.structs.replace(entries[-1], facts={"outcome": outcome.value})
        stated = msgspec.structs.replace(end, act=Act.SUITABILITY_STATED, facts=facts)
        entries[-1:] = [end, stated]
    return entries


def rows_of(entries: list[Entry]) -> list[LogEntry]:
    return [
        LogEntry(seq=seq, visit_id=entry.visit, entry=entry.canonical())
        for seq, entry in enumerate(entries, start=1)
    ]


def draw_as(entries: list[Entry], role: ActorRole = ActorRole.MANAGER) -> Timeline:
    return draw(rows_of(entries), SIGHTS[role])


# ---- the drawing -----------------------------------------------------------------------


def test_bars_follow_each_person_and_a_drop_is_a_gap() -> None:
    timeline = draw_as(entries_of())

    def minutes(role: ActorRole) -> list[tuple[str, float, float]]:
        return [
            (bar.kind.value, (bar.start - START) / MINUTE, (bar.end - START) / MINUTE)
            for bar in timeline.people[role]
        ]

    assert minutes(ActorRole.PATIENT) == [
        ("waiting", -10, 0),
        ("in_visit", 0, 5),
        ("drop", 5, 6),
        ("in_visit", 6, 12),
    ]
    assert minutes(ActorRole.CLINICIAN) == [("in_visit", -2, 12)]


MINUTE = timedelta(minutes=1)


def test_span_is_the_time_in_the_room_not_the_life_of_the_booking() -> None:
    span = draw_as(entries_of()).span

    assert span == Span(START - 10 * MINUTE, START + 12 * MINUTE)
    assert [span.percent(moment) for moment in (span.start, span.end)] == [0, 100]


def test_lines_stay_in_order_and_marks_are_numbered() -> None:
    timeline = draw_as(entries_of())

    assert [line.seq for line in timeline.lines] == list(range(1, len(CALL) + 1))
    assert [(line.mark, line.act) for line in timeline.marks] == [
        (1, Act.ADMITTED),
        (2, Act.MEDIA_PROVEN),
        (3, Act.ROOM_DROPPED),
        (4, Act.ROOM_REJOINED),
        (5, Act.FINISHED),
        (6, Act.OUTCOME),
    ]


def test_drop_without_return_lasts_to_the_end() -> None:
    entries = [entry for entry in entries_of() if entry.act is not Act.ROOM_REJOINED]

    bars = draw_as(entries).people[ActorRole.PATIENT]

    assert bars[-1].kind is BarKind.DROP
    assert bars[-1].end == START + 12 * MINUTE


def test_refreshed_page_without_a_lost_line_is_no_gap() -> None:
    entries = [entry for entry in entries_of() if entry.act is not Act.ROOM_DROPPED]

    kinds = [bar.kind for bar in draw_as(entries).people[ActorRole.PATIENT]]

    assert kinds == [BarKind.WAITING, BarKind.IN_VISIT]


def test_nobody_in_the_room_is_no_drawing() -> None:
    timeline = draw_as(entries_of()[:4])

    assert timeline.span is None
    assert len(timeline.lines) == 4


@pytest.mark.parametrize("minutes", [1, 7, 8, 9, 61, 180, 24 * 60])
def test_ticks_are_few_round_and_inside(minutes: int) -> None:
    span = Span(START + timedelta(seconds=7), START + minutes * MINUTE)

    ticks = span.ticks()

    assert len(ticks) <= 8
    assert all(span.start <= tick <= span.end and tick.second == 0 for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert minutes < 2 or ticks


# ---- words -----------------------------------------------------------------------------


def load_macros(language: str, name: str) -> jinja2.environment.TemplateModule:
    words = Translator(language)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SERVER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context = {"_": words.gettext, "ngettext": words.ngettext}
    return environment.get_template(f"staff/{name}.html").make_module(context)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_act_role_result_and_bar_has_its_own_words(language: str) -> None:
    say = load_macros(language, "sessions_words")

    acts = {str(say.act(act.value)) for act in Act}

    assert len(acts) == len(Act)
    assert all(words.strip() and "." not in words for words in acts)
    assert len({str(say.role(role.value)) for role in ActorRole}) == len(ActorRole)
    assert len({str(say.result(word)) for word in RESULTS}) == len(RESULTS)
    assert len({str(say.bar(kind.value)) for kind in BarKind}) == len(BarKind)
    assert len({str(say.problem(word)) for word in PROBLEMS}) == len(PROBLEMS)
    assert len({str(say.verdict(word)) for word in VERDICTS}) == len(VERDICTS)


def find_fact_names() -> Iterator[tuple[str, str]]:
    """Every key of a dictionary of facts in the server: annotated, passed by name, or in place."""
    for path in sorted(SERVER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            dictionaries: list[ast.AST | None] = []
            if isinstance(node, ast.AnnAssign) and "Fact]" in ast.unparse(node.annotation):
                dictionaries = [node.value]
            elif isinstance(node, ast.FunctionDef) and node.returns is not None:
                if "dict[str, Fact]" in ast.unparse(node.returns):
                    dictionaries = [n.value for n in ast.walk(node) if isinstance(n, ast.Return)]
            elif isinstance(node, ast.Call) and re.search("ntry|^_save$", ast.unparse(node.func)):
                dictionaries = [*node.args, *(word.value for word in node.keywords)]
            for dictionary in dictionaries:
                if isinstance(dictionary, ast.Dict):
                    for key in dictionary.keys:
                        if isinstance(key, ast.Constant):
                            yield path.name, str(key.value)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fact_in_the_code_has_its_words(language: str) -> None:
    facts = load_macros(language, "sessions_facts")
    used = set(find_fact_names())

    assert {name for _file, name in used} >= {"outcome", "version", "participant", "kind"}
    for _file, name in used:
        assert str(facts.label(name)).strip()


def test_facts_are_said_in_words() -> None:
    facts = load_macros("it", "sessions_facts")

    said = [
        str(facts.fact(name, value, {"u1": "dott.ssa Anna Bianchi"})).strip()
        for name, value in (
            ("participant", "patient"),
            ("audio", True),
            ("video", False),
            ("outcome", "completed"),
            ("reason", "weak_line"),
            ("clinician", "u1"),
            ("present", "caregiver,patient"),
            ("phone", True),
            ("rtt_ms", 80),
        )
    ]

    assert said == [
        "persona: Paziente",
        "suono: sì",
        "immagine: no",
        "esito: Conclusa",
        "motivo: linea debole",
        "medico: dott.ssa Anna Bianchi",
        "presenti: caregiver, paziente",
        "telefono",
        "millisecondi di andata e ritorno: 80",
    ]


# ---- the list --------------------------------------------------------------------------


@pytest.fixture
async def manager(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.manager)


async def summarise(database: Database, keyring: Keyring) -> None:
    """What the leading process does within a second."""
    await number_all(database)
    await Summaries(database, keyring).follow_all()


@pytest.fixture
def play(database: Database, keyring: Keyring) -> Play:
    return partial(play_visit, database, keyring)


async def play_visit(
    database: Database,
    keyring: Keyring,
    team: Team,
    visit: Visit,
    outcome: Outcome = Outcome.COMPLETED,
) -> None:
    """A whole visit as the log, the row and the summary keep it."""
    start = visit.appointment.start
    async with database.begin(team.organisation.id) as session:
        await append(session, team.organisation.id, *entries_of(visit.id, start, outcome))
        await session.execute(
            update(Visit)
            .where(Visit.id == visit.id)
            .values(
                state=VisitState.ENDED,
                outcome=outcome,
                admitted_at=start,
                ended_at=start + 12 * MINUTE,
            )
        )
    await summarise(database, keyring)


def rows_in(page: str) -> list[str]:
    return re.findall(r'data-testid="sessions-row" data-visit="(\w+)"', page)


async def test_manager_reads_pseudonyms_outcomes_minutes_and_drops(
    manager: Visitor, cast: Cast, make_visit: MakeVisit, play: Play
) -> None:
    visit = await make_visit(cast.toscana)
    other = await make_visit(cast.emilia)
    await play(cast.toscana, visit)
    await play(cast.emilia, other)

    page = (await manager.get("/sessions")).text

    assert rows_in(page) == [visit.id]
    row = " ".join(re.sub(r"<[^>]+>", " ", page.split('data-testid="sessions-row"')[1]).split())
    assert visit.appointment.booking_code in row
    assert "Conclusa 12 – 1 Linea caduta durante la visita" in row
    assert re.search(r"\b[0-9A-F]{6}\b", row)
    assert "Rosa" not in page
    assert "Bertolucci" not in page


async def test_auditor_reads_no_booking_code(
    site: Site, cast: Cast, make_visit: MakeVisit, play: Play
) -> None:
    visit = await make_visit(cast.toscana)
    await play(cast.toscana, visit)
    auditor = await site.staff(cast.toscana.auditor)

    pages = [await auditor.get("/sessions"), await auditor.get(f"/sessions/{visit.id}")]

    for page in pages:
        assert page.status == 200
        assert visit.appointment.booking_code not in page.text
        assert "Rosa" not in page.text


async def test_same_patient_has_the_same_pseudonym_in_one_organisation_only(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    for team in (cast.toscana, cast.toscana, cast.emilia):
        await make_visit(team)
    await summarise(database, keyring)

    found = []
    for team in (cast.toscana, cast.emilia):
        page = (await (await site.staff(team.manager)).get("/sessions")).text
        found.append(re.findall(r"<code>([0-9A-F]{6})</code>", page))

    assert len(found[0]) == 2
    assert len(set(found[0])) == 1
    assert set(found[0]) != set(found[1])


async def test_filters_choose_visits(
    manager: Visitor, cast: Cast, make_visit: MakeVisit, play: Play
) -> None:
    now = datetime.now(UTC)
    good = await make_visit(cast.toscana, start=now)
    bad = await make_visit(cast.toscana, start=now, clinician=cast.toscana.colleague)
    old = await make_visit(cast.toscana, start=now - timedelta(days=40))
    await play(cast.toscana, good)
    await play(cast.toscana, bad, Outcome.TECHNICAL_FAILURE)

    async def find(query: str) -> set[str]:
        return set(rows_in((await manager.get(f"/sessions?{query}")).text))

    since = (now - timedelta(days=50)).date()
    assert await find("") == {good.id, bad.id}
    assert await find(f"from={since}") == {good.id, bad.id, old.id}
    assert await find(f"from={since}&to={since + timedelta(days=20)}") == {old.id}
    assert await find("result=technical_failure") == {bad.id}
    assert await find(f"from={since}&result=booked") == {old.id}
    assert await find(f"from={since}&problem=any") == {good.id, bad.id}
    assert await find("problem=technical_failure") == {bad.id}
    assert await find("problem=incident") == set()
    assert await find("verdict=voice_only") == {bad.id}
    assert await find(f"from={since}&verdict=none") == {good.id, old.id}
    assert await find(f"clinician={cast.toscana.colleague.id}") == {bad.id}
    assert await find(f"clinic={cast.toscana.clinic.id}") == {good.id, bad.id}
    assert await find(f"clinic={cast.emilia.clinic.id}") == set()


async def test_pages_hold_every_visit_once_also_at_the_same_hour(
    manager: Visitor, cast: Cast, database: Database, make_visit: MakeVisit, keyring: Keyring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("server.summary.wish.PAGE_ROWS", 2)
    monkeypatch.setattr("server.sessionlog.views.PAGE_ROWS", 2)
    now = datetime.now(UTC)
    visits = [await make_visit(cast.toscana, start=now - (n // 3) * MINUTE) for n in range(5)]
    await summarise(database, keyring)

    pages, query = [], ""
    while True:
        page = (await manager.get(f"/sessions?{query}")).text
        assert "5 visite" in page
        pages.append(rows_in(page))
        found = re.search(r'rel="next" href="/sessions\?([^"]+)"', page)
        if not found:
            break
        query = unescape(found[1])

    assert [len(page) for page in pages] == [2, 2, 1]
    shown = [visit_id for page in pages for visit_id in page]
    assert sorted(shown) == sorted(visit.id for visit in visits)
    assert {visits[3].id, visits[4].id} == set(shown[3:])


@pytest.mark.parametrize(
    "query",
    [
        "from=ieri",
        "to=2026-02-30",
        "from=0001-01-01",
        "result=x",
        "verdict=x",
        "problem=x",
        "after=x",
    ],
)
async def test_impossible_filter_is_refused(manager: Visitor, query: str) -> None:
    assert (await manager.get(f"/sessions?{query}")).status == 400


def test_usual_days_are_the_last_week_in_rome() -> None:
    wish = parse_wish({}, datetime(2026, 11, 26, 23, 30, tzinfo=UTC))

    assert (str(wish.first_day), str(wish.last_day)) == ("2026-11-20", "2026-11-27")


# ---- one visit -------------------------------------------------------------------------


async def test_timeline_shows_every_entry_in_order_in_words(
    manager: Visitor, cast: Cast, make_visit: MakeVisit, play: Play
) -> None:
    visit = await make_visit(cast.toscana)
    await play(cast.toscana, visit)

    page = (await manager.get(f"/sessions/{visit.id}")).text

    timeline = page.split('data-testid="session-timeline"')[1].split("</ol>")[0]
    acts = re.findall(r'data-act="([\w.]+)"', timeline)
    played = [act.value for _minutes, act, _role, _facts in CALL]
    assert [act for act in acts if act in played][-len(played) :] == played
    assert acts[-1] == "log.read"
    assert "Ammissione alla visita" in timeline
    assert "Direzione · Paolo Greco" in timeline
    assert page.count('class="bar bar-drop"') == 2
    assert "style=" not in page


async def test_visit_that_nobody_opened_has_a_list_and_no_drawing(
    manager: Visitor, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)

    page = (await manager.get(f"/sessions/{visit.id}")).text

    assert "session-drawing" not in page
    assert "non è ancora entrato nessuno" in page


async def test_every_act_can_be_shown(
    manager: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    names = sorted({name for _file, name in find_fact_names()})
    async with database.begin(visit.organisation_id) as session:
        await append(
            session,
            visit.organisation_id,
            *(
                Entry(START + n * MINUTE, act, role, "x", visit.id, dict.fromkeys(names, None))
                for n, (act, role) in enumerate((act, role) for act in Act for role in ActorRole)
            ),
        )

    assert (await manager.get(f"/sessions/{visit.id}")).status == 200


async def test_reading_is_itself_written(
    manager: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)

    await manager.get("/sessions")
    await manager.get(f"/sessions/{visit.id}")
    await manager.get("/sessions/0000000000000000")

    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
        read = [entry for entry in map(json.loads, rows) if entry["action"] == "log.read"]
    assert [entry["visit"] for entry in read] == [None, visit.id]
    assert {entry["actor"] for entry in read} == {cast.toscana.manager.id}
