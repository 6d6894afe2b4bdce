"""The picture of a synthetic patient: a figure drawn by us, encoded once as VP8 and then repeated.

A :class:`Reel` has two loops, each of which begins with a whole picture, so that one may go over
into the other at any frame. Sending costs no encoding. Loads the media library; knows no
connection.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
from PIL import Image, ImageDraw

from recordings.script import Face

FRAMES_PER_SECOND: Final = 15
WIDTH: Final = 320
HEIGHT: Final = 240
_LOOP_FRAMES: Final = 3 * FRAMES_PER_SECOND
_BITS_PER_SECOND: Final = 180_000
_BLINK_FRAMES: Final = 2
_SYLLABLES: Final = 11
"""Of one loop."""
_WALL: Final = (206, 214, 208)
_FRAME: Final = (150, 120, 90)
_DARK: Final = (40, 34, 34)
_MOUTH: Final = (150, 60, 62)


@dataclass(frozen=True, slots=True)
class Reel:
    """Encoded frames, :data:`FRAMES_PER_SECOND` of them a second."""

    idle: tuple[bytes, ...]
    talking: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Person:
    """``x`` and ``size``: of the head, as parts of the picture's height."""

    x: float
    size: float
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    dress: tuple[int, int, int]
    has_long_hair: bool


_PEOPLE: Final = {
    Face.WOMAN: (_Person(0.66, 0.25, (232, 196, 170), (196, 192, 188), (86, 112, 150), True),),
    Face.MAN: (_Person(0.66, 0.25, (222, 184, 156), (120, 112, 104), (92, 116, 92), False),),
    Face.COUPLE: (
        _Person(0.92, 0.21, (226, 190, 162), (222, 220, 216), (110, 96, 88), False),
        _Person(0.42, 0.22, (232, 196, 170), (92, 62, 44), (150, 84, 96), True),
    ),
}
"""Who speaks comes last."""


def make_reel(face: Face) -> Reel:
    """Takes about a tenth of a second."""
    idle = tuple(_encode(_draw(face, moment, is_talking=False) for moment in _moments()))
    return Reel(idle, tuple(_encode(_draw(face, at, is_talking=True) for at in _moments())))


def _moments() -> Iterator[float]:
    """The loop as parts of 1; its end goes over into its beginning."""
    return (number / _LOOP_FRAMES for number in range(_LOOP_FRAMES))


def _encode(images: Iterator[Image.Image]) -> Iterator[bytes]:
    codec: av.VideoCodecContext = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.bit_rate = _BITS_PER_SECOND
    codec.framerate = Fraction(FRAMES_PER_SECOND)
    codec.gop_size = 2 * _LOOP_FRAMES
    codec.thread_count = 1  # more of them wait for each other, busily
    codec.options = {"deadline": "good", "cpu-used": "4", "lag-in-frames": "0", "auto-alt-ref": "0"}
    for number, image in enumerate(images):
        frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
        frame = frame.reformat(format="yuv420p")
        frame.pts = number
        yield from map(bytes, codec.encode(frame))
    yield from map(bytes, codec.encode(None))


# ---- drawing ---------------------------------------------------------------------------


def _draw(face: Face, moment: float, *, is_talking: bool) -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT), _WALL)
    pencil = ImageDraw.Draw(image)
    pencil.rectangle((16, 18, 82, 78), fill=(176, 200, 214), outline=_FRAME, width=4)
    pencil.line((49, 18, 49, 78), fill=_FRAME, width=3)
    *others, speaker = _PEOPLE[face]
    for number, person in enumerate(others, start=1):
        _draw_person(pencil, person, (moment + number / 3) % 1, 0.0)
    opened = abs(math.sin(math.pi * _SYLLABLES * moment)) if is_talking else 0.0
    _draw_person(pencil, speaker, moment, opened)
    return image


def _draw_person(pencil: ImageDraw.ImageDraw, person: _Person, moment: float, open_: float) -> None:
    """``open_``: how far the mouth is open, 0 … 1."""
    sway = math.sin(2 * math.pi * moment)
    radius = person.size * HEIGHT
    x, y = person.x * HEIGHT + 4 * sway, 0.42 * HEIGHT + 1.5 * sway
    pencil.ellipse((x - 2 * radius, y + radius, x + 2 * radius, y + 5 * radius), fill=person.dress)
    neck = 0.3 * radius
    pencil.rectangle((x - neck, y + 0.7 * radius, x + neck, y + 1.4 * radius), fill=person.skin)
    hair = 1.12 * radius
    below = y + (1.1 if person.has_long_hair else 0.1) * radius
    pencil.rounded_rectangle((x - hair, y - hair, x + hair, below), hair / 2, fill=person.hair)
    pencil.ellipse((x - 0.85 * radius, y - 0.85 * radius, x + 0.85 * radius, y + radius),
                   fill=person.skin)  # fmt: skip
    is_blinking = moment * _LOOP_FRAMES < _BLINK_FRAMES
    for side in (-1, 1):
        _draw_eye(pencil, x + side * 0.34 * radius, y - 0.1 * radius, radius, is_blinking)
    _draw_mouth(pencil, x, y + 0.5 * radius, radius, open_)


def _draw_eye(
    pencil: ImageDraw.ImageDraw, x: float, y: float, radius: float, is_blinking: bool
) -> None:
    wide, high = 0.13 * radius, 0.015 * radius if is_blinking else 0.09 * radius
    pencil.ellipse((x - wide, y - high, x + wide, y + high), fill="white", outline=_DARK, width=1)
    if not is_blinking:
        pupil = 0.06 * radius
        pencil.ellipse((x - pupil, y - pupil, x + pupil, y + pupil), fill=_DARK)
    pencil.line((x - wide, y - 0.22 * radius, x + wide, y - 0.22 * radius), fill=_DARK, width=2)


def _draw_mouth(
    pencil: ImageDraw.ImageDraw, x: float, y: float, radius: float, open_: float
) -> None:
    wide, high = (0.3 - 0.08 * open_) * radius, (0.03 + 0.17 * open_) * radius
    pencil.ellipse((x - wide, y - high, x + wide, y + high), fill=_MOUTH, outline=_DARK, width=1)
