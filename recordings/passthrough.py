"""Encoded frames without a codec: taken before aiortc decodes them, sent on as they came.

Private names of aiortc 1.16 are used; ``tests/test_guard.py`` fails when they change. Used by the
echo leg; knows no connection.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any, Final

import av
from aiortc import RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RTCP_PSFB_FIR, RTCP_PSFB_PLI, AnyRtcpPacket, RtcpPsfbPacket

MAX_WAITING_FRAMES: Final = 64
CODECS: Final = {"audio": ("audio/opus",), "video": ("video/vp8", "video/rtx")}
_DECODER_QUEUE: Final = "_RTCRtpReceiver__decoder_queue"
_WISHES: Final = (RTCP_PSFB_PLI, RTCP_PSFB_FIR)
_RTCP_HANDLER: Final = "_handle_rtcp_packet"

Sink = Callable[[RTCRtpCodecParameters, JitterFrame], None]


class FrameTap(queue.Queue[Any]):
    """Stands where aiortc queues frames for its decoder: the sink has them, the decoder's thread
    sleeps until the end."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is None:
            super().put(None, block, timeout)
        else:
            self._sink(*item)


class FrameTrack(MediaStreamTrack):
    """A track of encoded frames. One that is not sent in time gives way to the newer ones."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._packets: asyncio.Queue[av.Packet[Any]] = asyncio.Queue(MAX_WAITING_FRAMES)

    def push(self, codec: RTCRtpCodecParameters, frame: JitterFrame) -> None:
        """One frame as it came."""
        if not frame.data:
            return
        packet = av.Packet(frame.data)
        packet.pts = frame.timestamp
        packet.time_base = Fraction(1, codec.clockRate)
        if self._packets.full():
            self._packets.get_nowait()
        self._packets.put_nowait(packet)

    async def recv(self) -> av.Packet[Any]:
        """The sender packs a packet as it is and would encode a frame."""
        return await self._packets.get()


def prefer_codecs(transceiver: RTCRtpTransceiver) -> None:
    """Opus, or VP8 with retransmission: what is passed on or kept as it comes."""
    known = RTCRtpReceiver.getCapabilities(transceiver.kind)
    wanted = CODECS[transceiver.kind]
    codecs = known.codecs if known else []
    transceiver.setCodecPreferences([one for one in codecs if one.mimeType.lower() in wanted])


def tap(receiver: RTCRtpReceiver, sink: Sink) -> None:
    """Give the frames of a receiver that has not started to ``sink``, on the event loop."""
    getattr(receiver, _DECODER_QUEUE)  # an aiortc without it would decode in silence
    setattr(receiver, _DECODER_QUEUE, FrameTap(sink))


async def ask_key_frame(receiver: RTCRtpReceiver) -> None:
    """Ask the sender of what this receiver gets for a whole picture."""
    for source in receiver.getSynchronizationSources():
        await receiver._send_rtcp_pli(source.source)


def on_key_frame_wanted(sender: RTCRtpSender, ask: Callable[[], Awaitable[None]]) -> None:
    """A picture that is passed on cannot be made whole here: the wish is passed on, too."""
    original = getattr(sender, _RTCP_HANDLER)

    async def handle(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt in _WISHES:
            await ask()
        else:
            await original(packet)

    setattr(sender, _RTCP_HANDLER, handle)
