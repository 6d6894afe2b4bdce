"""Writing the zip of a whole log."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId
from server.keyring import Keyring
from server.logexport.kept import Kept
from server.logexport.rows import read_rows
from server.logexport.values import read_values
from server.logsigner.memory import Memory

FORMAT: Final = "accanto-log-1"
_ROOT: Final = Path(__file__).parents[2]
_FOR_VERIFYING: Final = tuple(
    _ROOT / name
    for name in (
        "server/tlog/FORMAT.md",
        "server/tlog/verify.py",
        "server/tlog/verify.mjs",
        "static/js/log-verifier.js",
    )
)
_CHUNK_BYTES: Final = 1 << 20


class Bundle:
    """A zip that is being written; heavy steps leave the event loop alone."""

    def __init__(self, file: ZipFile, now: datetime) -> None:
        self._zip = file
        self._now = now.astimezone(UTC)

    def add(self, name: str, content: bytes) -> None:
        self._zip.writestr(self._describe(name, ZIP_DEFLATED), content)

    def add_lines(self, name: str, lines: Iterable[str]) -> None:
        self.add(name, "".join(f"{line}\n" for line in lines).encode())

    def add_frame(self, kind: str, organisation: str, kept: Kept, notes: Iterable[str]) -> None:
        """What each bundle has: manifest, key, checkpoints, and what is needed to verify it."""
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "origin": kept.verifier.name,
            "organisation": organisation,
            "size": kept.size,
            "made_at": self._now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        self.add("manifest.json", json.dumps(manifest, indent=1).encode())
        self.add("log.vkey", f"{kept.verifier.text()}\n".encode())
        self.add_lines("checkpoints.jsonl", [json.dumps(note) for note in notes])
        for path in _FOR_VERIFYING:
            self.add(path.name, path.read_bytes())

    async def stream(
        self, name: str, chunks: AsyncIterator[bytes], *, is_packed: bool = True
    ) -> None:
        """Write a member of any length, a megabyte at a time in a thread of its own."""
        method = ZIP_DEFLATED if is_packed else ZIP_STORED
        with self._zip.open(self._describe(name, method), "w", force_zip64=True) as member:
            buffer = bytearray()
            async for chunk in chunks:
                buffer += chunk
                if len(buffer) >= _CHUNK_BYTES:
                    await asyncio.to_thread(member.write, bytes(buffer))
                    buffer.clear()
            await asyncio.to_thread(member.write, bytes(buffer))

    def _describe(self, name: str, method: int) -> ZipInfo:
        info = ZipInfo(name, self._now.timetuple()[:6])
        info.compress_type = method
        info.external_attr = 0o600 << 16
        return info


@contextmanager
def new_bundle(path: Path, now: datetime) -> Iterator[Bundle]:
    """A zip that has its name only once it is whole; for its owner only: it may hold names."""
    partial = path.with_name(f".{path.name}.part")
    try:
        with _open_new(partial) as file, ZipFile(file, "w") as zipped:
            yield Bundle(zipped, now)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _open_new(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


async def write_log_bundle(
    session: AsyncSession,
    keyring: Keyring | None,
    memory: Memory,
    organisation: OrganisationId,
    path: Path,
    *,
    name: str,
    now: datetime,
) -> Kept:
    """Write the whole log of an organisation; returns what it was signed with.

    ``keyring``: opens the personal values; without it they are left out. ``name``: how people know
    the organisation, its code.

    :raises NoKey: the signer's folder has no key of this log.
    """
    kept = Kept.load(memory)
    with new_bundle(path, now) as bundle:
        bundle.add_frame("log", name, kept, kept.thin_notes())
        await bundle.stream("leaves.bin", _in_steps(kept.read_leaves()), is_packed=False)
        await bundle.stream("entries.jsonl", _entries(session, organisation))
        if keyring is not None:
            values = _encode_lines(read_values(session, keyring, organisation))
            await bundle.stream("values.jsonl", values)
    return kept


async def _entries(session: AsyncSession, organisation: OrganisationId) -> AsyncIterator[bytes]:
    async for seq, entry in read_rows(session, organisation):
        yield f"{seq} {entry}\n".encode()


async def _encode_lines(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield f"{line}\n".encode()


async def _in_steps(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
