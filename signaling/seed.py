"""What a room starts from. Pure: read from the records, or carried by the ticket that opens it."""

from __future__ import annotations

import msgspec


class RoomSeed(msgspec.Struct, frozen=True, array_like=True):
    """What the records know of a room when a node opens it."""

    admitted: frozenset[str]
    late_minutes: int
    outcome: str | None
    relay_until_admitted: bool
    relay_always: bool
    owner: str = ""
    """The web application's own word for whose room it is; signaling only hands it back."""
