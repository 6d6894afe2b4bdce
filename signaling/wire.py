"""What every message of the room protocol is made of; see ``messages.py``."""

from __future__ import annotations

from typing import Annotated

import msgspec

Pii = msgspec.Meta(extra={"sensitivity": "PII"})
Secret = msgspec.Meta(extra={"sensitivity": "SECRET"})
ShortText = Annotated[str, msgspec.Meta(max_length=64)]
Counter = Annotated[int, msgspec.Meta(ge=0)]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """Base of all frames; the tag is the ``type`` field. None can be part of a cycle."""


class Event(Message, frozen=True):
    """One entry of the room log."""

    seq: int = 0
    """Set by the log: 1, 2, 3 … without gaps."""
