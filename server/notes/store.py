"""Loading and saving versions: one transaction each, with its line in the log."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append
from server.auth import Actor
from server.caseload import load_visit_of
from server.db import Database
from server.errors import NotFound
from server.keyring import Keyring
from server.models import Note, User, Visit
from server.notes.content import clean_text, digest_of
from server.sealed import (
    NoteContent,
    Section,
    load_last_note,
    open_details,
    open_note,
    seal_note,
)


@dataclass(frozen=True, slots=True)
class Saved:
    """One version as the page gets it; version 0 is what a note begins with."""

    version: int
    content: NoteContent
    saved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One line of the history."""

    version: int
    saved_at: datetime
    author: str


class Stale(Exception):
    """The save was written on a version that is not the last one."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a save was written on."""

    version: int
    digest: str = ""
    """Of the save before, if the page does not know its answer: that may be the last version."""

    def is_last(self, last: Saved) -> bool:
        return self.version == last.version or self.digest == digest_of(last.content)


async def open_last(keyring: Keyring, session: AsyncSession, visit: Visit) -> Saved:
    """The newest version. Before the first save: the question of the booking, unsaved."""
    note = await load_last_note(session, visit.id)
    if note is not None:
        return Saved(note.version, await open_note(keyring, session, note), note.saved_at)
    details = await open_details(keyring, session, visit.appointment)
    question = clean_text(details.question)
    return Saved(0, NoteContent(sections={Section.QUESTION: question} if question else {}))


async def open_version(
    keyring: Keyring, session: AsyncSession, visit: Visit, version: int
) -> Saved:
    """:raises NotFound: there is no such version."""
    note = await session.get(Note, (visit.id, version))
    if note is None:
        raise NotFound
    return Saved(note.version, await open_note(keyring, session, note), note.saved_at)


async def load_history(session: AsyncSession, visit_id: str) -> Sequence[Version]:
    """All versions, the newest first."""
    rows = await session.execute(
        select(Note.version, Note.saved_at, User)
        .join(User, User.id == Note.author_id)
        .where(Note.visit_id == visit_id)
        .order_by(Note.version.desc())
    )
    return [Version(version, saved_at, user.display_name) for version, saved_at, user in rows]


async def save_version(
    database: Database,
    keyring: Keyring,
    author: Actor,
    visit_id: str,
    content: NoteContent,
    *,
    based_on: Basis,
    now: datetime,
) -> Saved:
    """One more version; the same content again is none.

    :raises Stale: somebody else saved since ``based_on``.
    :raises NotFound: the visit is not the author's.
    """
    try:
        async with database.begin(author.organisation) as session:
            visit = await load_visit_of(session, author.id, visit_id)
            return await _save(keyring, session, author, visit, content, based_on, now)
    except IntegrityError as error:  # two saves at once meet in the primary key
        raise Stale from error


async def _save(
    keyring: Keyring,
    session: AsyncSession,
    author: Actor,
    visit: Visit,
    content: NoteContent,
    based_on: Basis,
    now: datetime,
) -> Saved:
    last = await open_last(keyring, session, visit)
    if not based_on.is_last(last):
        raise Stale
    if last.version and last.content == content:
        return last
    note = Note(
        organisation_id=author.organisation,
        visit_id=visit.id,
        version=last.version + 1,
        author_id=author.id,
        saved_at=now,
    )
    await seal_note(keyring, session, note, content)
    session.add(note)
    await session.flush()
    digest = hashlib.sha256(note.sealed_text).hexdigest()
    facts: dict[str, Fact] = {"version": note.version, "sha256": digest}
    entry = Entry(now, Act.NOTE_SAVED, author.role, author.id, visit.id, facts)
    await append(session, author.organisation, entry)
    return Saved(note.version, content, now)
