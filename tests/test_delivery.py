"""Events on their way to CUP: real listeners that take, refuse, hang up and stay silent, and
servers that die in between; on both databases."""

from __future__ import annotations

import asyncio
import csv
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select

from server.cup.outbox import delivery, parcels
from server.cup.outbox.delivery import LEASE, Deliverer, Line, make_senders, run_once, wait_after
from server.cup.outbox.outgoing import OutgoingEvent, Verdict
from server.db import Database
from server.keyring import Keyring
from server.models import (
    Connector,
    EventKind,
    EventState,
    OutboxEvent,
    Phase,
    Source,
    Visit,
)
from server.outbox import retry_event, tell_cup
from server.sources import Outgoing
from tests.conftest import Cast, MakeVisit
from tests.cups import acknowledge, hang_up, lead_events, load_events, open_centre

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CONFIRMED, BEGUN, ENDED = EventKind.CONFIRMED, EventKind.BEGUN, EventKind.ENDED
COMPLETED = {"outcome": "completed", "reason": "", "began_at": "", "ended_at": "", "waited": True}


async def tell(database: Database, visit: Visit, *kinds: EventKind) -> list[str]:
    """Queue events and give their ids."""
    async with database.begin(visit.organisation_id) as session:
        for kind in kinds:
            await tell_cup(session, visit, kind, NOW, COMPLETED if kind is ENDED else {})
    return [event.id for event in (await load_events(database))[-len(kinds) :]]


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


class Office:
    """A server that delivers, with a clock that the test moves."""

    def __init__(self, database: Database, keyring: Keyring, folder: Path) -> None:
        self.database = database
        self.keyring = keyring
        self.senders = make_senders(folder)
        self.now = NOW

    async def deliver(self, **later: float) -> None:
        self.now += timedelta(**later)
        await run_once(self.database, self.keyring, self.now, self.senders)

    async def states(self) -> list[str]:
        return [event.state.value for event in await load_events(self.database)]


@pytest.fixture
def office(database: Database, keyring: Keyring, tmp_path: Path) -> Office:
    return Office(database, keyring, tmp_path)


# ---- taken -----------------------------------------------------------------------------


async def test_events_go_out_once_in_their_order(
    office: Office, database: Database, visit: Visit
) -> None:
    async with open_centre() as centre:
        await lead_events(database, visit, centre.address)
        ids = await tell(database, visit, CONFIRMED, EventKind.CHECKED_IN, BEGUN, ENDED)

        await office.deliver()
        await office.deliver()

    assert centre.control_ids == ids
    events = await load_events(database)
    assert {event.state for event in events} == {EventState.DELIVERED}
    assert [event.attempts for event in events] == [1, 1, 1, 1]
    assert all(event.delivered_at == NOW and event.next_attempt_at is None for event in events)
    assert visit.appointment.booking_code in "|".join(centre.messages[-1])


async def test_no_message_names_the_patient(
    office: Office, database: Database, visit: Visit
) -> None:
    async with open_centre() as centre:
        await lead_events(database, visit, centre.address)
        await tell(database, visit, *EventKind)
        await office.deliver()

    said = str(centre.messages)
    assert len(centre.messages) == len(EventKind) - 1, "a correction has no word by default"
    assert not [word for word in ("Bertolucci", "Rosa", "BRTRSO", "+39") if word in said]


async def test_files_are_whole_and_repeated_in_their_place(
    office: Office, database: Database, visit: Visit, tmp_path: Path
) -> None:
    await lead_events(database, visit, "esiti/toscana", connector=Connector.CSV)
    first, second = await tell(database, visit, BEGUN, ENDED)

    await office.deliver()

    folder = tmp_path / "esiti" / "toscana"
    names = sorted(path.name for path in folder.iterdir())
    assert [name.rpartition("-")[2] for name in names] == [f"{first}.csv", f"{second}.csv"]
    with (folder / names[1]).open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file, delimiter=";")
    assert row["codice_prenotazione"] == visit.appointment.booking_code
    assert (row["evento"], row["esito"], row["id_evento"]) == ("conclusa", "erogata", second)


async def test_a_folder_that_is_away_is_waited_for(
    office: Office, database: Database, visit: Visit, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    await lead_events(database, visit, str(share), connector=Connector.CSV)
    await tell(database, visit, ENDED)

    await office.deliver()
    (event,) = await load_events(database)
    assert (event.state, event.reason) == (EventState.QUEUED, "unreachable")
    assert not share.exists()
    share.mkdir()
    await office.deliver(seconds=10)

    assert await office.states() == ["delivered"]
    assert len(list(share.iterdir())) == 1


# ---- refused ---------------------------------------------------------------------------


async def test_a_refused_event_is_dead_and_the_line_goes_on(
    office: Office, database: Database, visit: Visit
) -> None:
    async with open_centre() as centre:
        await lead_events(database, visit, centre.address)
        first, second = await tell(database, visit, CONFIRMED, BEGUN)
        centre.answer = lambda control_id, kind: acknowledge("AE" if control_id == first else "AA")(
            control_id, kind
        )
        await office.deliver()
        dead, sent = await load_events(database)

        async with database.begin(visit.organisation_id) as session:
            await retry_event(session, first, by="", now=office.now)
        centre.answer = acknowledge("AA")
        await office.deliver()

    assert (dead.state, dead.reason, dead.next_attempt_at) == (EventState.DEAD, "refused", None)
    assert sent.state is EventState.DELIVERED
    assert centre.control_ids == [first, second, first]
    assert await office.states() == ["delivered", "delivered"]


async def test_what_a_source_has_no_word_for_is_not_sent(
    office: Office, database: Database, visit: Visit
) -> None:
    async def sender(event: OutgoingEvent, outgoing: Outgoing, token: str) -> Verdict:
        return Verdict.NOT_WANTED

    await lead_events(database, visit, "127.0.0.1:1")
    await tell(database, visit, BEGUN)
    office.senders[Connector.HL7V2] = sender

    await office.deliver()

    (event,) = await load_events(database)
    assert (event.state, event.reason) == (EventState.NO_ROUTE, "not_wanted")


# ---- not answered ----------------------------------------------------------------------


def test_the_waits_double_up_to_a_quarter_of_an_hour() -> None:
    waits = [wait_after(attempts).total_seconds() for attempts in range(1, 12)]

    assert waits[:7] == [10, 20, 40, 80, 160, 320, 640]
    assert set(waits[7:]) == {900}
    assert wait_after(10_000) == timedelta(minutes=15)


@pytest.mark.parametrize("trouble", ["hangs up", "is away", "answers another message"])
async def test_while_cup_does_not_take_it_the_line_waits(
    office: Office, database: Database, visit: Visit, trouble: str
) -> None:
    async with open_centre() as centre:
        port = centre.address if trouble != "is away" else "127.0.0.1:1"
        await lead_events(database, visit, port)
        centre.answer = hang_up if trouble == "hangs up" else other_answer
        first, second = await tell(database, visit, BEGUN, ENDED)
        await office.deliver()
        await office.deliver(seconds=9)
        waiting, behind = await load_events(database)
        assert (waiting.state, waiting.attempts) == (EventState.QUEUED, 1)
        assert waiting.reason in {"unreachable", "no_answer"}
        assert waiting.next_attempt_at == NOW + timedelta(seconds=10)
        assert behind.attempts == 0

        centre.answer = acknowledge("AA")
        await lead_events(database, visit, centre.address)
        await office.deliver(seconds=1)

    assert centre.control_ids[-2:] == [first, second]
    assert set(centre.control_ids[:-2]) <= {first}
    assert await office.states() == ["delivered", "delivered"]


def other_answer(control_id: str, kind: str) -> bytes:
    return acknowledge("AA")("SOMETHING-ELSE", kind)


async def test_silence_counts_as_no_answer(
    office: Office, database: Database, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "SEND_SECONDS", 0.05)
    async with open_centre() as centre:
        centre.is_silent = True
        await lead_events(database, visit, centre.address)
        await tell(database, visit, BEGUN)

        await office.deliver()

    (event,) = await load_events(database)
    assert (event.state, event.reason) == (EventState.QUEUED, "no_answer")


async def test_other_sources_go_on(
    office: Office, database: Database, cast: Cast, visit: Visit, make_visit: MakeVisit
) -> None:
    other = await make_visit(cast.emilia)
    async with open_centre() as away, open_centre() as centre:
        away.answer = hang_up
        await lead_events(database, visit, away.address)
        await lead_events(database, other, centre.address)
        await tell(database, visit, BEGUN)
        (delivered,) = await tell(database, other, BEGUN)

        await office.deliver()

    assert centre.control_ids == [delivered]
    assert await office.states() == ["queued", "delivered"]


async def test_after_72_hours_without_an_answer_an_event_is_dead(
    office: Office, database: Database, visit: Visit
) -> None:
    await lead_events(database, visit, "127.0.0.1:1")
    await tell(database, visit, BEGUN, ENDED)
    await office.deliver()

    await office.deliver(hours=71)
    assert await office.states() == ["queued", "queued"]
    await office.deliver(hours=1)

    dead, next_one = await load_events(database)
    assert (dead.state, dead.reason, dead.attempts) == (EventState.DEAD, "tried_too_long", 3)
    assert (next_one.state, next_one.attempts) == (EventState.QUEUED, 1)
    assert next_one.tried_since == office.now


async def test_a_sender_that_breaks_is_tried_again(
    office: Office, database: Database, visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    async def sender(event: OutgoingEvent, outgoing: Outgoing, token: str) -> Verdict:
        raise ValueError

    await lead_events(database, visit, "127.0.0.1:1")
    (event_id,) = await tell(database, visit, BEGUN)
    office.senders[Connector.HL7V2] = sender

    await office.deliver()

    (event,) = await load_events(database)
    assert (event.state, event.reason) == (EventState.QUEUED, "send_failed")
    assert event_id in caplog.text


async def test_an_address_that_cannot_be_used_waits_for_a_better_one(
    office: Office, database: Database, visit: Visit
) -> None:
    await lead_events(database, visit, "nowhere")
    await tell(database, visit, BEGUN)

    await office.deliver()

    (event,) = await load_events(database)
    assert (event.state, event.reason) == (EventState.QUEUED, "wrong_settings")


# ---- asked again at sending ------------------------------------------------------------


async def test_back_to_collaudo_stops_what_is_on_its_way(
    office: Office, database: Database, visit: Visit
) -> None:
    async with open_centre() as centre:
        await lead_events(database, visit, centre.address)
        await tell(database, visit, BEGUN, ENDED)
        await lead_events(database, visit, centre.address, phase=Phase.COLLAUDO)
        await office.deliver()
        await lead_events(database, visit, centre.address, phase=Phase.ATTIVO)
        await office.deliver(hours=1)

    assert centre.connections == 0
    assert await office.states() == ["withheld", "withheld"]


async def test_a_paused_source_keeps_its_events(
    office: Office, database: Database, visit: Visit
) -> None:
    async with open_centre() as centre:
        await lead_events(database, visit, centre.address)
        await tell(database, visit, BEGUN)
        await pause(database, visit, is_paused=True)
        await office.deliver()
        assert await office.states() == ["queued"]
        await pause(database, visit, is_paused=False)
        await office.deliver()

    assert await office.states() == ["delivered"]


async def pause(database: Database, visit: Visit, *, is_paused: bool) -> None:
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(Source, visit.appointment.source_id)).is_paused = is_paused


async def test_an_event_without_a_way_out_any_more_says_so(
    office: Office, database: Database, visit: Visit
) -> None:
    await lead_events(database, visit, "127.0.0.1:1")
    await tell(database, visit, BEGUN)
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(Source, visit.appointment.source_id)).settings = "{}"

    await office.deliver()

    assert await office.states() == ["no_route"]


# ---- servers that die, and two of them -------------------------------------------------


class Death(BaseException):
    """Nothing catches it: the process is gone."""


async def test_dying_between_sending_and_committing_sends_the_same_again(
    office: Office, database: Database, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise Death

    async with open_centre() as centre:
        await lead_events(database, visit, centre.address)
        first, second = await tell(database, visit, BEGUN, ENDED)
        line = Line(visit.organisation_id, visit.appointment.source_id)
        with monkeypatch.context() as patch:
            patch.setattr(Deliverer, "_settle", die)
            patch.setattr(Deliverer, "_release", die)
            dying = Deliverer(database, office.keyring, office.senders, lambda: NOW)
            with pytest.raises(Death):
                await dying.deliver(line)

        await office.deliver(seconds=LEASE.total_seconds() - 1)
        assert centre.control_ids == [first]
        await office.deliver(seconds=1)

    assert centre.control_ids == [first, first, second]
    assert centre.messages[0] == centre.messages[1]
    assert await office.states() == ["delivered", "delivered"]


async def test_two_servers_share_a_line_without_overtaking(
    database: Database, keyring: Keyring, visit: Visit
) -> None:
    sent: list[str] = []
    sending = 0

    async def sender(event: OutgoingEvent, outgoing: Outgoing, token: str) -> Verdict:
        nonlocal sending
        sending += 1
        assert sending == 1
        await asyncio.sleep(0)
        sent.append(event.control_id)
        sending -= 1
        return Verdict.DELIVERED

    await lead_events(database, visit, "127.0.0.1:1")
    ids = await tell(database, visit, *[CONFIRMED] * 20)
    line = Line(visit.organisation_id, visit.appointment.source_id)
    senders = {Connector.HL7V2: sender}
    servers = [Deliverer(database, keyring, senders, lambda: NOW) for _ in range(4)]

    while len(sent) < len(ids):
        await asyncio.gather(*(server.deliver(line) for server in servers))

    assert sent == ids
    assert all(before < after for before, after in pairwise(await numbers_of(database, sent)))


async def numbers_of(database: Database, ids: list[str]) -> list[int]:
    by_id = {event.id: event.number for event in await load_events(database)}
    return [by_id[event_id] for event_id in ids]


async def test_a_late_answer_of_a_lost_lease_changes_nothing(
    database: Database, keyring: Keyring, visit: Visit
) -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(event: OutgoingEvent, outgoing: Outgoing, token: str) -> Verdict:
        is_asked.set()
        await may_answer.wait()
        return Verdict.REFUSED

    async def quick(event: OutgoingEvent, outgoing: Outgoing, token: str) -> Verdict:
        return Verdict.DELIVERED

    await lead_events(database, visit, "127.0.0.1:1")
    await tell(database, visit, BEGUN)
    line = Line(visit.organisation_id, visit.appointment.source_id)
    stuck = Deliverer(database, keyring, {Connector.HL7V2: slow}, lambda: NOW)
    task = asyncio.create_task(stuck.deliver(line))
    await is_asked.wait()

    await run_once(database, keyring, NOW + LEASE, {Connector.HL7V2: quick})
    may_answer.set()
    await task

    (event,) = await load_events(database)
    assert event.state is EventState.DELIVERED


async def test_a_running_server_delivers_by_itself_and_ends_tidily(
    database: Database, office: Office, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_LOOK_SECONDS", 0.01)
    async with open_centre() as centre:
        await lead_events(database, visit, centre.address)
        deliverer = Deliverer(database, office.keyring, office.senders, lambda: NOW)
        runner = asyncio.create_task(deliverer.run())
        await tell(database, visit, BEGUN)
        await centre.has_message.wait()
        centre.is_silent = True
        centre.has_message.clear()
        await tell(database, visit, ENDED)
        await centre.has_message.wait()

        runner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await runner

    async with database.read(visit.organisation_id) as session:
        held = await session.scalar(select(func.count()).where(Source.delivery_holder != ""))
        queued = await session.scalar(
            select(OutboxEvent.kind).where(OutboxEvent.state == EventState.QUEUED)
        )
    assert held == 0
    assert queued is ENDED
