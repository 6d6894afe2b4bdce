"""Texts as every form of a report can hold them, and moments as people in Italy read them. Pure.

XML 1.0 §2.2 forbids most control characters, lone surrogates, U+FFFE and U+FFFF, also as character
references. They are **dropped**, not replaced: none of them is a letter, and a replacement sign in
a signed text would look like something the clinician wrote. The C1 controls go the same way.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from server.i18n import ROME

_LINE_ENDS: Final = re.compile("\r\n?|[\u0085\u2028\u2029\v\f]")
_FORBIDDEN: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """A text without what XML forbids, its lines ended by ``\\n``."""
    return _FORBIDDEN.sub("", _LINE_ENDS.sub("\n", text)).strip()


def clean_line(text: str) -> str:
    """:func:`clean` in one line."""
    return " ".join(clean(text).split())


def paragraphs(text: str) -> list[str]:
    """The lines of a text that have something in them."""
    return [line for line in map(str.strip, clean(text).split("\n")) if line]


def day_and_time(moment: datetime) -> str:
    """``22/11/2026 10:05``, of Europe/Rome."""
    return f"{moment.astimezone(ROME):%d/%m/%Y %H:%M}"


def clock(moment: datetime) -> str:
    """``10:05:30``, of Europe/Rome."""
    return f"{moment.astimezone(ROME):%H:%M:%S}"
