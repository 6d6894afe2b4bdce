"""The alphabet of SMS (3GPP TS 23.038): one other character makes every segment 70 long. Pure."""

from __future__ import annotations

import unicodedata
from typing import Final

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("^{}\\[~]|€")
"""Each counts twice."""
_PLAIN: Final = {
    ord(char): plain
    for chars, plain in (("‘’", "'"), ("“”«»", '"'), ("–—", "-"), ("…", "..."), ("\u00a0\t", " "))
    for char in chars
}
_ONE_SEGMENT: Final = 160
_EACH_OF_MANY: Final = 153


def to_gsm7(text: str) -> str:
    """The same text in the alphabet of SMS: typographic signs become plain, ``È`` becomes ``E``."""
    return "".join(_plain(char) for char in text.translate(_PLAIN))


def count_segments(text: str) -> int:
    """How many SMS a text of :func:`to_gsm7` is sent as."""
    size = len(text) + sum(char in _EXTENDED for char in text)
    return 1 if size <= _ONE_SEGMENT else -(-size // _EACH_OF_MANY)


def _plain(char: str) -> str:
    if char in _BASIC or char in _EXTENDED:
        return char
    base = unicodedata.normalize("NFKD", char)[0]
    return base if base in _BASIC else "?"
