"""Which characters the report's fonts can show, and a visible word for those that they cannot.

PDF/A forbids a character without a glyph (ISO 19005-3 §6.2.11.8). Titillium Web is the hand of
Italian public bodies and has Latin letters only; DejaVu Sans follows with Greek, Cyrillic, Arabic,
Hebrew, mathematics and arrows; Noto Emoji with the emoji. What is left, such as Chinese, is
written ``[U+6F22]``: the reader sees that something is there, and the CDA2 has it as it is.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from server.errors import CommandFailed
from server.report.texts import clean

_PACKAGES: Final = Path(__file__).parents[2] / "node_modules"
_TITILLIUM: Final = _PACKAGES / "bootstrap-italia" / "src" / "fonts" / "Titillium_Web"
_DEJAVU: Final = _PACKAGES / "dejavu-fonts-ttf" / "ttf"
_EMOJI: Final = _PACKAGES / "@expo-google-fonts" / "noto-emoji" / "400Regular"
FONT_FOLDERS: Final = (_TITILLIUM, _DEJAVU, _EMOJI)
FONT_FAMILIES: Final = ("Titillium Web", "DejaVu Sans", "Noto Emoji")
_FACES: Final = (
    (
        _TITILLIUM / "titillium-web-v10-latin-ext_latin-regular.ttf",
        _TITILLIUM / "titillium-web-v10-latin-ext_latin-600.ttf",
    ),
    (_DEJAVU / "DejaVuSans.ttf", _DEJAVU / "DejaVuSans-Bold.ttf"),
    (_EMOJI / "NotoEmoji_400Regular.ttf",),
)
"""The light and the heavy face of each family: a character counts when it is in both."""
_UNSEEN: Final = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufe0e\ufe0f")
"""Shape or part their neighbours and need no glyph."""
_JOINER: Final = "\u200d"
_SKIN_TONES: Final = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
_LONG_RUN: Final = re.compile(r"\S{40,}")
_RUN_LENGTH: Final = 20
_BREAK: Final = "\u200b"
_TAB: Final = "    "


def readable(text: str) -> str:
    """The text as the report shows it: cleaned as for the CDA2, composed (NFC), nothing unseen but
    what shapes its neighbours, and places to break in what is longer than a line."""
    text = unicodedata.normalize("NFC", clean(text).replace("\t", _TAB))
    shown: list[str] = []
    base = ""
    for before, letter, after in zip("\n" + text, text, text[1:] + "\n", strict=False):
        if letter == _JOINER and not (before.isalpha() and after.isalpha()):
            continue
        if _is_mark(letter):
            is_shown = _is_known(base + letter)
        else:
            base, is_shown = letter, letter == "\n" or _is_known(letter)
        shown.append(letter if is_shown else f"[U+{ord(letter):04X}]")
    return _LONG_RUN.sub(_break_run, "".join(shown))


def _is_mark(letter: str) -> bool:
    """Whether it stands on the letter before: they must be drawn by one font, or one is lost."""
    return letter in _SKIN_TONES or unicodedata.category(letter).startswith("M")


@lru_cache(maxsize=10_000)
def _is_known(letters: str) -> bool:
    """Whether one font has them all."""
    points = {ord(letter) for letter in letters if letter not in _UNSEEN}
    return any(points <= family for family in _families())


def _break_run(run: re.Match[str]) -> str:
    word = run[0]
    return _BREAK.join(word[at : at + _RUN_LENGTH] for at in range(0, len(word), _RUN_LENGTH))


@cache
def _families() -> tuple[frozenset[int], ...]:
    """The code points of each family, without those that are unseen or of private use."""
    try:
        families = [[_read_cmap(path.read_bytes()) for path in faces] for faces in _FACES]
    except FileNotFoundError as error:
        raise CommandFailed("The fonts of the report are missing: run 'make setup'") from error
    return tuple(
        frozenset(
            point
            for point in frozenset.intersection(*faces)
            if unicodedata.category(chr(point)) not in {"Cc", "Cf", "Co", "Cs"}
        )
        for faces in families
    )


def _read_cmap(font: bytes) -> frozenset[int]:
    """The code points of a TrueType font (OpenType 1.9 §cmap, formats 4 and 12)."""
    (tables,) = struct.unpack_from(">H", font, 4)
    records = (struct.unpack_from(">4s4xL4x", font, 12 + 16 * index) for index in range(tables))
    start = dict(records)[b"cmap"]
    (subtables,) = struct.unpack_from(">H", font, start + 2)
    found: set[int] = set()
    for index in range(subtables):
        platform, _, offset = struct.unpack_from(">HHL", font, start + 4 + 8 * index)
        (format_,) = struct.unpack_from(">H", font, start + offset)
        if platform in {0, 3} and format_ == 4:
            found |= _read_segments(font, start + offset)
        elif platform in {0, 3} and format_ == 12:
            found |= _read_groups(font, start + offset)
    return frozenset(found)


def _read_segments(font: bytes, at: int) -> set[int]:
    (count,) = struct.unpack_from(">H", font, at + 6)
    count //= 2
    ends, starts, deltas, ranges = (
        struct.unpack_from(f">{count}H", font, at + 14 + part * 2 * count + (2 if part else 0))
        for part in range(4)
    )
    ranges_at = at + 16 + 6 * count
    found: set[int] = set()
    for index in range(count):
        for point in range(starts[index], min(ends[index], 0xFFFE) + 1):
            glyph = point
            if ranges[index]:
                place = ranges_at + 2 * index + ranges[index] + 2 * (point - starts[index])
                (glyph,) = struct.unpack_from(">H", font, place)
                if not glyph:
                    continue
            if (glyph + deltas[index]) & 0xFFFF:
                found.add(point)
    return found


def _read_groups(font: bytes, at: int) -> set[int]:
    (count,) = struct.unpack_from(">L", font, at + 12)
    found: set[int] = set()
    for index in range(count):
        first, last, glyph = struct.unpack_from(">LLL", font, at + 16 + 12 * index)
        found.update(range(first if glyph else first + 1, last + 1))
    return found
