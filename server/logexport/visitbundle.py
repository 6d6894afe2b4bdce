"""Writing the proof bundle of one visit: its entries, each with its place in the signed tree."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId
from server.keyring import Keyring
from server.logexport.bundle import new_bundle
from server.logexport.kept import Kept, KeptTree
from server.logexport.rows import Row, read_visit_rows
from server.logexport.values import read_values_of
from server.logsigner.memory import Memory
from server.models import Organisation
from server.sequencing import StoredTree
from server.tlog.note import Checkpoint
from server.tlog.tree import BadProof, check_inclusion, hash_leaf, prove_inclusion

_DIGEST: Final = re.compile(r'"sha256:([A-Za-z0-9+/]{43}=)"')


class NothingSigned(LookupError):
    """No entry of the visit is in a signed checkpoint yet: a minute later it is."""


async def write_visit_bundle(
    session: AsyncSession,
    keyring: Keyring | None,
    memory: Memory,
    organisation: OrganisationId,
    visit_id: str,
    path: Path,
    extra: Mapping[str, bytes],
    *,
    now: datetime,
) -> int:
    """Write the proved entries of a visit; returns how many there are. Those whose term is over are
    left out: only the whole log can show that it was.

    ``keyring``: opens the personal values of these entries; without it they are left out.
    ``extra``: further members by name, for people.

    :raises NoKey: the signer's folder has no key of this log.
    :raises NothingSigned: there is nothing that could be proved.
    """
    kept = Kept.load(memory)
    newest = kept.newest
    found = await read_visit_rows(session, organisation, visit_id, kept.size)
    rows = [(seq, entry) for seq, entry in found if entry]
    if newest is None or not rows:
        raise NothingSigned(visit_id)
    body = await session.get_one(Organisation, organisation)
    proofs = [line async for line in _prove(session, kept, newest, organisation, rows)]
    values = []
    if keyring is not None:
        digests = {digest for _, entry in rows for digest in _DIGEST.findall(entry)}
        values = await read_values_of(session, keyring, organisation, digests)
    with new_bundle(path, now) as bundle:
        bundle.add_frame("visit", body.code, kept, kept.notes[-1:])
        bundle.add_lines("entries.jsonl", [f"{seq} {entry}" for seq, entry in rows])
        bundle.add_lines("proofs.jsonl", proofs)
        bundle.add_lines("values.jsonl", values)
        for name, content in extra.items():
            bundle.add(name, content)
    return len(rows)


async def _prove(
    session: AsyncSession, kept: Kept, newest: Checkpoint, organisation: OrganisationId,
    rows: list[Row],
) -> AsyncIterator[str]:  # fmt: skip
    """A proof for each row. The database makes it, and the signer's own leaf hashes where that one
    does not hold: a row that was altered elsewhere in the log is no harm to this visit."""
    stored = StoredTree(session, organisation, newest.size)
    own = KeptTree(kept.memory)
    for seq in sorted({seq for seq, _ in rows if 0 <= seq < newest.size}):
        entry = next(entry for number, entry in rows if number == seq)
        try:
            path = await prove_inclusion(stored, seq, newest.size)
            check_inclusion(hash_leaf(entry.encode()), seq, newest.size, path, newest.root)
        except (BadProof, LookupError, ValueError, SQLAlchemyError):
            path = await asyncio.to_thread(own.prove, seq, newest.size)
        steps = [b64encode(step).decode() for step in path]
        yield json.dumps({"seq": seq, "size": newest.size, "path": steps})
