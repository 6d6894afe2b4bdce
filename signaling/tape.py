"""What a node holds of one room log: bounded, to be read again by whoever resumes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from signaling.entries import Entry
from signaling.messages import SIGNAL_EVENTS, Signal

MAX_ENTRIES: Final = 500
MAX_PAYLOAD_BYTES: Final = 256 * 1024


class Gap(Exception):
    """The log no longer holds everything after the wanted number."""


class Tape:
    """The last entries of one room, in order."""

    __slots__ = ("_payload_bytes", "entries", "first_seq", "last_seq")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.first_seq = 1
        """Everything from here on is held, trimmed signals aside."""
        self.last_seq = 0
        self._payload_bytes = 0

    def add(self, entry: Entry) -> None:
        """Takes the next entry; its event has its number."""
        event, entries = entry.event, self.entries
        self.last_seq = event.seq
        entries.append(entry)
        if isinstance(event, SIGNAL_EVENTS):
            self._payload_bytes += len(event.payload)
        if len(entries) > MAX_ENTRIES or self._payload_bytes > MAX_PAYLOAD_BYTES:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        while len(self.entries) > MAX_ENTRIES or self._payload_bytes > MAX_PAYLOAD_BYTES:
            oldest = self.entries.pop(0)
            self._payload_bytes -= _payload_bytes(oldest)
            self.first_seq = oldest.event.seq + 1

    def read(self, after: int) -> Sequence[Entry]:
        """The entries with a ``seq`` above ``after``; raises ``Gap`` when some are gone."""
        if not self.first_seq - 1 <= after <= self.last_seq:
            raise Gap
        return [entry for entry in self.entries if entry.event.seq > after]

    def trim(self, one: str, other: str | None, before: int) -> list[int]:
        """Forgets the signals below ``before`` between two participants (or all of one);
        returns their numbers."""
        if not self._payload_bytes:
            return []
        kept: list[Entry] = []
        gone: list[int] = []
        for entry in self.entries:
            event = entry.event
            is_meant = (
                isinstance(event, Signal)
                and event.seq < before
                and one in (event.sender, event.to)
                and (other is None or other in (event.sender, event.to))
            )
            if is_meant:
                gone.append(event.seq)
            else:
                kept.append(entry)
        self.entries = kept
        self._payload_bytes = sum(_payload_bytes(entry) for entry in kept)
        return gone


def _payload_bytes(entry: Entry) -> int:
    return len(entry.event.payload) if isinstance(entry.event, Signal) else 0
