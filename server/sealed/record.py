"""The note and the files of a visit: sealing and opening."""

from __future__ import annotations

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import Keyring, Place
from server.models import Attachment, Note, NoteFormat
from server.sealed.words import AttachmentWords, NoteContent, Section


def note_place(note: Note) -> Place:
    return Place(
        note.organisation_id, "note", note.visit_id, "text", note.version, visit=note.visit_id
    )


async def seal_note(
    keyring: Keyring, session: AsyncSession, note: Note, content: NoteContent
) -> None:
    """Set the sealed content of a new version."""
    note.content_format = NoteFormat.SECTIONS
    note.sealed_text = await keyring.seal(session, note_place(note), msgspec.json.encode(content))


async def open_note(keyring: Keyring, session: AsyncSession, note: Note) -> NoteContent:
    """The content of one version; a note of before 0004 is its free text."""
    plaintext = await keyring.unseal(session, note_place(note), note.sealed_text)
    if note.content_format is NoteFormat.PLAIN:
        return NoteContent(sections={Section.FREE: plaintext.decode()})
    return msgspec.json.decode(plaintext, type=NoteContent)


async def load_last_note(session: AsyncSession, visit_id: str) -> Note | None:
    """The newest version; ``None`` before the first save."""
    return await session.scalar(
        select(Note).where(Note.visit_id == visit_id).order_by(Note.version.desc()).limit(1)
    )


async def seal_attachment_words(
    keyring: Keyring, session: AsyncSession, attachment: Attachment, words: AttachmentWords
) -> None:
    place = attachment_place(attachment, "words")
    attachment.sealed_words = await keyring.seal(session, place, msgspec.json.encode(words))


async def open_attachment_words(
    keyring: Keyring, session: AsyncSession, attachment: Attachment
) -> AttachmentWords:
    place = attachment_place(attachment, "words")
    plaintext = await keyring.unseal(session, place, attachment.sealed_words)
    return msgspec.json.decode(plaintext, type=AttachmentWords)


def attachment_place(attachment: Attachment, field: str) -> Place:
    """``field``: ``words``, or ``content`` for the file in the store. ``id`` must be set."""
    return Place(
        attachment.organisation_id,
        "attachment",
        attachment.id,
        field,
        1,
        visit=attachment.visit_id,
    )
