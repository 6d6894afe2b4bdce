"""One line of the session log, and its canonical text."""

from __future__ import annotations

import os
from base64 import b64encode
from datetime import UTC, datetime
from platform import node as host_name
from typing import Final

import msgspec

from server.audit.acts import Act, ActorRole
from server.tlog.tree import hash_leaf

Fact = str | int | bool | None
_encode: Final = msgspec.json.Encoder(order="sorted").encode


def name_node() -> str:
    """The process that writes: its machine and number."""
    return f"{host_name()}/{os.getpid()}"


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
        content = {
            "action": self.act,
            "actor": self.actor,
            "at": self.at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "facts": self.facts,
            "node": name_node(),
            "object": self.object or (f"visit:{self.visit}" if self.visit else ""),
            "outcome": self.act.outcome,
            "reason": self.reason,
            "role": self.role,
            "visit": self.visit,
        }
        return _encode(content).decode()


def leaf_of(text: str) -> str:
    """The hash of an entry's leaf (RFC 9162 §2.1.1), base64."""
    return b64encode(hash_leaf(text.encode())).decode()
