"""What organisations share: templates of notes, practice scenarios.

Publishing shows one version to the other organisations of the installation, which adopt a copy of
it with that version. A change to what was adopted is something of one's own: what came from others
stays as they published it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append
from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database
from server.errors import Conflict, NotFound
from server.models import Organisation, SharedVersion, new_id

Row = TypeVar("Row", bound=SharedVersion)


@dataclass(frozen=True, slots=True)
class Offer(Generic[Row]):
    """A version that another organisation has published."""

    row: Row
    organisation: str
    is_newer: bool
    """An older version of it was adopted here."""


@dataclass(frozen=True, slots=True)
class Shelf(Generic[Row]):
    """All versions of one kind. ``word`` names one in the facts of its entries, ``copied`` the
    columns that an adopted copy takes over."""

    model: type[Row]
    word: str
    copied: tuple[str, ...]
    saved: Act
    published: Act
    withdrawn: Act
    adopted: Act

    async def load_newest(self, session: AsyncSession) -> list[Row]:
        """The newest version of each that is in use, by title."""
        rows = await session.scalars(select(self.model).order_by(self.model.version))
        newest = {row.code: row for row in rows}
        in_use = [row for row in newest.values() if row.withdrawn_at is None]
        return sorted(in_use, key=lambda row: row.title.lower())

    async def load_offers(
        self, database: Database, own: Iterable[Row], actor: Actor
    ) -> list[Offer[Row]]:
        """What others publish and this organisation does not have in that version.

        Reads over all organisations: publishing is meant for them.
        """
        have = {row.code: row.version for row in own}
        model = self.model
        async with database.read(EVERY_ORGANISATION) as session:
            rows = await session.execute(
                select(model, Organisation.name)
                .join(Organisation, Organisation.id == model.organisation_id)
                .where(model.published_at.is_not(None))
                .where(model.withdrawn_at.is_(None))
                .where(model.adopted_from.is_(None))
                .where(model.organisation_id != actor.organisation)
                .order_by(model.version)
            )
            newest = {row.code: (row, name) for row, name in rows}
        return [
            Offer(row, name, is_newer=row.code in have)
            for row, name in sorted(newest.values(), key=lambda pair: (pair[1], pair[0].title))
            if have.get(row.code, 0) < row.version
        ]

    async def load(self, session: AsyncSession, version_id: str) -> Row:
        """:raises NotFound: there is none in this organisation."""
        row = await session.get(self.model, version_id)
        if row is None:
            raise NotFound
        return row

    async def save(
        self, session: AsyncSession, author: Actor, row: Row, before: Row | None, now: datetime
    ) -> Row:
        """Keep a new one, or the next version of one's own; code and version are set here.

        :raises Conflict: somebody else saved that version first.
        """
        own = before if before is not None and before.adopted_from is None else None
        row.id, row.organisation_id = new_id(), author.organisation
        row.author_id, row.saved_at = author.id, now
        row.code, row.version = (own.code, own.version + 1) if own else (row.code or new_id(), 1)
        await _add(session, row)
        await self._write_down(session, author, self.saved, row, now)
        return row

    async def publish(
        self, session: AsyncSession, actor: Actor, version_id: str, now: datetime
    ) -> None:
        """:raises Conflict: adopted from others, or withdrawn."""
        row = await self.load(session, version_id)
        if row.adopted_from is not None or row.withdrawn_at is not None:
            raise Conflict("only what is one's own and in use is published")
        if row.published_at is None:
            row.published_at = now
            await self._write_down(session, actor, self.published, row, now)

    async def withdraw(
        self, session: AsyncSession, actor: Actor, version_id: str, now: datetime
    ) -> None:
        """All versions go out of use; who adopted a copy keeps it."""
        row = await self.load(session, version_id)
        model = self.model
        versions = await session.scalars(
            select(model).where(model.code == row.code, model.withdrawn_at.is_(None))
        )
        for version in versions:
            version.withdrawn_at = now
            await self._write_down(session, actor, self.withdrawn, version, now)

    async def adopt(self, database: Database, actor: Actor, version_id: str, now: datetime) -> None:
        """A copy of a published version becomes one of this organisation's.

        :raises NotFound: it is not published.
        :raises Conflict: it is one's own, or adopted already.
        """
        model = self.model
        async with database.read(EVERY_ORGANISATION) as session:
            source = await session.get(model, version_id)
        if source is not None and source.organisation_id == actor.organisation:
            raise Conflict("one's own is not adopted")
        if source is None or source.published_at is None or source.withdrawn_at is not None:
            raise NotFound
        copy = model(
            id=new_id(),
            organisation_id=actor.organisation,
            author_id=actor.id,
            saved_at=now,
            adopted_from=source.id,
            **{column: getattr(source, column) for column in ("code", "version", *self.copied)},
        )
        async with database.begin(actor.organisation) as session:
            before = await session.scalar(
                select(model)
                .where(model.code == source.code, model.version == source.version)
                .where(model.withdrawn_at.is_not(None))
            )
            if before is not None:
                before.withdrawn_at = None
            else:
                await _add(session, copy)
            await self._write_down(session, actor, self.adopted, before or copy, now)

    async def _write_down(
        self, session: AsyncSession, actor: Actor, act: Act, row: Row, now: datetime
    ) -> None:
        facts: dict[str, Fact] = {self.word: row.id, "code": row.code, "version": row.version}
        entry = Entry(now, act, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)


async def _add(session: AsyncSession, row: SharedVersion) -> None:
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict("this version is there already") from error
