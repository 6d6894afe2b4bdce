"""The messages about a recording of the visit; what they lead to: ``recording.py``.

All come over HTTP and are kept in the records before the room hears of them. ``ask`` names one
ask for a recording and everything that comes of it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from signaling.wire import Event, ShortText


class RecordingState(StrEnum):
    """``off → asked → on ⇄ paused``, ``failed`` instead of either, and ``off`` from everywhere."""

    OFF = "off"
    ASKED = "asked"
    ON = "on"
    PAUSED = "paused"
    FAILED = "failed"


class RecordingAsked(Event, frozen=True, tag="recording_asked", kw_only=True):
    """Somebody asks to record, and has agreed by asking. A newer ask replaces the one before."""

    ask: ShortText
    participant: str
    purpose: ShortText
    text_version: ShortText
    text_hash: ShortText


class RecordingAnswered(Event, frozen=True, tag="recording_answered", kw_only=True):
    """Yes or no to an ask; a no ends it, also later."""

    ask: ShortText
    participant: str
    accepted: bool


class RecordingStopped(Event, frozen=True, tag="recording_stopped", kw_only=True):
    """Anybody may stop; nobody (``""``) when the server does."""

    ask: ShortText
    participant: str


class RecordingFailed(Event, frozen=True, tag="recording_failed", kw_only=True):
    """Nothing is being written: ``disk_full`` or ``recorder_lost``."""

    ask: ShortText
    reason: ShortText


class RecordingResumed(Event, frozen=True, tag="recording_resumed", kw_only=True):
    """What had failed works again."""

    ask: ShortText


class RecordingShown(msgspec.Struct, frozen=True, kw_only=True):
    """The recording of a room as ``welcome`` shows it."""

    state: RecordingState
    ask: str
    purpose: str
    text_version: str
    text_hash: str
    accepted: list[str]
    """Seats of who has agreed and has not left since."""
    has_begun: bool
    """It was on before: who comes now makes it pause."""
    reason: str
    """Why it has failed; empty: it has not."""
