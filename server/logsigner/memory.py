"""What the signer remembers of one log: its key, all leaf hashes, all checkpoints. Files only.

``seed`` (base64, secret), ``origin``, ``leaves`` (32 bytes each), ``checkpoints`` (a JSON line of
each note, the last one decides), ``frontier`` (a shortcut, made anew where it is missing).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Final

from server.tlog.note import BadNote, Checkpoint, Signer, Verifier, open_note, parse_verifier
from server.tlog.tree import HASH_BYTES, Frontier, split_hashes

LEAVES_FILE: Final = "leaves"
CHECKPOINTS_FILE: Final = "checkpoints"
KEY_FILE: Final = "seed"
VERIFIER_FILE: Final = "vkey"
_FRONTIER_FILE: Final = "frontier"
_LOCK_FILE: Final = "lock"
_SEED_BYTES: Final = 32
_LEAVES_AT_ONCE: Final = 65_536
_TAIL_BYTES: Final = 8192
"""More than two checkpoints take."""


class MemoryBroken(Exception):
    """The signer's own files do not agree with each other: nothing is signed any more."""


class Memory:
    """The files of one log, under its lock. Only the signer writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self, origin: str) -> Iterator[None]:
        """Alone with the files; a new log gets its key here. ``origin`` counts only then."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.folder / VERIFIER_FILE).exists():
                self._make_key(origin)
            yield
        finally:
            os.close(lock)

    def _make_key(self, origin: str) -> None:
        seed = secrets.token_bytes(_SEED_BYTES)
        _write(self.folder / KEY_FILE, b64encode(seed))
        _write(self.folder / VERIFIER_FILE, Signer(origin, seed).verifier.text().encode())

    def load_verifier(self) -> Verifier | None:
        """The public key; its name is the log's origin. None before the first checkpoint."""
        try:
            return parse_verifier((self.folder / VERIFIER_FILE).read_text())
        except FileNotFoundError:
            return None

    def load_notes(self) -> list[str]:
        """All checkpoints, the oldest first."""
        return self._read_notes(None)

    def _read_notes(self, tail: int | None) -> list[str]:
        """Those of the last ``tail`` bytes; a line that a killed process has begun is none."""
        try:
            with (self.folder / CHECKPOINTS_FILE).open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                start = max(0, end - tail) if tail else 0
                file.seek(start)
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[1 if start else 0 : -1]]

    def load_last_note(self) -> str | None:
        notes = self._read_notes(_TAIL_BYTES)
        return notes[-1] if notes else None

    def load_last(self) -> Checkpoint | None:
        """The newest checkpoint.

        :raises MemoryBroken: it is not signed by the key that is here.
        """
        verifier, note = self.load_verifier(), self.load_last_note()
        if verifier is None or note is None:
            return None
        try:
            return open_note(note, verifier)
        except BadNote as error:
            raise MemoryBroken("the last checkpoint is not signed by this key") from error

    def load_frontier(self) -> Frontier:
        """The tree as it was signed last.

        :raises MemoryBroken: the leaf hashes do not give the root that was signed.
        """
        last = self.load_last()
        if last is None:
            return Frontier()
        frontier = self._read_frontier(last.size)
        if frontier is None or frontier.root() != last.root:
            frontier = self._read_leaves(last.size)
        if frontier.root() != last.root:
            raise MemoryBroken("the leaf hashes are not those that were signed")
        return frontier

    def _read_frontier(self, size: int) -> Frontier | None:
        try:
            return Frontier.decode(size, (self.folder / _FRONTIER_FILE).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _read_leaves(self, size: int) -> Frontier:
        frontier, left = Frontier(), size
        with (self.folder / LEAVES_FILE).open("rb") as file:
            while left:
                packed = file.read(min(left, _LEAVES_AT_ONCE) * HASH_BYTES)
                if not packed or len(packed) % HASH_BYTES:
                    raise MemoryBroken("leaf hashes are missing")
                hashes = split_hashes(packed)
                frontier.extend(hashes)
                left -= len(hashes)
        return frontier

    def keep(self, after: int, leaves: bytes, frontier: Frontier) -> str:
        """Sign the grown tree and keep what was signed: on the disk before the note is given."""
        seed = b64decode((self.folder / KEY_FILE).read_bytes())
        verifier = self.load_verifier()
        if verifier is None:
            raise MemoryBroken("the public key is missing")
        path = self.folder / LEAVES_FILE
        path.touch(mode=0o600)
        with path.open("rb+") as file:
            file.seek(after * HASH_BYTES)
            file.write(leaves)
            file.truncate()
            _sync(file)
        checkpoint = Checkpoint(verifier.name, frontier.size, frontier.root())
        note = Signer(verifier.name, seed).sign(checkpoint)
        _append_line(self.folder / CHECKPOINTS_FILE, json.dumps(note).encode())
        _write(self.folder / _FRONTIER_FILE, frontier.encode())
        return note


def _append_line(path: Path, line: bytes) -> None:
    """Append and put on the disk; what a killed process has left of a line goes first."""
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _TAIL_BYTES))
        tail = file.read()
        file.truncate(end - len(tail) + tail.rfind(b"\n") + 1)
        file.write(line + b"\n")
        _sync(file)


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner only."""
    partial = path.with_name(f".{path.name}")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        _sync(file)
    partial.replace(path)


def _sync(file: BufferedIOBase) -> None:
    file.flush()
    os.fsync(file.fileno())
