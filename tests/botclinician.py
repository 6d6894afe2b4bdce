"""The clinician's page for the tests of synthetic patients: it offers, lets in, shows a picture and
decodes what comes. The room is the real one; the patient is a process of her own."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack

from recordings.botfaces import make_reel
from recordings.botroom import Pair, RoomView
from recordings.botsas import commitment_of, derive_figures
from recordings.botstage import PictureTrack, Stage
from recordings.botvoice import make_silence
from recordings.roomclient import UNNUMBERED, RoomClient
from recordings.script import Face
from server.models import Visit
from signaling.messages import (
    Admit,
    AnswerEvent,
    Offer,
    ProveMedia,
    RoomEvent,
    SetMedia,
    Welcome,
)
from tests.visitors import Site, Visitor

PATIENCE_SECONDS = 30.0


@dataclass
class Clinician:
    """``heard``: what the patient wrote; ``frames``: what was decoded of her, by kind."""

    site: Site
    visit: Visit
    visitor: Visitor
    room: RoomView = field(default_factory=RoomView)
    heard: list[str] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    frames: dict[str, list[Any]] = field(default_factory=dict)
    figures: tuple[int, ...] = ()
    connection: RTCPeerConnection | None = None
    channel: RTCDataChannel | None = None
    connections: int = 0

    def __post_init__(self) -> None:
        origin = self.site.origin
        self.client = RoomClient(
            origin.replace("http", "ws", 1) + "/ws", origin, self._fetch, self._join, self._follow
        )
        self._changed = asyncio.Event()
        self._events: asyncio.Queue[AnswerEvent | Pair] = asyncio.Queue()
        self._pair: Pair | None = None
        self._nonce = os.urandom(16)
        self._watching: list[asyncio.Task[None]] = []
        self._life = [asyncio.create_task(self.client.run()), asyncio.create_task(self._connect())]

    async def wait(self, condition: Callable[[Clinician], object]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    def admit(self) -> None:
        self.client.send(Admit(cseq=UNNUMBERED, participant="patient"))

    def write(self, text: str) -> None:
        self._tell({"text": text})

    async def close(self) -> None:
        for task in (*self._life, *self._watching):
            task.cancel()
        await asyncio.gather(*self._life, *self._watching, return_exceptions=True)
        if self.connection is not None:
            await self.connection.close()

    def pulse(self, *, video: bool) -> None:
        """What this page sends, as its ladder lets it."""
        self._tell({"pulse": {"hears": True, "sees": True, "audio": True, "video": video}})

    def verify(self) -> None:
        """Ask her what she sees."""
        self._tell({"sas": {"step": "ask"}})

    def restart(self) -> None:
        """An offer of the same generation over other ways, as of a page that looks for a way."""
        assert self.connection is not None
        assert self._pair is not None
        sdp = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:else", self.connection.localDescription.sdp)
        self._send_offer(self._pair, sdp)

    @property
    def pulses(self) -> list[dict[str, Any]]:
        """What the patient's page says that arrives there, and what it sends."""
        return [said["pulse"] for said in self.told if "pulse" in said]

    @property
    def lost_packets(self) -> int:
        """Of her voice."""
        assert self.connection is not None
        receivers = self.connection.getReceivers()
        streams = [
            one for each in receivers for one in each._RTCRtpReceiver__remote_streams.values()
        ]  # type: ignore[attr-defined]
        return sum(stream.packets_lost for stream in streams)

    def sees(self, kind: str) -> int:
        return len(self.frames.get(kind, ()))

    # ---- the room ----------------------------------------------------------------------

    async def _fetch(self) -> str:
        answer = await self.visitor.send("POST", f"/visits/{self.visit.id}/ticket", {})
        return str(json.loads(answer.text)["ticket"])

    def _join(self, welcome: Welcome) -> None:
        if not welcome.resumed:
            self.room.join(welcome)
        self.client.send(SetMedia(cseq=UNNUMBERED, microphone=True, camera=True))
        self._settle()

    def _follow(self, event: RoomEvent) -> None:
        if isinstance(event, AnswerEvent):
            self._events.put_nowait(event)
            return
        self.room.apply(event)
        self._settle()

    def _settle(self) -> None:
        self._changed.set()
        patient = self.room.people.get("patient")
        own = self.room.self
        if patient is None or own is None or patient.is_out:
            return
        pair = Pair("patient", max(patient.generation, own.generation), self.room.epoch)
        if pair != self._pair:
            self._pair = pair
            self._events.put_nowait(pair)

    # ---- the connection ----------------------------------------------------------------

    async def _connect(self) -> None:
        while True:
            event = await self._events.get()
            if isinstance(event, Pair):
                await self._offer(event)
            elif self.connection is not None and event.generation == self._pair.generation:  # type: ignore[union-attr]
                answer = msgspec.json.decode(event.payload)
                await self.connection.setRemoteDescription(RTCSessionDescription(**answer))

    async def _offer(self, pair: Pair) -> None:
        if self.connection is not None:
            await self.connection.close()
        self.connections += 1
        connection = self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        stage = Stage(_reel(), make_silence(), has_camera=True)
        connection.addTrack(AudioStreamTrack())
        connection.addTrack(PictureTrack(stage))
        connection.on("track", lambda track: self._watching.append(
            asyncio.create_task(self._watch(track))
        ))  # fmt: skip
        self.channel = connection.createDataChannel("room", negotiated=True, id=0)
        self.channel.on("message", self._hear)
        await connection.setLocalDescription(await connection.createOffer())
        self._send_offer(pair, connection.localDescription.sdp)

    def _send_offer(self, pair: Pair, sdp: str) -> None:
        payload = msgspec.Raw(msgspec.json.encode({"type": "offer", "sdp": sdp}))
        self.client.send(
            Offer(cseq=UNNUMBERED, to=pair.to, generation=pair.generation, payload=payload)
        )

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            seen = self.frames.setdefault(track.kind, [])
            seen.append(frame)
            if len(seen) == 1:
                proof = ProveMedia(cseq=UNNUMBERED, of="patient", audio=True, video=True)
                self.client.send(proof)
            self._changed.set()

    # ---- the channel -------------------------------------------------------------------

    def _tell(self, message: object) -> None:
        assert self.channel is not None
        self.channel.send(json.dumps(message))

    def _hear(self, message: str) -> None:
        said = json.loads(message)
        self.told.append(said)
        if "text" in said:
            self.heard.append(said["text"])
        if "sas" in said:
            self._verify(**said["sas"])
        self._changed.set()

    def _verify(self, step: str, value: str) -> None:
        own, theirs = self.fingerprints()
        if step == "commit":
            made = commitment_of("clinician", self.visit.id, own, self._nonce)
            self._tell({"sas": {"step": "commit", "value": made.hex()}})
        elif step == "reveal":
            self._tell({"sas": {"step": "reveal", "value": self._nonce.hex()}})
            nonces = self._nonce, bytes.fromhex(value)
            self.figures = derive_figures(self.visit.id, nonces, (own, theirs))

    def fingerprints(self) -> tuple[bytes, bytes]:
        assert self.connection is not None
        found = []
        for description in (self.connection.localDescription, self.connection.remoteDescription):
            start = "a=fingerprint:sha-256 "
            [line, *_] = [one for one in description.sdp.splitlines() if one.startswith(start)]
            found.append(bytes.fromhex(line.removeprefix(start).replace(":", "")))
        return found[0], found[1]


_REELS: list[Any] = []


def _reel() -> Any:
    if not _REELS:
        _REELS.append(make_reel(Face.MAN))
    return _REELS[0]
