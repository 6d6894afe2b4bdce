"""What the tests of the recorder stand on: pages that send, and a recorder process in a room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from recordings.echowords import Endpoint
from recordings.finishing import Finished
from recordings.recorderhost import RecorderProcess
from recordings.recorderwords import NeedTicket, Orders, RecorderWord, Ticket, TrackBegan
from recordings.roomclient import UNNUMBERED, RoomClient
from recordings.tapes import TapeKey
from recordings.vault import new_key
from signaling.messages import AnswerEvent, Event, Offer, Role, Welcome
from signaling.recordingevents import RecordingAnswered, RecordingAsked
from tests.flashes import LoopTrack, flash_and_beep
from tests.test_sockets import ORIGIN, House

HERE = Endpoint("127.0.0.1")
PATIENCE = 30.0
ASK = "recording0000001"
KEY = TapeKey(new_key(), "key0000000000001", "organisation", "visit")

W = TypeVar("W")


def said(words: Sequence[object], kind: type[W]) -> list[W]:
    return [word for word in words if isinstance(word, kind)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


@dataclass
class Sender:
    """A page's connection that only sends."""

    connection: RTCPeerConnection
    tracks: tuple[LoopTrack, ...]

    @classmethod
    def of(cls, *tracks: LoopTrack) -> Sender:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for track in tracks:
            connection.addTransceiver(track, "sendonly")
        return cls(connection, tracks)

    @property
    def sent(self) -> int:
        return sum(track.sent for track in self.tracks)

    @property
    def is_up(self) -> bool:
        return self.connection.connectionState == "connected"

    def hold(self, is_held: bool = True) -> None:
        """Nothing is sent; or on it goes, within a second."""
        for track in self.tracks:
            track.is_held = is_held

    @property
    def sent_at(self) -> float:
        """When the last frame was sent, in seconds of the Unix epoch."""
        return max(track.sent_at for track in self.tracks)

    @property
    def late(self) -> float:
        """What a busy machine adds to what sound and picture may be apart, in seconds."""
        return max(track.late for track in self.tracks)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        await self.connection.close()


@dataclass
class Process:
    """A recorder process in the room of a house."""

    house: House
    folder: Path
    recorder: RecorderProcess
    words: list[RecorderWord] = field(default_factory=list)

    async def listen(self) -> None:
        while (word := await self.recorder.hear()) is not None:
            self.words.append(word)
            if isinstance(word, NeedTicket):
                self.recorder.say(Ticket(ticket=ticket_of(self.house)))

    def files(self) -> list[tuple[Finished, bytes]]:
        tracks = [word.track for word in said(self.words, TrackBegan)]
        finished = [Finished(self.folder, track, KEY) for track in tracks]
        return [(one, b"".join(one.pieces())) for one in finished]


def ticket_of(house: House) -> str:
    return house.hub.issue_ticket("visit", "recorder", Role.RECORDER, house.clock.now)


def socket_url(house: House) -> str:
    return str(house.client._base_url).replace("http", "ws").rstrip("/") + "/ws"


def orders_for(house: House, folder: Path, **more: Any) -> Orders:
    return Orders(
        socket_url=socket_url(house), origin=ORIGIN, ticket=ticket_of(house), endpoint=HERE,
        recording_id=ASK, visit_id=KEY.visit, organisation=KEY.organisation, key=KEY.key,
        key_id=KEY.key_id, tape_folder=str(folder), **more,
    )  # fmt: skip


@asynccontextmanager
async def recording(house: House, folder: Path, **more: Any) -> AsyncIterator[Process]:
    orders = orders_for(house, folder, **more)
    process = Process(house, folder, await RecorderProcess.start(orders))
    listening = asyncio.create_task(process.listen())
    try:
        yield process
    finally:
        process.recorder.finish()
        async with asyncio.timeout(PATIENCE):
            await listening
        await process.recorder.end()


class Page:
    """A person's page as far as the recorder is concerned."""

    def __init__(self, house: House, who: str, role: Role) -> None:
        self._house = house
        self.who = who
        self._role = role
        self._generations: dict[str, int] = {}
        self._answered = asyncio.Event()
        self.sender = Sender.of(*flash_and_beep())
        self.client = RoomClient(
            socket_url(house), ORIGIN, self._fetch_ticket, self._welcome, self._hear
        )
        self._life = asyncio.create_task(self.client.run())
        self._answering: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """With the recorder, once it is there."""
        self._answered.clear()
        await until(lambda: "recorder" in self._generations and self.who in self._generations)
        payload = json.dumps({"type": "offer", "sdp": await self.sender.offer(), "leg": 3})
        self.client.send(
            Offer(
                cseq=UNNUMBERED,
                to="recorder",
                generation=max(self._generations["recorder"], self._generations[self.who]),
                payload=msgspec.Raw(payload.encode()),
            )
        )
        async with asyncio.timeout(PATIENCE):
            await self._answered.wait()

    def forget_recorder(self) -> None:
        """Another one will come."""
        self._generations.pop("recorder", None)

    async def close(self) -> None:
        await self.sender.close()
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)

    async def _fetch_ticket(self) -> str:
        return self._house.hub.issue_ticket("visit", self.who, self._role, self._house.clock.now)

    def _welcome(self, welcome: Welcome) -> None:
        self._generations = {one.participant: one.generation for one in welcome.participants}

    def _hear(self, event: Event) -> None:
        if event.__struct_config__.tag == "joined":
            self._generations[event.participant] = event.seq  # type: ignore[attr-defined]
        if isinstance(event, AnswerEvent) and event.sender == "recorder":
            payload = json.loads(bytes(event.payload))
            assert payload["leg"] == 3
            self._answering = asyncio.create_task(self._take(payload["sdp"]))

    async def _take(self, sdp: str) -> None:
        await self.sender.take(sdp)
        self._answered.set()


@asynccontextmanager
async def visit(house: House) -> AsyncIterator[tuple[Page, Page]]:
    """Dr Bruno asks Anna."""
    bruno, anna = Page(house, "bruno", Role.CLINICIAN), Page(house, "anna", Role.PATIENT)
    try:
        await until(lambda: anna.client.is_up and bruno.client.is_up)
        await tell(
            house,
            RecordingAsked(
                ask=ASK, participant="bruno", purpose="care", text_version="1", text_hash="00"
            ),
        )
        yield bruno, anna
    finally:
        await anna.close()
        await bruno.close()


async def agree(house: House, bruno: Page, anna: Page) -> None:
    """Anna agrees, too; both send."""
    await tell(house, RecordingAnswered(ask=ASK, participant="anna", accepted=True))
    await asyncio.gather(bruno.connect(), anna.connect())


async def tell(house: House, event: Event) -> None:
    await house.hub.publish("visit", event)
