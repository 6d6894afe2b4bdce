"""Whole frames as they were encoded, before aiortc decodes them: the one seam into aiortc of a
recorder.

aiortc has no way to them: a receiver puts packets into a jitter buffer and what comes out into the
queue of a decoder's thread. Here a :class:`FrameBuffer` stands in the buffer's place and nothing
comes out. It gives what aiortc's would, and more: all that is whole at once, the RTP time as it
was sent, when the first packet came, and it goes on after what never comes. Private names of aiortc
are used: :func:`require_known_aiortc` refuses a version that was not tested, and
``tests/test_encoded.py`` fails when they change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import aiortc
from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import MAX_MISORDER, JitterBuffer, JitterFrame
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket, RtpPacket

TESTED: Final = ("1.16.0",)
_JITTER_BUFFER: Final = "_RTCRtpReceiver__jitter_buffer"
_RTCP_HANDLER: Final = "_handle_rtcp_packet"
_AUDIO_PACKETS: Final = 64
_VIDEO_PACKETS: Final = 1024
_START_OF_FRAME: Final = (0x17, 0x10)
"""Mask and value of the first byte of a VP8 payload (RFC 7741 §4.2: S is set, PID is 0)."""
ASK_AGAIN_SECONDS: Final = 0.15
GIVE_UP_SECONDS: Final = 1.0


class UntestedAiortc(Exception):
    """This aiortc may keep frames elsewhere: nothing is recorded with it."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One frame. ``rtp`` is its RTP time; ``came_at`` the moment of its first packet, on the
    clock of :func:`time.monotonic`."""

    rtp: int
    came_at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What the sender's clock showed at an RTP time: ``ntp`` in seconds."""

    ntp: float
    rtp: int


def require_known_aiortc() -> None:
    """:raises UntestedAiortc: say so before anything is promised."""
    if aiortc.__version__ not in TESTED:
        raise UntestedAiortc(aiortc.__version__)


class FrameBuffer(JitterBuffer):
    """``on_frame`` gets frames in the order in which they were sent, on the event loop; ``on_loss``
    is called before the first one after some that never came whole."""

    def __init__(
        self, kind: str, on_frame: Callable[[EncodedFrame], None], on_loss: Callable[[], None]
    ) -> None:
        is_video = kind == "video"
        super().__init__(_VIDEO_PACKETS if is_video else _AUDIO_PACKETS, is_video=is_video)
        self._on_frame = on_frame
        self._on_loss = on_loss
        self._came_at: dict[int, float] = {}
        self._last = 0
        self._newest: int | None = None
        self._absent: set[int] = set()
        self.packets = 0
        """That came, those that came twice among them."""
        self.absent = 0
        """Packets that never came, by the numbers of the others."""
        self.begun = 0
        """Frames of which a packet came in time."""
        self.whole = 0
        """Frames that came whole; the rest of the begun is lost or still here."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """As aiortc calls it: whether a whole picture is to be asked for, and never a frame."""
        self.packets += 1
        number = packet.sequence_number
        self._miss(number)
        if self._origin is not None and 0 < (self._origin - number) & 0xFFFF < MAX_MISORDER:
            return False, None
        if packet.timestamp not in self._came_at:
            self._came_at[packet.timestamp] = time.monotonic()
            self.begun += 1
        self._last = number
        is_lost, frame = super().add(packet)
        if is_lost:
            self._on_loss()
        while frame is not None:
            self._give(frame)
            frame = self._remove_frame(number)
        return is_lost, None

    def _miss(self, number: int) -> None:
        ahead = 1 if self._newest is None else (number - self._newest) & 0xFFFF
        if number in self._absent:
            self._absent.remove(number)
            self.absent -= ahead >= 1 << 15
        if 0 < ahead < 1 << 15:
            self._absent.update((number - back) & 0xFFFF for back in range(1, ahead))
            self.absent += ahead - 1
            self._newest = number

    def missing(self) -> list[int]:
        """Packets without which nothing goes on; empty while it does."""
        if self._origin is None:
            return []
        ahead = (self._last - self._origin) & 0xFFFF
        if ahead >= self.capacity:
            return []
        numbers = [(self._origin + count) & 0xFFFF for count in range(ahead)]
        return [number for number in numbers if self._packets[number % self.capacity] is None]

    def give_up(self) -> bool:
        """Go on at the next frame that begins after what is missing; returns whether there was
        one. Pictures after it need a whole one first."""
        missing = self.missing()
        if self._origin is None or not missing:
            return False
        after = (missing[-1] - self._origin) & 0xFFFF
        for count in range(after + 1, self.capacity):
            packet = self._packets[(self._origin + count) % self.capacity]
            if packet is None:
                return False
            if not self._is_video or _is_start(packet):
                self.remove(count)
                self._on_loss()
                return True
        return False

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        """The first frame when it is whole: aiortc waits for the one after it, and loses both when
        that never comes."""
        rest = self._packets_in_order()
        first = next(rest, None)
        if first is None:
            return None
        packets = [first]
        if self._is_video:
            while not packets[-1].marker:
                packet = next(rest, None)
                if packet is None:
                    return None
                if packet.timestamp != first.timestamp:
                    break
                packets.append(packet)
        self.remove(len(packets))
        data = b"".join([packet._data for packet in packets])  # type: ignore[attr-defined]
        return JitterFrame(data, first.timestamp)

    def _packets_in_order(self) -> Iterator[RtpPacket]:
        """Up to the first that is missing."""
        origin = self._origin or 0
        for count in range(self.capacity):
            packet = self._packets[(origin + count) % self.capacity]
            if packet is None:
                return
            yield packet

    def _give(self, frame: JitterFrame) -> None:
        came_at = self._came_at.pop(frame.timestamp, 0.0) or time.monotonic()
        for older in [
            rtp for rtp in self._came_at if (frame.timestamp - rtp) & 0xFFFFFFFF < 1 << 31
        ]:
            del self._came_at[older]
        self.whole += 1
        self._on_frame(EncodedFrame(frame.timestamp, came_at, frame.data))


def _is_start(packet: RtpPacket) -> bool:
    mask, value = _START_OF_FRAME
    return bool(packet.payload) and packet.payload[0] & mask == value


def take_frames(receiver: RTCRtpReceiver, buffer: FrameBuffer) -> None:
    """Give the packets of a receiver that has not started to ``buffer``."""
    getattr(receiver, _JITTER_BUFFER)  # an aiortc without it would decode in silence
    setattr(receiver, _JITTER_BUFFER, buffer)


def hear_reports(receiver: RTCRtpReceiver, on_report: Callable[[SenderReport], None]) -> None:
    """What the sender says of its clock goes to ``on_report``, too."""
    original = getattr(receiver, _RTCP_HANDLER)

    async def handle(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket) and packet.sender_info.ntp_timestamp:
            report = packet.sender_info
            on_report(SenderReport(report.ntp_timestamp / 2**32, report.rtp_timestamp))
        await original(packet)

    setattr(receiver, _RTCP_HANDLER, handle)


async def ask_again(receiver: RTCRtpReceiver, missing: list[int]) -> None:
    """aiortc asks for a lost packet once, and once again when another is lost."""
    for source in receiver.getSynchronizationSources():
        await receiver._send_rtcp_nack(source.source, missing)
