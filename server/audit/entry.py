"""One line of the session log, and its canonical text."""

from __future__ import annotations

import os
from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from platform import node as host_name
from typing import Final

import msgspec

from server.audit.acts import Act, ActorRole
from server.tlog.tree import hash_leaf

Fact = str | int | bool | None
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def name_node() -> str:
    """The process that writes: its machine and number."""
    return _name_process(os.getpid())


@lru_cache(maxsize=1)
def _name_process(number: int) -> str:
    return f"{host_name()}/{number}"


class _Line(msgspec.Struct, frozen=True, gc=False):
    """The text of an entry, its keys in their order."""

    action: str
    actor: str
    at: str
    facts: dict[str, Fact]
    node: str
    object: str
    outcome: str
    reason: str
    role: str
    visit: str | None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One act. ``actor`` is a user or device id, empty for the platform; ``facts`` are ids,
    numbers, stable words and digests of personal values only. ``object``: what was acted on, as
    ``kind:id``; the visit when it is not said. ``reason``: a stable word, for instance the purpose
    of a consultation."""

    at: datetime
    act: Act
    role: ActorRole
    actor: str = ""
    visit: str | None = None
    facts: dict[str, Fact] = {}
    object: str = ""
    reason: str = ""

    def canonical(self) -> str:
        """The text that is stored and hashed: sorted keys, no spaces."""
        line = _Line(
            self.act,
            self.actor,
            self.at.astimezone(UTC).isoformat(timespec="milliseconds"),
            self.facts,
            name_node(),
            self.object or (f"visit:{self.visit}" if self.visit else ""),
            self.act.outcome,
            self.reason,
            self.role,
            self.visit,
        )
        return _encode(line).decode()


def leaf_of(text: str) -> str:
    """The hash of an entry's leaf (RFC 9162 §2.1.1), base64."""
    return b64encode(hash_leaf(text.encode())).decode()
