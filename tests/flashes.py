"""A sender whose picture flashes when its sound beeps, encoded once; and how far apart the two are
in a file.

Sent as it was encoded, so a test machine has time for what it tests.
"""

from __future__ import annotations

import asyncio
import io
import math
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise

import av
from aiortc.mediastreams import MediaStreamTrack

PICTURES_A_SECOND = 25
SOUNDS_A_SECOND = 50
FLASH_PICTURES, BEEP_SOUNDS = 3, 6
"""Of a second's pictures and sounds, its first."""
SIZE = (160, 120)


@cache
def picture_loop(size: tuple[int, int] = SIZE, seconds: int = 2) -> tuple[bytes, ...]:
    """VP8 frames; each second begins with a whole picture and a flash."""
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, PICTURES_A_SECOND)
    encoder.framerate = Fraction(PICTURES_A_SECOND)
    encoder.gop_size = PICTURES_A_SECOND
    encoder.bit_rate = size[0] * size[1] * 2
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    packets: list[bytes] = []
    for number in range(seconds * PICTURES_A_SECOND):
        is_flash = number % PICTURES_A_SECOND < FLASH_PICTURES
        frame = av.VideoFrame(*size, "yuv420p")
        for plane, level in zip(frame.planes, (235 if is_flash else 16, 128, 128), strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        frame.pts = number
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(packets)


@cache
def sound_loop() -> tuple[bytes, ...]:
    """A second of Opus; it begins with a beep."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate = 48_000
    encoder.layout = "mono"
    encoder.format = "s16"
    encoder.bit_rate = 32_000
    packets: list[bytes] = []
    loud = [round(math.sin(at * math.tau / 48) * 20_000) for at in range(960)]
    for number in range(3 * SOUNDS_A_SECOND):
        is_loud = number % SOUNDS_A_SECOND < BEEP_SOUNDS
        frame = av.AudioFrame("s16", "mono", 960)
        frame.planes[0].update(array("h", loud if is_loud else [0] * 960).tobytes())
        frame.sample_rate = 48_000
        frame.pts = number * 960
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(packets[SOUNDS_A_SECOND : 2 * SOUNDS_A_SECOND])


@dataclass
class Start:
    """When a source begins: when the first of its tracks is wanted."""

    at: float = 0.0


class LoopTrack(MediaStreamTrack):
    """The frames of a loop at their times."""

    def __init__(self, kind: str, frames: Sequence[bytes], a_second: int, start: Start) -> None:
        super().__init__()
        self.kind = kind
        self._frames = frames
        self._a_second = a_second
        self._start = start
        self.sent = 0
        self.sent_at = 0.0
        """When the last one was, in seconds of the Unix epoch."""
        self.is_held = False
        """Nothing more is sent."""
        self.late = 0.0
        """By how many seconds the worst frame left late: so far off its reports may be."""

    async def recv(self) -> av.Packet:
        self._start.at = self._start.at or time.monotonic()
        await asyncio.sleep(self._start.at + self.sent / self._a_second - time.monotonic())
        due = self._start.at + self.sent / self._a_second
        self.late = max(self.late, time.monotonic() - due)
        while self.is_held:
            await asyncio.sleep(1)
        rate = 48_000 if self.kind == "audio" else 90_000
        packet = av.Packet(self._frames[self.sent % len(self._frames)])
        packet.pts = self.sent * rate // self._a_second
        packet.time_base = Fraction(1, rate)
        self.sent += 1
        self.sent_at = time.time()
        return packet


def flash_and_beep(size: tuple[int, int] = SIZE) -> tuple[LoopTrack, LoopTrack]:
    """Sound and picture of one source."""
    start = Start()
    return (
        LoopTrack("audio", sound_loop(), SOUNDS_A_SECOND, start),
        LoopTrack("video", picture_loop(size), PICTURES_A_SECOND, start),
    )


def find_flashes(file: bytes) -> list[float]:
    """When the picture turns white, in seconds."""
    with av.open(io.BytesIO(file)) as container:
        bright = [
            (float(frame.pts * frame.time_base), bytes(frame.planes[0])[frame.width // 2] > 128)
            for frame in container.decode(video=0)
        ]
    return _edges(bright)


def find_beeps(file: bytes) -> list[float]:
    """When the sound begins, in seconds."""
    loud: list[tuple[float, bool]] = []
    with av.open(io.BytesIO(file)) as container:
        for frame in container.decode(audio=0):
            level = max(map(abs, array("f", bytes(frame.planes[0])[: frame.samples * 4])))
            loud.append((float(frame.pts * frame.time_base), level > 0.05))
    return _edges(loud)


def find_lip_sync(file: bytes) -> float:
    """By how many seconds the worst flash is off its beep; there is one. A file may end between
    the two."""
    beeps = find_beeps(file)
    around = [at for at in find_flashes(file) if beeps[0] - 0.5 < at < beeps[-1] + 0.5]
    return max(min(abs(flash - beep) for beep in beeps) for flash in around)


def _edges(states: list[tuple[float, bool]]) -> list[float]:
    pairs = pairwise(states)
    return [at for (_, before), (at, after) in pairs if after and not before]
