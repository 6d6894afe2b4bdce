"""What the signer has kept of a log, as an export needs it. Read only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from server.logsigner.memory import LEAVES_FILE, Memory
from server.tlog.note import BadNote, Checkpoint, Verifier, parse_checkpoint, split_note
from server.tlog.tree import HASH_BYTES, Frontier, prove_inclusion, split_hashes

_NEWEST: Final = 32
_SPREAD: Final = 96
"""A verifier without compiled code takes milliseconds for a signature: of a long history the newest
checkpoints are given, and so many of the others."""
_LEAVES_AT_ONCE: Final = 65_536


class NoKey(LookupError):
    """The signer has never seen this log, or its folder is not here."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One log's key and checkpoints. ``notes``: all of them, the oldest first."""

    memory: Memory
    verifier: Verifier
    notes: list[str]

    @classmethod
    def load(cls, memory: Memory) -> Kept:
        """:raises NoKey: there is no key here."""
        verifier = memory.load_verifier()
        if verifier is None:
            raise NoKey("the signer has no key of this log")
        return cls(memory, verifier, memory.load_notes())

    @property
    def newest(self) -> Checkpoint | None:
        """What the last note says; nobody has looked at its signature."""
        return read_note(self.notes[-1]) if self.notes else None

    @property
    def size(self) -> int:
        """How many entries are signed."""
        newest = self.newest
        return newest.size if newest else 0

    def thin_notes(self) -> list[str]:
        """The newest checkpoints, and of the older ones some of every time."""
        older, newest = self.notes[:-_NEWEST], self.notes[-_NEWEST:]
        step = max(1, -(-len(older) // _SPREAD))
        return older[::step] + newest

    def read_leaves(self) -> Iterator[bytes]:
        """The leaf hashes of the newest checkpoint, many at a time; fewer if some are lost."""
        left = self.size * HASH_BYTES
        try:
            with (self.memory.folder / LEAVES_FILE).open("rb") as file:
                while left and (packed := file.read(min(left, _LEAVES_AT_ONCE * HASH_BYTES))):
                    left -= len(packed)
                    yield packed
        except FileNotFoundError:
            return


class KeptTree:
    """:class:`server.tlog.tree.Subtrees` over the signer's own leaf hashes: slow, and out of the
    database's reach. What it has computed it keeps."""

    def __init__(self, memory: Memory) -> None:
        self._path = memory.folder / LEAVES_FILE
        self._roots: dict[tuple[int, int], bytes] = {}

    def prove(self, index: int, size: int) -> list[bytes]:
        """An inclusion proof.

        :raises LookupError: leaf hashes are lost.
        """
        return asyncio.run(prove_inclusion(self, index, size))

    async def root(self, start: int, end: int) -> bytes:
        """:raises LookupError: leaf hashes are lost."""
        if (start, end) not in self._roots:
            self._roots[start, end] = self._compute(start, end)
        return self._roots[start, end]

    def _compute(self, start: int, end: int) -> bytes:
        frontier = Frontier()
        try:
            with self._path.open("rb") as file:
                file.seek(start * HASH_BYTES)
                while start < end:
                    some = min(end - start, _LEAVES_AT_ONCE)
                    packed = file.read(some * HASH_BYTES)
                    if len(packed) != some * HASH_BYTES:
                        raise LookupError("leaf hashes are lost")
                    frontier.extend(split_hashes(packed))
                    start += some
        except FileNotFoundError as error:
            raise LookupError("leaf hashes are lost") from error
        return frontier.root()


def read_note(note: str) -> Checkpoint | None:
    """What a note says, signed or not; nothing if it is none."""
    try:
        return parse_checkpoint(split_note(note)[0])
    except BadNote:
        return None
