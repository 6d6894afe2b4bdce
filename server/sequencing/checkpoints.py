"""Getting the tree signed: the rows' leaf hashes go to the signer, its note comes back."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import Database, OrganisationId
from server.logsigner.client import Refusal, SignerProcess
from server.models import LogCheckpoint, LogHead, Organisation
from server.sequencing.numbering import load_leaves
from server.tlog.tree import Frontier

_LEAVES_AT_ONCE: Final = 16_384
_TRIES: Final = 3


async def sign_checkpoint(
    database: Database,
    signer: SignerProcess,
    realm: str,
    organisation: OrganisationId,
    now: datetime,
) -> str | None:
    """The newest checkpoint of a log: signed now if it has grown, nothing if it is empty.

    What another process signs meanwhile looks like a refusal: it is asked again.

    :raises Refusal: the rows do not continue what was signed (``rollback`` or ``fork``), or this
        signer has never seen a log that is signed already (``lost``).
    :raises LookupError: rows are missing.
    :raises SignerLost: the signer does not answer.
    """
    for _ in range(_TRIES - 1):
        with suppress(Refusal):
            return await _sign(database, signer, realm, organisation, now)
    return await _sign(database, signer, realm, organisation, now)


async def _sign(
    database: Database,
    signer: SignerProcess,
    realm: str,
    organisation: OrganisationId,
    now: datetime,
) -> str | None:
    async with database.read(organisation) as session:
        code = (await session.get_one(Organisation, organisation)).code
    known = await signer.ask(op="head", log=organisation, origin=f"{realm}/log/{code}")
    signed: int = known["size"]
    async with database.read(organisation) as session:
        if not signed and await session.scalar(select(LogCheckpoint.size).limit(1)) is not None:
            raise Refusal("lost", 0)
        head = await session.get_one(LogHead, organisation)
        root = b64encode(Frontier.decode(head.size, head.frontier).root()).decode()
        if head.size < signed:
            raise Refusal("rollback", signed)
        if head.size == signed:
            if root != known["root"]:
                raise Refusal("fork", signed)
            return str(known["note"]) if signed else None
        await _show_leaves(session, signer, organisation, signed, head.size)
    answer = await signer.ask(op="sign", log=organisation, root=root)
    note: str = answer["note"]
    async with database.begin(organisation) as session:
        row = LogCheckpoint(organisation_id=organisation, size=head.size, note=note, signed_at=now)
        await session.merge(row)
    return note


async def _show_leaves(
    session: AsyncSession, signer: SignerProcess, organisation: OrganisationId, start: int, end: int
) -> None:
    while start < end:
        stop = min(end, start + _LEAVES_AT_ONCE)
        leaves = b"".join(await load_leaves(session, organisation, start, stop))
        shown = b64encode(leaves).decode()
        await signer.ask(op="grow", log=organisation, after=start, leaves=shown)
        start = stop
