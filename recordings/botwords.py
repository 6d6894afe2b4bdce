"""What the server says to the process of one synthetic patient; loads no media library."""

from __future__ import annotations

from typing import Final

import msgspec

from recordings.echowords import Endpoint
from recordings.script import Script

LONGEST_LIFE_SECONDS: Final = 3600.0


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """The one line on standard input. ``link`` is the whole join link with its fragment: like the
    birth date it is never an argument of a command."""

    link: str
    birth_date: str
    """``2026-11-22``"""
    script: Script
    endpoint: Endpoint
    seconds: float = LONGEST_LIFE_SECONDS
    """How long the process may live; it ends by itself when the visit is closed."""
