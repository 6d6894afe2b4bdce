"""The Python seat of a room against the real hub: it outlives its sockets, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import msgspec
import pytest

from recordings.roomclient import UNNUMBERED, RoomClient, TicketRefused
from signaling.messages import (
    Admit,
    Candidates,
    CandidatesEvent,
    Event,
    Gone,
    Joined,
    Returned,
    Role,
    SetMedia,
    Welcome,
)
from tests.test_sockets import ORIGIN, House, build, house, make_log, valkey

__all__ = ["build", "house", "make_log", "valkey"]

PATIENCE_SECONDS = 10


@dataclass
class Seat:
    """A client that keeps what it hears."""

    house: House
    who: str
    role: Role
    refusal: str = ""
    tickets: list[str] = field(default_factory=list)
    """Given before genuine ones."""
    welcomes: list[Welcome] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        url = str(self.house.client._base_url).replace("http", "ws").rstrip("/") + "/ws"
        self.client = RoomClient(url, ORIGIN, self.fetch_ticket, self._welcome, self._hear)
        self.life = asyncio.create_task(self.client.run())

    async def fetch_ticket(self) -> str:
        if self.refusal:
            raise TicketRefused(self.refusal)
        if self.tickets:
            return self.tickets.pop()
        return self.house.hub.issue_ticket("visit", self.who, self.role, self.house.clock.now)

    def _welcome(self, welcome: Welcome) -> None:
        self.welcomes.append(welcome)
        self._changed.set()

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def heard(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    async def wait(self, condition: Callable[[Seat], object]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    def signal(self, to: str, number: int) -> None:
        payload = msgspec.Raw(msgspec.json.encode(number))
        generation = max(one.generation for one in self.welcomes[-1].participants)
        self.client.send(Candidates(cseq=UNNUMBERED, to=to, generation=generation, payload=payload))


@dataclass
class Pair:
    anna: Seat
    bruno: Seat


@pytest.fixture
async def pair(house: House) -> AsyncIterator[Pair]:
    anna = Seat(house, "anna", Role.PATIENT)
    await anna.wait(lambda seat: seat.welcomes)
    bruno = Seat(house, "bruno", Role.CLINICIAN)
    await bruno.wait(lambda seat: seat.welcomes)
    await anna.wait(lambda seat: seat.heard(Joined))
    yield Pair(anna, bruno)
    for seat in (anna, bruno):
        seat.life.cancel()
    await asyncio.gather(anna.life, bruno.life, return_exceptions=True)


async def test_signals_pass_once_and_in_order_while_lines_break(pair: Pair) -> None:
    anna, bruno = pair.anna, pair.bruno

    for number in range(30):
        bruno.signal("anna", number)
        if number == 10:
            await anna.client.drop()
        if number == 20:
            await bruno.client.drop()
    await anna.wait(lambda seat: seat.heard(CandidatesEvent) == 30)
    await bruno.wait(lambda seat: len(seat.welcomes) == 2)

    signals = [event for event in anna.events if isinstance(event, CandidatesEvent)]
    assert [int(bytes(signal.payload)) for signal in signals] == list(range(30))
    assert [welcome.resumed for welcome in anna.welcomes] == [False, True]
    assert (anna.client.reconnects, bruno.client.reconnects) == (1, 1)
    assert anna.heard(Returned) >= 1


async def test_a_new_page_drops_old_signals_and_keeps_acts(pair: Pair) -> None:
    anna, bruno = pair.anna, pair.bruno

    await bruno.client.rejoin()
    bruno.signal("anna", 1)
    bruno.client.send(SetMedia(cseq=UNNUMBERED, microphone=True, camera=True))
    bruno.client.send(Admit(cseq=UNNUMBERED, participant="anna"))
    await bruno.wait(lambda seat: len(seat.welcomes) == 2)
    bruno.client.send(SetMedia(cseq=UNNUMBERED, microphone=True, camera=False))
    await anna.wait(lambda seat: seat.events[-1].__struct_config__.tag == "media_changed")

    kinds = [event.__struct_config__.tag for event in anna.events[1:]]
    assert kinds[-3:] == ["joined", "admitted", "media_changed"]
    assert "candidates" not in kinds


async def test_leaving_ends_the_seat_and_the_other_hears_of_it(pair: Pair) -> None:
    await pair.anna.client.leave()

    assert await asyncio.wait_for(pair.anna.life, PATIENCE_SECONDS) == "left"
    await pair.bruno.wait(lambda seat: seat.heard(Gone))


async def test_who_is_made_to_leave_stays_away(pair: Pair, house: House) -> None:
    await house.hub.disconnect("visit", "anna", "consent_withdrawn")

    assert await asyncio.wait_for(pair.anna.life, PATIENCE_SECONDS) == "consent_withdrawn"
    assert len(pair.anna.welcomes) == 1


async def test_a_refused_ticket_is_not_asked_again(house: House) -> None:
    seat = Seat(house, "carla", Role.PATIENT, refusal="too_early")

    assert await asyncio.wait_for(seat.life, PATIENCE_SECONDS) == "too_early"


async def test_after_a_spoiled_ticket_another_one_is_asked(house: House) -> None:
    seat = Seat(house, "anna", Role.PATIENT, tickets=["spoiled"])
    await seat.wait(lambda seat: seat.welcomes)
    await seat.client.leave()

    assert await asyncio.wait_for(seat.life, PATIENCE_SECONDS) == "left"
