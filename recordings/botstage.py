"""What a synthetic patient shows and says at every moment, and the tracks that send it.

Everything is encoded before: a track hands out packets at their times, and any number of
connections may send the same moment. Knows no connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcdtlstransport import RTCCertificate

from recordings.botfaces import FRAMES_PER_SECOND, Reel
from recordings.botvoice import PACKET_SAMPLES, PACKET_SECONDS, RATE

_FRAME_SECONDS: Final = 1 / FRAMES_PER_SECOND
_PICTURE_CLOCK: Final = 90_000
_LATE_SECONDS: Final = 1.0
_BREATH_PACKETS: Final = 15


class Stage:
    """The patient before her camera."""

    def __init__(self, reel: Reel, silence: bytes, *, has_camera: bool) -> None:
        self.reel = reel
        self._silence = silence
        self._began_at = asyncio.get_running_loop().time()
        self._speeches: list[tuple[int, tuple[bytes, ...]]] = []
        self.microphone = Gate(is_open=True)
        self.camera = Gate(is_open=has_camera)

    @property
    def seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._began_at

    def say(self, packets: tuple[bytes, ...]) -> None:
        """After what is being said already."""
        now = int(self.seconds / PACKET_SECONDS) + 1
        self._speeches = [one for one in self._speeches if _end(one) > now]
        start = max([now, *(_end(one) + _BREATH_PACKETS for one in self._speeches)])
        self._speeches.append((start, packets))

    def sound_at(self, number: int) -> bytes:
        """The packet of one fiftieth of a second."""
        for start, packets in self._speeches:
            if start <= number < start + len(packets):
                return packets[number - start]
        return self._silence

    def is_talking_at(self, seconds: float) -> bool:
        number = int(seconds / PACKET_SECONDS)
        is_speaking = any(one[0] <= number < _end(one) for one in self._speeches)
        return is_speaking and self.microphone.is_open


def _end(speech: tuple[int, tuple[bytes, ...]]) -> int:
    start, packets = speech
    return start + len(packets)


@dataclass(frozen=True, slots=True)
class Body:
    """What a patient has of her own: face and voice, and the certificate of her browser."""

    stage: Stage
    certificate: RTCCertificate


class Gate:
    """Whether something may be sent; who sends it waits here."""

    def __init__(self, *, is_open: bool) -> None:
        self._event = asyncio.Event()
        self.set(is_open=is_open)

    @property
    def is_open(self) -> bool:
        return self._event.is_set()

    def set(self, *, is_open: bool) -> None:
        if is_open:
            self._event.set()
        else:
            self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()


class StageTrack(MediaStreamTrack):
    """Packets of one kind while all its gates are open, at their times."""

    _step_seconds: float

    def __init__(self, stage: Stage, *gates: Gate) -> None:
        super().__init__()
        self.stage = stage
        self.sent = 0
        self._gates = gates
        self._number = 0

    async def recv(self) -> av.Packet[Any]:
        """The sender packs a packet as it is and would encode a frame."""
        while closed := [gate for gate in self._gates if not gate.is_open]:
            await closed[0].wait()
            self.begin_anew()
        ahead = self._number * self._step_seconds - self.stage.seconds
        if ahead < -_LATE_SECONDS:
            self._number = int(self.stage.seconds / self._step_seconds)
        elif ahead > 0:
            await asyncio.sleep(ahead)
        packet = self._make(self._number)
        self._number += 1
        self.sent += 1
        return packet

    def begin_anew(self) -> None:
        """What comes next needs nothing that came before."""

    def _make(self, number: int) -> av.Packet[Any]:
        """What is sent at this step."""
        raise NotImplementedError


class VoiceTrack(StageTrack):
    kind = "audio"
    _step_seconds = PACKET_SECONDS

    def _make(self, number: int) -> av.Packet[Any]:
        return _packet(self.stage.sound_at(number), number * PACKET_SAMPLES, RATE)


class PictureTrack(StageTrack):
    kind = "video"
    _step_seconds = _FRAME_SECONDS

    def __init__(self, stage: Stage, *gates: Gate) -> None:
        super().__init__(stage, *gates)
        self._frames = stage.reel.idle
        self._place = 0

    def begin_anew(self) -> None:
        self._place = 0

    def _make(self, number: int) -> av.Packet[Any]:
        reel = self.stage.reel
        loop = reel.talking if self.stage.is_talking_at(number * _FRAME_SECONDS) else reel.idle
        if loop is not self._frames or self._place == len(loop):
            self._frames, self._place = loop, 0
        frame = loop[self._place]
        self._place += 1
        return _packet(frame, round(number * _PICTURE_CLOCK / FRAMES_PER_SECOND), _PICTURE_CLOCK)


def _packet(data: bytes, pts: int, clock: int) -> av.Packet[Any]:
    packet = av.Packet(data)
    packet.pts = pts
    packet.time_base = Fraction(1, clock)
    return packet
