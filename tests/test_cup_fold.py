"""Order and repeats: whatever arrives when, a booking ends as its messages' own times say.

The model is written apart from the code: each field is the newest message's that says it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.cup.booking import Booking, BookingEvent, Merge, Message, Order
from server.cup.csvfile.mapping import parse_row
from server.cup.hl7v2.mapping import parse_hl7
from server.cup.inbox.fold import difference, fold, is_silent, override
from server.cup.inbox.intake import Inbox, Receipt
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import (
    Appointment,
    Connector,
    MessageKind,
    MessageState,
    Outcome,
    PatientMessage,
    Source,
    Visit,
    VisitState,
)
from server.sealed import Details, Identity, open_details, open_identity
from server.sources import SourceSettings
from tests.conftest import Cast

SAMPLES = Path(__file__).parent.parent.parent / "shared" / "samples" / "hl7v2"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DAY = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
HEADER = "codice_prenotazione;inizio;stato;cognome;codice_paziente;telefono;quesito;priorita"
STATES = {
    BookingEvent.BOOKED: (VisitState.BOOKED, None),
    BookingEvent.CANCELLED: (VisitState.CANCELLED, None),
    BookingEvent.NO_SHOW: (VisitState.ENDED, Outcome.NO_SHOW_PATIENT),
}
WORDS = {
    BookingEvent.BOOKED: "prenotata",
    BookingEvent.CANCELLED: "annullata",
    BookingEvent.NO_SHOW: "assente",
}


@dataclass(frozen=True)
class Step:
    """One message about a booking; ``minute`` is when CUP sent it."""

    minute: int
    event: BookingEvent
    hour: int
    booking: str = "A"
    phone: str = ""
    question: str = ""
    priority: str = ""


@dataclass(frozen=True)
class Union:
    """A merge: the person of booking A is the one of booking B."""

    minute: int


def newest(steps: Iterable[Step], field: str) -> str:
    """The model: the value of the newest message that says it."""
    said = [(step.minute, getattr(step, field)) for step in steps if getattr(step, field)]
    return str(max(said)[1]) if said else ""


# ---- the pure fold ---------------------------------------------------------------------

words = st.sampled_from(["", "", "uno", "due", "tre"])
steps = st.builds(
    Step,
    minute=st.just(0),
    event=st.sampled_from(BookingEvent),
    hour=st.integers(0, 5),
    phone=words,
    question=words,
    priority=st.sampled_from(["", "U", "B"]),
)


def as_booking(step: Step) -> Booking:
    start = DAY + timedelta(hours=step.hour) if step.hour else None
    return Booking(
        booking_code="A",
        event=step.event,
        start=start,
        priority=step.priority,
        identity=Identity(family_name="Rossi", phone=step.phone),
        details=Details(question=step.question),
    )


def fold_of(known: Iterable[Step]) -> Booking:
    return fold(as_booking(step) for step in sorted(known, key=lambda step: step.minute))


@given(st.lists(steps, min_size=1, max_size=6), st.integers(0, 2**32))
@settings(max_examples=1000)
def test_any_arrival_of_a_history_ends_as_the_model(drawn: list[Step], seed: int) -> None:
    """Six arrivals of each history, with repeats."""
    history = [replace(step, minute=minute) for minute, step in enumerate(drawn)]
    last, hour = history[-1], newest(history, "hour")
    chance = random.Random(seed)
    for _ in range(6):
        arrived = [*history, *chance.choices(history, k=chance.randint(0, 4))]
        chance.shuffle(arrived)
        state = take_in(arrived)
        assert state.event is last.event
        assert state.start == (DAY + timedelta(hours=int(hour)) if hour else None)
        assert state.identity.phone == newest(history, "phone")
        assert state.details.question == newest(history, "question")
        assert state.priority == newest(history, "priority")


def take_in(arrived: list[Step]) -> Booking:
    """One after the other: the newest overrides, a late one adds what nothing newer has said."""
    known = {arrived[0]}
    state = as_booking(arrived[0])
    for step in arrived[1:]:
        if step in known:
            continue
        if all(step.minute > other.minute for other in known):
            state = override(state, as_booking(step))
        else:
            missed = difference(fold_of(known), fold_of({*known, step}))
            state = state if is_silent(missed) else override(state, missed)
        known.add(step)
    return state


# ---- the inbox -------------------------------------------------------------------------


class Feed:
    """Sends messages of many people at once and looks at what became of them."""

    def __init__(self, database: Database, keyring: Keyring, source: Source) -> None:
        self._database = database
        self._keyring = keyring
        self._inbox = Inbox(database, keyring)
        self._source = source

    async def send(self, messages: Sequence[Message]) -> list[Receipt]:
        receipts = await self._inbox.receive(self._source, messages, NOW)
        assert all(receipt.is_taken for receipt in receipts)
        return receipts

    async def visits(self) -> dict[str, Visit]:
        async with self._database.read(EVERY_ORGANISATION) as session:
            found = await session.scalars(
                select(Visit).options(joinedload(Visit.appointment).joinedload(Appointment.patient))
            )
            return {visit.appointment.booking_code: visit for visit in found}

    async def words_of(self, visit: Visit) -> tuple[Identity, Details]:
        async with self._database.read(EVERY_ORGANISATION) as session:
            identity = await open_identity(self._keyring, session, visit.appointment.patient)
            return identity, await open_details(self._keyring, session, visit.appointment)

    async def invitations(self) -> list[tuple[str, str]]:
        async with self._database.read(EVERY_ORGANISATION) as session:
            statement = select(PatientMessage.visit_id, PatientMessage.occasion)
            statement = statement.where(PatientMessage.kind == MessageKind.INVITATION)
            return [(row[0], row[1]) for row in await session.execute(statement)]


@pytest.fixture
async def feed(
    database: Database, keyring: Keyring, cast: Cast, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Feed]:
    """At the end: nothing had to be taken one by one."""
    async with database.begin(EVERY_ORGANISATION) as session:
        source = Source(organisation_id=cast.toscana.organisation.id, code="prova")
        session.add(source)
    yield Feed(database, keyring, source)
    assert "one by one" not in caplog.text


def draw_history(chance: random.Random) -> list[Step | Union]:
    """Two bookings of what may turn out to be one person, each created once or never."""
    bookings = "AB" if chance.random() < 0.5 else "A"
    count = chance.randint(2, 6)
    history: list[Step | Union] = [
        Step(
            minute=minute,
            event=chance.choice([*BookingEvent, BookingEvent.BOOKED, BookingEvent.BOOKED]),
            hour=chance.randint(1, 5),
            booking=chance.choice(bookings),
            phone=chance.choice(["", "", "055 1", "055 2"]),
            question=chance.choice(["", "", "Uno", "Due"]),
            priority=chance.choice(["", "U", "B"]),
        )
        for minute in range(count)
    ]
    if chance.random() < 0.4:
        history.insert(chance.randint(0, count), Union(count))
    return history


def as_message(person: int, step: Step | Union) -> Message:
    sent_at = NOW + timedelta(minutes=step.minute)
    if isinstance(step, Union):
        return Message(
            connector=Connector.HL7V2,
            control_id=f"{person}/{step.minute}",
            event="A40",
            order=Order(sent_at=sent_at),
            content=f"{person}".encode(),
            raw=b"",
            body=Merge(
                patient_keys=(f"||{person}B",), retired_keys=(f"||{person}A",), identity=Identity()
            ),
            paths={},
        )
    start = (DAY + timedelta(hours=step.hour)).isoformat()
    row = (
        f"{person}{step.booking};{start};{WORDS[step.event]};Rossi;{person}{step.booking};"
        f"{step.phone};{step.question};{step.priority}"
    )
    message = parse_row(f"{HEADER}\n{row}".encode(), SourceSettings(), sent_at)
    order = replace(message.order, sent_at=sent_at)
    return replace(message, control_id=f"{person}/{step.minute}", order=order)


@pytest.mark.parametrize("seed", range(3))
async def test_histories_end_as_the_model_however_they_arrive(feed: Feed, seed: int) -> None:
    chance = random.Random(seed)
    histories = {person: draw_history(chance) for person in range(100)}
    arrived = {}
    for person, history in histories.items():
        repeats = [step for step in history for _ in range(chance.randint(1, 3))]
        chance.shuffle(repeats)
        arrived[person] = repeats
    for round_number in range(max(map(len, arrived.values()))):
        messages = [
            as_message(person, repeats[round_number])
            for person, repeats in arrived.items()
            if round_number < len(repeats)
        ]
        await feed.send(messages)

    visits = await feed.visits()
    for person, history in histories.items():
        await compare(feed, person, history, visits)
    invitations = await feed.invitations()
    assert len(invitations) == len(set(invitations))


async def compare(
    feed: Feed, person: int, history: list[Step | Union], visits: dict[str, Visit]
) -> None:
    is_one = any(isinstance(step, Union) for step in history)
    said = [step for step in history if isinstance(step, Step)]
    for booking in "AB":
        own = [step for step in said if step.booking == booking]
        if not own:
            assert f"{person}{booking}" not in visits
            continue
        visit = visits[f"{person}{booking}"]
        identity, details = await feed.words_of(visit)
        last = max(own, key=lambda step: step.minute)
        assert (visit.state, visit.outcome) == STATES[last.event], history
        assert visit.appointment.start == DAY + timedelta(hours=last.hour), history
        assert visit.appointment.priority == newest(own, "priority"), history
        assert details.question == newest(own, "question"), history
        assert identity.phone == newest(said if is_one else own, "phone"), history
    if {step.booking for step in said} == {"A", "B"}:
        patients = [visits[f"{person}{each}"].appointment.patient_id for each in "AB"]
        assert (patients[0] == patients[1]) is is_one, history


@pytest.mark.skipif(not SAMPLES.exists(), reason="the SIU samples are not here")
async def test_samples_end_in_the_same_rows_in_every_order(feed: Feed) -> None:
    texts = [path.read_text() for path in sorted(SAMPLES.glob("SIU-*.hl7"))]
    assert len(texts) == 5
    orders = list(itertools.permutations(texts))
    for place in range(5):
        messages = [as_sample(order[place], number) for number, order in enumerate(orders)]
        for again in range(2):
            receipts = await feed.send(messages)
            assert {receipt.is_repeat for receipt in receipts} == {bool(again)}

    visits = await feed.visits()
    assert len(visits) == len(orders)
    seen = set()
    for visit in visits.values():
        identity, details = await feed.words_of(visit)
        appointment = visit.appointment
        seen.add(
            (visit.state, visit.outcome, visit.outcome_reason, visit.ended_at, appointment.start,
             appointment.end, appointment.status, appointment.priority, appointment.clinician_code,
             appointment.clinic_id, identity, str(details))
        )  # fmt: skip
    (row,) = seen
    assert row[:3] == (VisitState.ENDED, Outcome.NO_SHOW_PATIENT, "cup")


def as_sample(text: str, number: int) -> Message:
    """The message of another booking and person, so that all orders fit in one database."""
    for word, other in (
        ("SCH|12345|36996", f"SCH|{number}-12345|36996"),
        ("PATID1234^", f"PATID{number}^"),
        ("123456789^^^USSSA", f"9{number}^^^USSSA"),
        ("|MSG000", f"|MSG{number:03}"),
    ):
        assert word in text
        text = text.replace(word, other)
    return parse_hl7(text.replace("\n", "\r").encode(), SourceSettings(), NOW)


async def test_late_message_that_adds_nothing_is_superseded(feed: Feed) -> None:
    moved = Step(minute=5, event=BookingEvent.BOOKED, hour=3, question="Due")
    created = Step(minute=1, event=BookingEvent.BOOKED, hour=1, question="Uno")
    spoken = Step(minute=2, event=BookingEvent.BOOKED, hour=1, phone="055 1")

    receipts = [
        (await feed.send([as_message(1, step)]))[0] for step in (moved, created, spoken, created)
    ]

    assert [receipt.state for receipt in receipts] == [
        MessageState.APPLIED,
        MessageState.SUPERSEDED,
        MessageState.APPLIED,
        MessageState.SUPERSEDED,
    ]
    assert receipts[3].is_repeat
