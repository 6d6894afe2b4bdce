"""The rows of the files of a visit: adding, listing, deleting; each with its line in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.attachments.contents import FileRefused, Prepared, Problem
from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor
from server.consents import has_consented
from server.errors import Conflict, NotFound
from server.joinlink import LinkPhase, link_phase
from server.keyring import Keyring
from server.models import Appointment, Attachment, Visit, VisitState
from server.sealed import (
    AttachmentWords,
    content_place,
    open_attachment_words,
    seal_attachment_words,
    write_attachment,
)
from server.services import DATABASE, FILES, HUB, KEYRING, SETTINGS
from signaling.messages import FilesChanged

_OPEN_PHASES = frozenset({LinkPhase.CHECK_IN, LinkPhase.ROOM})
_LIVE = frozenset({VisitState.WAITING, VisitState.IN_VISIT})


class SentBefore(Conflict):
    """The answer to the same sending was lost: what is sent again is there."""

    code = "sent_before"


@dataclass(frozen=True, slots=True)
class Opened:
    """A row and what is sealed in it."""

    row: Attachment
    words: AttachmentWords


async def load_open_visit(session: AsyncSession, actor: Actor, now: datetime) -> Visit:
    """The patient's visit while files can come and go: from the consents to the end of the visit.
    Nobody else changes its files in this transaction.

    :raises Conflict: not yet, or not any more.
    """
    await session.execute(select(Visit.id).where(Visit.id == actor.visit_id).with_for_update())
    visit = await load_own_visit(session, actor)
    if not await is_open(session, visit, now):
        raise Conflict("files cannot come or go")
    return visit


async def is_open(session: AsyncSession, visit: Visit, now: datetime) -> bool:
    """Whether the patient can add and delete files."""
    is_time = visit.state in _LIVE or link_phase(visit, visit.appointment, now) in _OPEN_PHASES
    return is_time and await has_consented(session, visit.id)


async def load_own_visit(session: AsyncSession, actor: Actor) -> Visit:
    visit = await session.scalar(
        select(Visit)
        .where(Visit.id == actor.visit_id)
        .options(joinedload(Visit.appointment).joinedload(Appointment.clinician))
    )
    if visit is None:
        raise NotFound
    return visit


async def load_files(session: AsyncSession, keyring: Keyring, visit_id: str) -> list[Opened]:
    """The files of a visit, the oldest first."""
    found = await session.scalars(
        select(Attachment)
        .where(Attachment.visit_id == visit_id)
        .order_by(Attachment.received_at, Attachment.id)
    )
    return [Opened(row, await open_attachment_words(keyring, session, row)) for row in found]


async def load_file(session: AsyncSession, visit_id: str, file_id: str) -> Attachment:
    """:raises NotFound: this visit has no such file."""
    found = await session.scalar(
        select(Attachment).where(Attachment.id == file_id, Attachment.visit_id == visit_id)
    )
    if found is None:
        raise NotFound
    return found


async def require_room_for_one(
    request: web.Request, session: AsyncSession, row: Attachment
) -> None:
    """One consent is for one picture.

    :raises FileRefused: the visit has as many files as it may have.
    :raises SentBefore: the picture of this consent is there.
    """
    count = select(func.count(Attachment.id)).where(Attachment.visit_id == row.visit_id)
    if row.consented_at is not None and await session.scalar(
        count.where(Attachment.consented_at == row.consented_at)
    ):
        raise SentBefore
    if (await session.scalar(count) or 0) >= request.app[SETTINGS].files_per_visit:
        raise FileRefused(Problem.TOO_MANY_FILES)


async def add_file(
    request: web.Request,
    actor: Actor,
    row: Attachment,
    prepared: Prepared,
    words: AttachmentWords,
    entries: Sequence[Entry],
) -> None:
    """Store the content sealed, then its row and ``entries`` in one step. The file is on the disk
    first, and taken away again when the row cannot be written.

    :raises FileRefused: there are too many.
    :raises SentBefore: the picture of this consent is there.
    :raises Conflict: the visit is over.
    """
    database, keyring = request.app[DATABASE], request.app[KEYRING]
    folder = request.app[FILES]
    async with database.begin(actor.organisation) as session:
        await load_open_visit(session, actor, row.received_at)
        key = await keyring.data_key(session, content_place(row))
    await write_attachment(folder, row, key, prepared.content)
    try:
        async with database.begin(actor.organisation) as session:
            await load_open_visit(session, actor, row.received_at)
            await require_room_for_one(request, session, row)
            await seal_attachment_words(keyring, session, row, words)
            session.add(row)
            await session.flush()
            await append(session, actor.organisation, *entries)
    except BaseException:
        await asyncio.to_thread(folder.delete, row.id)
        raise
    await request.app[HUB].publish(row.visit_id, FilesChanged())


async def delete_file(request: web.Request, actor: Actor, file_id: str, now: datetime) -> None:
    """Take a file of the own visit away, row and content.

    :raises NotFound: there is none.
    :raises Conflict: the visit is over.
    """
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_open_visit(session, actor, now)
        row = await load_file(session, visit.id, file_id)
        await session.delete(row)
        facts: dict[str, Fact] = {"file": row.id, "kind": row.kind.value}
        entry = Entry(now, Act.ATTACHMENT_DELETED, ActorRole.PATIENT, actor.id, visit.id, facts)
        await append(session, actor.organisation, entry)
    await asyncio.to_thread(request.app[FILES].delete, row.id)
    await request.app[HUB].publish(actor.visit_id, FilesChanged())


async def refuse(request: web.Request, actor: Actor, now: datetime, refusal: FileRefused) -> None:
    """Write down that a file was not taken, and why."""
    facts: dict[str, Fact] = {"reason": refusal.problem.value}
    entry = Entry(now, Act.ATTACHMENT_REFUSED, ActorRole.PATIENT, actor.id, actor.visit_id, facts)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await append(session, actor.organisation, entry)


def added_facts(row: Attachment, prepared: Prepared) -> dict[str, Fact]:
    """What the session log says of a file: no word of its content, no name."""
    facts: dict[str, Fact] = {
        "file": row.id,
        "kind": row.kind.value,
        "media_type": prepared.media_type,
        "size_bytes": len(prepared.content),
    }
    return facts | ({"pixels": f"{prepared.width}x{prepared.height}"} if prepared.width else {})
