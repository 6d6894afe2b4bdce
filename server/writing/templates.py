"""Templates of notes: an organisation's own, and those that others have published.

A template has a code that stays and versions that count up; every version is a row. Publishing
shows one version to the other organisations of the installation, which adopt a copy of it with
that version. A change to an adopted template is a template of one's own: what came from others
stays as they published it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append
from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database
from server.errors import Conflict, InvalidInput, NotFound
from server.models import NoteTemplate, Organisation, new_id
from server.sealed import Identity, NoteContent

MAX_CONTENT_BYTES: Final = 100_000
_MAX_TITLE, _MAX_SPECIALTY = 200, 100


@dataclass(frozen=True, slots=True)
class Offer:
    """A version that another organisation has published."""

    template: NoteTemplate
    organisation: str
    is_newer: bool
    """An older version of it was adopted here."""


class TemplateWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a template is to be."""

    title: str
    specialty: str = ""
    content: NoteContent


async def load_own(session: AsyncSession) -> list[NoteTemplate]:
    """The newest version of each template in use, by specialty and title."""
    rows = await session.scalars(select(NoteTemplate).order_by(NoteTemplate.version))
    newest = {row.code: row for row in rows}
    in_use = [row for row in newest.values() if row.withdrawn_at is None]
    return sorted(in_use, key=lambda row: (row.specialty.lower(), row.title.lower()))


async def load_offers(database: Database, own: Iterable[NoteTemplate], actor: Actor) -> list[Offer]:
    """What others publish and this organisation does not have in that version.

    Reads over all organisations: publishing is meant for them.
    """
    have = {row.code: row.version for row in own}
    async with database.read(EVERY_ORGANISATION) as session:
        rows = await session.execute(
            select(NoteTemplate, Organisation.name)
            .join(Organisation, Organisation.id == NoteTemplate.organisation_id)
            .where(NoteTemplate.published_at.is_not(None))
            .where(NoteTemplate.withdrawn_at.is_(None))
            .where(NoteTemplate.adopted_from.is_(None))
            .where(NoteTemplate.organisation_id != actor.organisation)
            .order_by(NoteTemplate.version)
        )
        newest = {row.code: (row, name) for row, name in rows}
    return [
        Offer(row, name, is_newer=row.code in have)
        for row, name in sorted(newest.values(), key=lambda pair: (pair[1], pair[0].title))
        if have.get(row.code, 0) < row.version
    ]


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


async def load_template(session: AsyncSession, template_id: str) -> NoteTemplate:
    """:raises NotFound: there is none in this organisation."""
    template = await session.get(NoteTemplate, template_id)
    if template is None:
        raise NotFound
    return template


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
    is_own = before is not None and before.adopted_from is None
    template = NoteTemplate(
        id=new_id(),
        organisation_id=author.organisation,
        code=before.code if before is not None and is_own else new_id(),
        version=before.version + 1 if before is not None and is_own else 1,
        title=_checked_words(wish.title, "title", _MAX_TITLE),
        specialty=wish.specialty.strip()[:_MAX_SPECIALTY],
        content=_checked_content(wish.content),
        author_id=author.id,
        saved_at=now,
    )
    await _add(session, template)
    await _write_down(session, author, Act.TEMPLATE_SAVED, template, now)
    return template


async def publish(session: AsyncSession, actor: Actor, template_id: str, now: datetime) -> None:
    """:raises Conflict: adopted from others, or withdrawn."""
    template = await load_template(session, template_id)
    if template.adopted_from is not None or template.withdrawn_at is not None:
        raise Conflict("only a template of one's own that is in use is published")
    if template.published_at is None:
        template.published_at = now
        await _write_down(session, actor, Act.TEMPLATE_PUBLISHED, template, now)


async def withdraw(session: AsyncSession, actor: Actor, template_id: str, now: datetime) -> None:
    """All versions go out of use; who adopted a copy keeps it and reads that it was withdrawn."""
    template = await load_template(session, template_id)
    versions = await session.scalars(
        select(NoteTemplate)
        .where(NoteTemplate.code == template.code)
        .where(NoteTemplate.withdrawn_at.is_(None))
    )
    for version in versions:
        version.withdrawn_at = now
        await _write_down(session, actor, Act.TEMPLATE_WITHDRAWN, version, now)


async def adopt(database: Database, actor: Actor, template_id: str, now: datetime) -> None:
    """A copy of a published version becomes one of this organisation's.

    :raises NotFound: it is not published.
    :raises Conflict: it is one's own, or adopted already.
    """
    async with database.read(EVERY_ORGANISATION) as session:
        source = await session.get(NoteTemplate, template_id)
    if source is not None and source.organisation_id == actor.organisation:
        raise Conflict("one's own template is not adopted")
    if source is None or source.published_at is None or source.withdrawn_at is not None:
        raise NotFound
    copy = NoteTemplate(
        id=new_id(),
        organisation_id=actor.organisation,
        code=source.code,
        version=source.version,
        title=source.title,
        specialty=source.specialty,
        content=source.content,
        author_id=actor.id,
        saved_at=now,
        adopted_from=source.id,
    )
    async with database.begin(actor.organisation) as session:
        before = await session.scalar(
            select(NoteTemplate)
            .where(NoteTemplate.code == source.code, NoteTemplate.version == source.version)
            .where(NoteTemplate.withdrawn_at.is_not(None))
        )
        if before is not None:
            before.withdrawn_at = None
        else:
            await _add(session, copy)
        await _write_down(session, actor, Act.TEMPLATE_ADOPTED, before or copy, now)


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


async def _add(session: AsyncSession, template: NoteTemplate) -> None:
    session.add(template)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict("this version is there already") from error


async def _write_down(
    session: AsyncSession, actor: Actor, act: Act, template: NoteTemplate, now: datetime
) -> None:
    facts: dict[str, Fact] = {
        "template": template.id,
        "code": template.code,
        "version": template.version,
    }
    await append(session, actor.organisation, Entry(now, act, actor.role, actor.id, facts=facts))
