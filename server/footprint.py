"""What one request or command has done so far: the acts it logged, the sealed fields it opened.

Noted where it happens (:mod:`server.audit.write`, :mod:`server.keyring`), read by whoever runs the
work (:mod:`server.auth`, :mod:`server.cli.common`) and compares it with what was declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class Footprint:
    """``acts``: stable words; ``opened``: ``table.field``."""

    acts: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)


_CURRENT: Final[ContextVar[Footprint | None]] = ContextVar("footprint", default=None)


def is_followed() -> bool:
    """Whether somebody will ask what is being done here: the work of a route or a command."""
    return _CURRENT.get() is not None


@contextmanager
def follow() -> Iterator[Footprint]:
    """Collect what the block does, in the tasks that it starts too."""
    footprint = Footprint()
    token = _CURRENT.set(footprint)
    try:
        yield footprint
    finally:
        _CURRENT.reset(token)


def note_acts(acts: Iterable[str]) -> None:
    """Entries of these acts were stored."""
    footprint = _CURRENT.get()
    if footprint is not None:
        footprint.acts.update(acts)


def note_opened(table: str, name: str) -> None:
    """A sealed field of somebody was opened."""
    footprint = _CURRENT.get()
    if footprint is not None:
        footprint.opened.add(f"{table}.{name}")
