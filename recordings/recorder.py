"""The recorder: a participant of the room who only listens, in a process of its own.

``python -m recordings.recorder`` keeps one recording of one visit. The server starts it with
:class:`Orders` on standard input (the key is on no command line and in no environment) and writes
down what it says on standard output (``recorderwords``). It folds the room's events itself and
keeps a frame only while its own fold says that everybody has agreed, and while it hears the room.
What it keeps is sealed in memory and then written (``deck``, ``trackkeeper``, ``tapes``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from recordings.deck import Deck
from recordings.encoded import require_known_aiortc
from recordings.guard import BadOffer
from recordings.recorderwords import (
    LONGEST_LINE,
    Done,
    NeedTicket,
    Orders,
    RecorderWord,
    ServerWord,
    Ticket,
)
from recordings.roomclient import UNNUMBERED, RoomClient, TicketRefused
from recordings.tapes import TapeKey
from recordings.walls import raise_walls
from signaling.messages import Answer, Gone, Joined, OfferEvent, RoomEvent, TurnedAway, Welcome
from signaling.recording import Recording
from signaling.recordingevents import RecordingState

FINISHED: Final = "finished"
NO_TICKET: Final = "no_ticket"
_STATS_SECONDS: Final = 10.0
_SETTLE_SECONDS: Final = 0.5
"""After a resume what was missed comes: until then nobody here knows whether all still agree."""
_ASKED_WITHIN_SECONDS: Final = 15.0
_MEMORY_BYTES: Final = 2**30

Say = Callable[[RecorderWord], None]


class Description(msgspec.Struct, omit_defaults=True):
    """``payload`` of an offer and its answer; ``leg`` numbers the connections of one page."""

    type: str = ""
    sdp: str = ""
    leg: int = 0


class Recorder:
    """One recording, in its room."""

    def __init__(self, orders: Orders, say: Say) -> None:
        self._ask = orders.recording_id
        self._say = say
        self._tickets: asyncio.Queue[str] = asyncio.Queue()
        self._tickets.put_nowait(orders.ticket)
        self._is_first_join = True
        self._client = RoomClient(
            orders.socket_url, orders.origin, self._fetch_ticket, self._welcome, self._hear
        )
        self._fold = Recording()
        self._settled_at = 0.0
        self._was_asked = False
        self._has_begun = orders.began_at > 0
        key = TapeKey(orders.key, orders.key_id, orders.organisation, orders.visit_id)
        folder = Path(orders.tape_folder)
        self._deck = Deck(orders.endpoint, folder, key, self._may_keep, say, orders.parts)
        if self._has_begun:
            self._deck.origin -= time.time() - orders.began_at
        self._jobs: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue()

    async def run(self) -> str:
        """Until the room ends it or the task is cancelled; returns why the room did."""
        try:
            async with asyncio.TaskGroup() as tasks:
                works = (self._deck.run, self._work, self._report, self._watch, self._give_up)
                helpers = [tasks.create_task(work()) for work in works]
                reason = await self._client.run()
                for helper in helpers:
                    helper.cancel()
            return reason
        finally:
            await self._deck.close()
            self._say(self._deck.stats())

    async def leave(self) -> bool:
        """Whether the room has answered, so that ``run`` ends by itself."""
        await self._client.leave()
        return self._client.is_over

    def take_ticket(self, ticket: str) -> None:
        self._tickets.put_nowait(ticket)

    # ---- the room --------------------------------------------------------------------------

    async def _fetch_ticket(self) -> str:
        if not self._is_first_join:
            self._say(NeedTicket())
        self._is_first_join = False
        ticket = await self._tickets.get()
        if not ticket:
            raise TicketRefused(NO_TICKET)
        return ticket

    def _welcome(self, welcome: Welcome) -> None:
        if welcome.resumed:
            loop = asyncio.get_running_loop()
            self._settled_at = loop.time() + _SETTLE_SECONDS
            loop.call_later(_SETTLE_SECONDS, self._gate)
        else:
            self._fold = Recording.of(welcome)
            for one in welcome.participants:
                self._drop(one.participant)
        self._gate()

    def _hear(self, event: RoomEvent) -> None:
        self._fold.apply(event)
        if isinstance(event, OfferEvent):
            self._jobs.put_nowait(lambda: self._answer(event))
        elif isinstance(event, Joined | Gone | TurnedAway):
            self._drop(event.participant)
        self._gate()

    def _may_keep(self, participant: str) -> bool:
        return (
            self._client.is_up
            and asyncio.get_running_loop().time() >= self._settled_at
            and self._fold.may_keep(self._ask, participant)
        )

    def _gate(self) -> None:
        is_on = self._fold.ask == self._ask and self._fold.state is RecordingState.ON
        if is_on and not self._has_begun:
            self._has_begun = True
            self._deck.origin = time.monotonic()
        self._deck.gate()
        is_asked = self._fold.ask == self._ask
        if self._was_asked and not is_asked:
            self._jobs.put_nowait(self.leave)
        self._was_asked = is_asked

    # ---- what takes time, one after another ------------------------------------------------

    def _drop(self, participant: str) -> None:
        self._jobs.put_nowait(lambda: self._deck.drop(participant))

    async def _answer(self, event: OfferEvent) -> None:
        try:
            offer = msgspec.json.decode(event.payload, type=Description)
            sdp = await self._deck.answer(event.sender, offer.sdp)
        except (BadOffer, msgspec.MsgspecError):
            return
        payload = Description("answer", sdp, offer.leg)
        self._client.send(
            Answer(
                cseq=UNNUMBERED,
                to=event.sender,
                generation=event.generation,
                payload=msgspec.Raw(msgspec.json.encode(payload)),
            )
        )

    async def _work(self) -> None:
        while True:
            job = await self._jobs.get()
            await job()

    async def _give_up(self) -> None:
        """The room that was to be recorded is no more: it knows nothing of this recording."""
        await asyncio.sleep(_ASKED_WITHIN_SECONDS)
        if not self._was_asked:
            await self.leave()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_STATS_SECONDS)
            self._say(self._deck.stats())

    async def _watch(self) -> None:
        """Whether the room is still heard."""
        was_up = True
        while True:
            await asyncio.sleep(0.05)
            if was_up != self._client.is_up:
                was_up = self._client.is_up
                self._gate()


# ---- the process -----------------------------------------------------------------------


def say(word: RecorderWord) -> None:
    """One line to the server; a server that is gone reads what is on the tapes."""
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(word) + b"\n")
        sys.stdout.buffer.flush()


async def serve() -> None:
    """Until the room ends it, or the server says ``finish`` or is gone."""
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    orders = msgspec.json.decode(await reader.readline(), type=Orders)
    recorder = Recorder(orders, say)
    running = asyncio.create_task(recorder.run())
    listening = asyncio.create_task(_listen(reader, recorder))
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        listening.cancel()
        say(Done(reason=running.result()))
        return
    if not await recorder.leave():
        running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    say(Done(reason=FINISHED))


async def _listen(reader: asyncio.StreamReader, recorder: Recorder) -> None:
    """Returns when it is time to finish."""
    while line := await reader.readline():
        word = msgspec.json.decode(line, type=ServerWord)
        if not isinstance(word, Ticket):
            return
        recorder.take_ticket(word.ticket)


def main() -> None:
    """The walls first: an attack on this process ends this process."""
    require_known_aiortc()
    raise_walls(_MEMORY_BYTES)
    os.umask(0o077)
    logging.disable()  # aioice and aiortc log addresses
    asyncio.run(serve())


if __name__ == "__main__":
    main()
