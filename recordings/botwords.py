"""What the server and the process of synthetic patients say to each other; loads no media
library."""

from __future__ import annotations

from typing import Final

import msgspec

from recordings.echowords import Endpoint
from recordings.script import Script

LONGEST_LIFE_SECONDS: Final = 3600.0
LONGEST_LINE: Final = 64 * 1024


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """One patient, as a line on standard input. ``link`` is the whole join link with its
    fragment: like the birth date it is never an argument of a command."""

    link: str
    birth_date: str
    """``2026-11-22``"""
    script: Script
    endpoint: Endpoint
    address: str = ""
    """Where the server is reached from here, without its proxy; empty: where the link says."""
    seconds: float = LONGEST_LIFE_SECONDS
    """How long the process may live; it ends by itself when the visit is closed."""


class Figures(msgspec.Struct, kw_only=True):
    """How it went for one patient, as a line on standard output. Frames are those of the call with
    the clinician, over all its connections."""

    has_joined: bool = False
    """She was in the waiting room."""
    is_admitted: bool = False
    reconnects: int = 0
    """Of the socket of her room."""
    legs: int = 0
    """Connections with the clinician's page."""
    voice_sent: int = 0
    voice_heard: int = 0
    pictures_sent: int = 0
    pictures_seen: int = 0
    end: str = ""
    """The room's last word, or why she was not let in; empty: she left, or was ended."""
