"""A witness: somebody else's machine that looks at a log, again and again, and remembers.

It asks for the newest checkpoint and for the proof that the log has only grown since the one it
saw last, adds its own signature (C2SP tlog-cosignature v1), and keeps both. What does not fit is
kept, too: it is signed evidence. Two witnesses who compare what they have kept find a log that
shows different histories to different people.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import aiohttp

from server.errors import CommandFailed
from server.tlog.note import BadNote, Checkpoint, Signer, Verifier, open_note, parse_verifier
from server.tlog.tree import BadProof, check_consistency

SEED_FILE: Final = "witness.seed"
OWN_KEY_FILE: Final = "witness.vkey"
LOG_KEY_FILE: Final = "log.vkey"
HEADS_FILE: Final = "heads.jsonl"
EVIDENCE_FILE: Final = "evidence.jsonl"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_MOST_BYTES: Final = 64 * 1024


class Absent(CommandFailed):
    """The log says that there is no such thing."""


class Misfit(Exception):
    """The log is not the one that was seen before. The message is for a person."""


class Folder:
    """What one witness keeps of one log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the files; they are made where they are missing."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def load_signer(self, name: str) -> Signer:
        """The witness's own key; a new one gets ``name``."""
        seed_file, key_file = self.path / SEED_FILE, self.path / OWN_KEY_FILE
        if not key_file.exists():
            seed = secrets.token_bytes(32)
            _write(seed_file, b64encode(seed).decode())
            _write(key_file, f"{Signer(name, seed).verifier.text()}\n")
        known = parse_verifier(key_file.read_text(encoding="utf-8"))
        return Signer(known.name, b64decode(seed_file.read_text(encoding="utf-8")))

    def load_log_key(self) -> Verifier | None:
        """The log's key, pinned at the first look."""
        path = self.path / LOG_KEY_FILE
        return parse_verifier(path.read_text(encoding="utf-8")) if path.exists() else None

    def pin_log_key(self, key: Verifier) -> None:
        _write(self.path / LOG_KEY_FILE, f"{key.text()}\n")

    def load_heads(self) -> list[Checkpoint]:
        """All that was seen and was right, the oldest first.

        :raises BadNote: somebody has changed what was kept.
        """
        key, path = self.load_log_key(), self.path / HEADS_FILE
        if key is None or not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [open_note(json.loads(line)["note"], key) for line in lines]

    def keep(self, file: str, note: str, now: datetime) -> None:
        """Append a note to a file, on the disk before anything is said."""
        line = json.dumps({"seen_at": now.isoformat(timespec="seconds"), "note": note})
        with open(os.open(self.path / file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w",
                  encoding="utf-8") as opened:  # fmt: skip
            opened.write(f"{line}\n")
            opened.flush()
            os.fsync(opened.fileno())


class Log:
    """A log as it shows itself at its address, ``https://…/log/CODE``."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address.rstrip("/")

    async def fetch_key(self) -> Verifier:
        return parse_verifier(await self._fetch("key"))

    async def fetch_note(self) -> str:
        return await self._fetch("checkpoint")

    async def fetch_proof(self, first: int, second: int) -> list[bytes]:
        text = await self._fetch(f"consistency/{first}/{second}")
        return [b64decode(line, validate=True) for line in text.splitlines()]

    async def _fetch(self, what: str) -> str:
        """:raises CommandFailed: it does not answer, or says no."""
        address = f"{self._address}/{what}"
        try:
            async with self._session.get(address, allow_redirects=False) as response:
                body = await response.content.read(_MOST_BYTES)
                if response.status != 200:
                    problem = Absent if response.status == 404 else CommandFailed
                    raise problem(f"{address} answers {response.status}")
                return body.decode()
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
            raise CommandFailed(f"{address} does not answer ({type(error).__name__})") from error


@asynccontextmanager
async def open_log(address: str) -> AsyncIterator[Log]:
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        yield Log(session, address)


async def look(log: Log, folder: Folder, name: str, key: Verifier | None, now: datetime) -> str:
    """One look: fetch, check, sign, keep. Returns the cosigned note.

    ``name``: of a new witness's key; ``key``: the log's, known from elsewhere.

    :raises Misfit: the log is not the one that was seen before.
    :raises CommandFailed: it does not answer.
    """
    pinned = folder.load_log_key()
    if pinned is None:
        pinned = key or await _first_key(log)
        folder.pin_log_key(pinned)
    if key is not None and key != pinned:
        raise Misfit("this folder was begun with another key of the log")
    note = await log.fetch_note()
    try:
        newest = open_note(note, pinned)
        heads = folder.load_heads()
        if heads:
            await check_growth(log, heads[-1], newest)
    except (BadNote, Misfit) as error:
        folder.keep(EVIDENCE_FILE, note, now)
        text = f"the newest checkpoint is not to be believed: {error}"
        raise Misfit(text) from error
    signed = folder.load_signer(name).cosign(note, int(now.timestamp()))
    if not heads or newest != heads[-1]:
        folder.keep(HEADS_FILE, signed, now)
    return signed


async def _first_key(log: Log) -> Verifier:
    try:
        return await log.fetch_key()
    except BadNote as error:
        raise CommandFailed(f"The log shows no key: {error}") from error


async def check_growth(log: Log, older: Checkpoint, newer: Checkpoint) -> None:
    """:raises Misfit: the newer tree is not shown to begin with the older one. A log that has no
    proof has none because there is none.
    """
    if newer.size < older.size:
        raise Misfit(f"the log was rolled back: {newer.size} entries, {older.size} were signed")
    if newer.size == older.size:
        if newer.root != older.root:
            raise Misfit(f"the log was forked: two roots of {newer.size} entries are signed")
        return
    try:
        path = await log.fetch_proof(older.size, newer.size)
        check_consistency(older.size, newer.size, path, older.root, newer.root)
    except (Absent, BadProof, ValueError) as error:
        raise Misfit(
            f"the log was forked: its {newer.size} entries do not begin with the {older.size} "
            "that were signed"
        ) from error


async def compare(log: Log, mine: Folder, other: Folder) -> int:
    """Whether two witnesses have seen one history; returns how many heads were compared.

    :raises Misfit: they have not.
    :raises CommandFailed: the log does not answer, or the witnesses look at two logs.
    """
    if mine.load_log_key() != other.load_log_key():
        raise CommandFailed("The two folders are of two logs, or of two keys of one")
    ours, theirs = mine.load_heads(), other.load_heads()
    if not ours or not theirs:
        raise CommandFailed("One of the folders holds no checkpoint yet")
    roots = {head.size: head.root for head in ours}
    for head in theirs:
        if roots.get(head.size, head.root) != head.root:
            raise Misfit(f"the log was forked: two roots of {head.size} entries are signed")
    older, newer = sorted((ours[-1], theirs[-1]), key=lambda head: head.size)
    await check_growth(log, older, newer)
    return len(ours) + len(theirs)


def _write(path: Path, text: str) -> None:
    """A file for its owner only."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
              encoding="utf-8") as file:  # fmt: skip
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
