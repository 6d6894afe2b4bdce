"""One person's connection with the recorder: it only receives, and decodes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiortc import RTCRtpReceiver, RTCRtpTransceiver

from recordings.echowords import Endpoint
from recordings.encoded import (
    ASK_AGAIN_SECONDS,
    GIVE_UP_SECONDS,
    FrameBuffer,
    ask_again,
    hear_reports,
    take_frames,
)
from recordings.guard import BadOffer, GuardedPeerConnection, without_addresses
from recordings.passthrough import CODECS, ask_key_frame, prefer_codecs
from recordings.trackkeeper import TrackKeeper

_OVER: Final = ("failed", "closed")


def clean_offer(sdp: str) -> tuple[str, list[str]]:
    """The offer without addresses, and its kinds of media.

    :raises BadOffer: not at most one sound and one picture, or something else, too.
    """
    clean, kinds = without_addresses(sdp)
    if not kinds or len(set(kinds)) < len(kinds) or set(kinds) - set(CODECS):
        raise BadOffer(f"{len(kinds)} sections")
    return clean, kinds


@dataclass(slots=True)
class Traffic:
    """RTP packets that came and that never came, and frames of which one came."""

    packets: int = 0
    absent: int = 0
    begun: int = 0

    def add(self, other: Traffic | FrameBuffer) -> None:
        self.packets += other.packets
        self.absent += other.absent
        self.begun += other.begun


@dataclass(slots=True)
class _Stream:
    """Sound or picture of the connection."""

    kind: str
    receiver: RTCRtpReceiver
    buffer: FrameBuffer
    stuck_at: int | None = None
    stuck_since: float = 0.0


class RecorderLeg:
    """What comes goes to ``keeper``. ``on_over`` is called when the connection has ended by
    itself."""

    def __init__(
        self, endpoint: Endpoint, keeper: TrackKeeper, on_over: Callable[[RecorderLeg], None]
    ) -> None:
        self.keeper = keeper
        self._on_over = on_over
        self._connection = GuardedPeerConnection(endpoint)
        self._connection.on("connectionstatechange", self._follow)
        self._streams: list[_Stream] = []
        self._is_closed = False

    @property
    def is_up(self) -> bool:
        return self._connection.connectionState == "connected"

    @property
    def traffic(self) -> Traffic:
        """What came so far."""
        traffic = Traffic()
        for stream in self._streams:
            traffic.add(stream.buffer)
        return traffic

    async def answer(self, offer: str) -> str:
        """The answer to an offer; the leg listens from here on.

        :raises BadOffer: see :func:`clean_offer`.
        """
        sdp, kinds = clean_offer(offer)
        for kind in kinds:
            self._add(kind)
        return await self._connection.answer(sdp)

    async def ask_whole_picture(self) -> None:
        """Now, whatever was sent last."""
        for stream in self._streams:
            if stream.kind == "video":
                await ask_key_frame(stream.receiver)

    async def mend(self) -> None:
        """Ask again for what is missing, and go on without it in the end."""
        now = asyncio.get_running_loop().time()
        for stream in self._streams:
            missing = stream.buffer.missing()
            if not missing:
                stream.stuck_at = None
            elif missing[0] != stream.stuck_at:
                stream.stuck_at, stream.stuck_since = missing[0], now
            elif now - stream.stuck_since > GIVE_UP_SECONDS:
                if stream.buffer.give_up() and stream.kind == "video":
                    await ask_key_frame(stream.receiver)
            elif now - stream.stuck_since > ASK_AGAIN_SECONDS and stream.kind == "video":
                await ask_again(stream.receiver, missing)

    async def close(self) -> None:
        """What came is with the keeper; nothing comes any more."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._connection.close()

    def _add(self, kind: str) -> None:
        transceiver: RTCRtpTransceiver = self._connection.addTransceiver(kind, "recvonly")
        receiver = transceiver.receiver
        prefer_codecs(transceiver)
        keeper = self.keeper
        buffer = FrameBuffer(
            kind,
            lambda frame: keeper.take(kind, frame),
            keeper.lose_pictures if kind == "video" else lambda: None,
        )
        take_frames(receiver, buffer)
        hear_reports(receiver, lambda report: keeper.hear(kind, report))
        self._streams.append(_Stream(kind, receiver, buffer))

    def _follow(self) -> None:
        if self._connection.connectionState in _OVER and not self._is_closed:
            self._on_over(self)
