"""Templates of notes: an organisation's own, and those that others have published."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act
from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database
from server.errors import InvalidInput
from server.models import NoteTemplate
from server.sealed import Identity, NoteContent
from server.sharing import Shelf

MAX_CONTENT_BYTES: Final = 100_000
_MAX_TITLE, _MAX_SPECIALTY = 200, 100
TEMPLATES: Final = Shelf(
    model=NoteTemplate,
    word="template",
    copied=("title", "specialty", "content"),
    saved=Act.TEMPLATE_SAVED,
    published=Act.TEMPLATE_PUBLISHED,
    withdrawn=Act.TEMPLATE_WITHDRAWN,
    adopted=Act.TEMPLATE_ADOPTED,
)


class TemplateWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a template is to be."""

    title: str
    specialty: str = ""
    content: NoteContent


async def load_own(session: AsyncSession) -> list[NoteTemplate]:
    """The newest version of each template in use, by specialty and title."""
    newest = await TEMPLATES.load_newest(session)
    return sorted(newest, key=lambda row: row.specialty.lower())


async def load_withdrawn_sources(database: Database, own: Iterable[NoteTemplate]) -> set[str]:
    """Which of the adopted templates were withdrawn by who published them: their ids."""
    sources = {row.adopted_from: row.id for row in own if row.adopted_from}
    async with database.read(EVERY_ORGANISATION) as session:
        withdrawn = await session.scalars(
            select(NoteTemplate.id)
            .where(NoteTemplate.id.in_(sources))
            .where(NoteTemplate.withdrawn_at.is_not(None))
        )
        return {sources[one] for one in withdrawn}


def content_of(template: NoteTemplate) -> NoteContent:
    return msgspec.json.decode(template.content, type=NoteContent)


async def save_template(
    session: AsyncSession,
    author: Actor,
    wish: TemplateWish,
    before: NoteTemplate | None,
    now: datetime,
) -> NoteTemplate:
    """A new template, or the next version of one's own.

    :raises InvalidInput: no title, nothing in it, too long.
    :raises Conflict: somebody else saved that version first.
    """
    template = NoteTemplate(
        title=_checked_words(wish.title, "title", _MAX_TITLE),
        specialty=wish.specialty.strip()[:_MAX_SPECIALTY],
        content=_checked_content(wish.content),
    )
    return await TEMPLATES.save(session, author, template, before, now)


def names_person(content: NoteContent, identity: Identity) -> bool:
    """Whether a text has the patient's family name, given name, code, telephone or birth date."""
    text = "\n".join(content.sections.values())
    birth = identity.birth_date
    signs = [identity.codice_fiscale, identity.phone, identity.email]
    signs += [birth.strftime(form) for form in ("%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d") if birth]
    if any(sign and sign.lower() in text.lower() for sign in signs):
        return True
    family, given = identity.family_name, identity.given_name
    return _has_words(text, family, re.IGNORECASE) or _has_words(text, given, re.NOFLAG)


def _has_words(text: str, name: str, flags: re.RegexFlag) -> bool:
    return bool(name) and re.search(rf"\b{re.escape(name)}\b", text, flags) is not None


def _checked_words(text: str, field: str, longest: int) -> str:
    words = " ".join(text.split())
    if not 0 < len(words) <= longest:
        raise InvalidInput(field, "missing" if not words else "too_long")
    return words


def _checked_content(content: NoteContent) -> str:
    sections = {section: text for section, text in content.sections.items() if text.strip()}
    if not (sections or content.question_codes or content.diagnosis_codes or content.services):
        raise InvalidInput("content", "missing")
    kept = msgspec.structs.replace(content, sections=sections, template_id="")
    encoded = msgspec.json.encode(kept)
    if len(encoded) > MAX_CONTENT_BYTES:
        raise InvalidInput("content", "too_long")
    return encoded.decode()
