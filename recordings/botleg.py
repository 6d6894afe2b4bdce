"""The connections of a synthetic patient: one with the clinician's page, which always offers
(aiortc knows neither rollback nor ICE restarts), and one with the recorder, to which she offers.

What comes is counted and not decoded. Knows no room.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiortc import (
    RTCDataChannel,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtcdtlstransport import RTCCertificate

from recordings.botline import Weather, cut
from recordings.botstage import PictureTrack, StageTrack
from recordings.echowords import Endpoint
from recordings.guard import BadOffer, GuardedPeerConnection, without_addresses
from recordings.passthrough import on_key_frame_wanted, prefer_codecs, tap

_CHANNEL: Final = "room"
_OVER: Final = ("failed", "closed")


class Description(msgspec.Struct, omit_defaults=True):
    """A session description as browsers send it; ``leg`` numbers those for the recorder."""

    type: str
    sdp: str
    leg: int = 0


class NeedsNewLeg(Exception):
    """The other side restarts ICE, which this one cannot."""


@dataclass(slots=True)
class Arrived:
    """What came of one kind; ``at`` on the clock of the event loop."""

    frames: int = 0
    at: float = 0.0


class Leg:
    """One connection; the tracks are its own."""

    def __init__(
        self,
        endpoint: Endpoint,
        certificate: RTCCertificate,
        tracks: tuple[StageTrack, ...],
        weather: Weather,
    ) -> None:
        self.tracks = tracks
        self.since = asyncio.get_running_loop().time()
        self.connection = GuardedPeerConnection(endpoint, certificate)
        self.connection.on("connectionstatechange", self._follow)
        self.over = asyncio.Event()
        self._weather = weather

    @property
    def is_up(self) -> bool:
        return self.connection.connectionState == "connected"

    async def close(self) -> None:
        self.over.set()
        await self.connection.close()

    async def die(self) -> None:
        """As when the line is gone: the other side hears nothing of it."""
        cut(self.connection)
        await self.close()

    def _add(self, track: StageTrack, direction: str) -> RTCRtpTransceiver:
        transceiver: RTCRtpTransceiver = self.connection.addTransceiver(track, direction)
        prefer_codecs(transceiver)
        if isinstance(track, PictureTrack):
            on_key_frame_wanted(transceiver.sender, lambda: _show_whole(track))
        return transceiver

    async def _describe(self, description: RTCSessionDescription) -> Description:
        await self.connection.setLocalDescription(description)
        self._weather.rule(self.connection)
        local = self.connection.localDescription
        return Description(local.type, local.sdp)

    def _follow(self) -> None:
        if self.connection.connectionState in _OVER:
            self.over.set()


async def _show_whole(track: PictureTrack) -> None:
    track.begin_anew()


class CallLeg(Leg):
    """With the clinician's page. ``on_message`` gets what comes over the channel."""

    def __init__(self, *given: Any, on_message: Callable[[str | bytes], None]) -> None:
        super().__init__(*given)
        self.arrived = {"audio": Arrived(), "video": Arrived()}
        self.channel: RTCDataChannel | None = None
        self.opened = asyncio.Event()
        self._on_message = on_message
        self._user = ""
        self._remote = b""
        for track in self.tracks:
            self._listen(self._add(track, "sendrecv").receiver, track.kind)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the other side's certificate: aiortc has checked it."""
        return self._remote

    async def answer(self, offer: Description) -> Description:
        """:raises NeedsNewLeg: answer it with another leg, of another generation.
        :raises BadOffer: it is none of our page."""
        user = re.search(r"^a=ice-ufrag:(\S+)", offer.sdp, re.M)
        print_ = re.search(r"^a=fingerprint:sha-256 (\S+)", offer.sdp, re.M | re.I)
        if user is None or print_ is None:
            raise BadOffer("no ICE or no certificate")
        if self._user not in ("", user[1]):
            raise NeedsNewLeg
        self._user = user[1]
        self._remote = bytes.fromhex(print_[1].replace(":", ""))
        sdp, _ = without_addresses(offer.sdp)
        try:
            await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            if self.channel is None:
                self._open_channel()
            return await self._describe(await self.connection.createAnswer())
        except Exception as error:
            raise BadOffer(type(error).__name__) from error

    def tell(self, message: dict[str, object]) -> bool:
        """Whether it could be sent."""
        if self.channel is None or self.channel.readyState != "open":
            return False
        self.channel.send(msgspec.json.encode(message).decode())
        return True

    def _open_channel(self) -> None:
        self.channel = self.connection.createDataChannel(_CHANNEL, negotiated=True, id=0)
        self.channel.on("message", self._on_message)
        self.channel.on("open", self.opened.set)

    def _listen(self, receiver: RTCRtpReceiver, kind: str) -> None:
        arrived = self.arrived[kind]
        loop = asyncio.get_running_loop()

        def count(*_: object) -> None:
            arrived.frames += 1
            arrived.at = loop.time()

        tap(receiver, count)


class RecordedLeg(Leg):
    """With the recorder: it only sends."""

    async def offer(self, number: int) -> Description:
        for track in self.tracks:
            self._add(track, "sendonly")
        made = await self._describe(await self.connection.createOffer())
        made.leg = number
        return made

    async def take_answer(self, answer: Description) -> None:
        """:raises BadOffer: it is no answer to the offer."""
        try:
            await self.connection.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        except Exception as error:
            raise BadOffer(type(error).__name__) from error
