"""Scenarios that facilitators build: an organisation's own, and those that others have published.

A scenario has a code that stays and versions that count up; every version is a row. Those that
come with the platform are files (:func:`server.training.scenario.load_shipped`). A change to what
came from others, or with the platform, is a scenario of one's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append
from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database
from server.errors import Conflict, NotFound
from server.models import Organisation, TrainingScenario, new_id
from server.training.scenario import Scenario, encode_scenario, load_shipped, parse_scenario


@dataclass(frozen=True, slots=True)
class Offer:
    """A version that another organisation has published."""

    row: TrainingScenario
    organisation: str
    is_newer: bool
    """An older version of it was adopted here."""


async def load_own(session: AsyncSession) -> list[TrainingScenario]:
    """The newest version of each scenario in use, by title."""
    rows = await session.scalars(select(TrainingScenario).order_by(TrainingScenario.version))
    newest = {row.code: row for row in rows}
    in_use = [row for row in newest.values() if row.withdrawn_at is None]
    return sorted(in_use, key=lambda row: row.title.lower())


async def load_offers(
    database: Database, own: Iterable[TrainingScenario], actor: Actor
) -> list[Offer]:
    """What others publish and this organisation does not have in that version.

    Reads over all organisations: publishing is meant for them.
    """
    have = {row.code: row.version for row in own}
    async with database.read(EVERY_ORGANISATION) as session:
        rows = await session.execute(
            select(TrainingScenario, Organisation.name)
            .join(Organisation, Organisation.id == TrainingScenario.organisation_id)
            .where(TrainingScenario.published_at.is_not(None))
            .where(TrainingScenario.withdrawn_at.is_(None))
            .where(TrainingScenario.adopted_from.is_(None))
            .where(TrainingScenario.organisation_id != actor.organisation)
            .order_by(TrainingScenario.version)
        )
        newest = {row.code: (row, name) for row, name in rows}
    return [
        Offer(row, name, is_newer=row.code in have)
        for row, name in sorted(newest.values(), key=lambda pair: (pair[1], pair[0].title))
        if have.get(row.code, 0) < row.version
    ]


async def load_row(session: AsyncSession, scenario_id: str) -> TrainingScenario:
    """:raises NotFound: there is none in this organisation."""
    row = await session.get(TrainingScenario, scenario_id)
    if row is None:
        raise NotFound
    return row


async def load_scenario(session: AsyncSession, chosen: str) -> Scenario:
    """The scenario of a shipped code, or of a row's id that is in use here.

    :raises NotFound: neither.
    """
    shipped = load_shipped().get(chosen)
    if shipped is not None:
        return shipped
    row = await load_row(session, chosen)
    if row.withdrawn_at is not None:
        raise NotFound
    return parse_scenario(row.content)


async def save_scenario(
    session: AsyncSession,
    author: Actor,
    scenario: Scenario,
    before: TrainingScenario | None,
    now: datetime,
) -> TrainingScenario:
    """A new scenario, or the next version of one's own.

    :raises Conflict: somebody else saved that version first.
    """
    is_own = before is not None and before.adopted_from is None
    code = before.code if before is not None and is_own else new_id()
    row = TrainingScenario(
        id=new_id(),
        organisation_id=author.organisation,
        code=code,
        version=before.version + 1 if before is not None and is_own else 1,
        title=scenario.title,
        content=encode_scenario(msgspec.structs.replace(scenario, code=code)),
        author_id=author.id,
        saved_at=now,
    )
    await _add(session, row)
    await _write_down(session, author, Act.SCENARIO_SAVED, row, now)
    return row


async def publish(session: AsyncSession, actor: Actor, scenario_id: str, now: datetime) -> None:
    """:raises Conflict: adopted from others, or withdrawn."""
    row = await load_row(session, scenario_id)
    if row.adopted_from is not None or row.withdrawn_at is not None:
        raise Conflict("only a scenario of one's own that is in use is published")
    if row.published_at is None:
        row.published_at = now
        await _write_down(session, actor, Act.SCENARIO_PUBLISHED, row, now)


async def withdraw(session: AsyncSession, actor: Actor, scenario_id: str, now: datetime) -> None:
    """All versions go out of use; who adopted a copy keeps it."""
    row = await load_row(session, scenario_id)
    versions = await session.scalars(
        select(TrainingScenario)
        .where(TrainingScenario.code == row.code)
        .where(TrainingScenario.withdrawn_at.is_(None))
    )
    for version in versions:
        version.withdrawn_at = now
        await _write_down(session, actor, Act.SCENARIO_WITHDRAWN, version, now)


async def adopt(database: Database, actor: Actor, scenario_id: str, now: datetime) -> None:
    """A copy of a published version becomes one of this organisation's.

    :raises NotFound: it is not published.
    :raises Conflict: it is one's own, or adopted already.
    """
    async with database.read(EVERY_ORGANISATION) as session:
        source = await session.get(TrainingScenario, scenario_id)
    if source is not None and source.organisation_id == actor.organisation:
        raise Conflict("one's own scenario is not adopted")
    if source is None or source.published_at is None or source.withdrawn_at is not None:
        raise NotFound
    copy = TrainingScenario(
        id=new_id(),
        organisation_id=actor.organisation,
        code=source.code,
        version=source.version,
        title=source.title,
        content=source.content,
        author_id=actor.id,
        saved_at=now,
        adopted_from=source.id,
    )
    async with database.begin(actor.organisation) as session:
        before = await session.scalar(
            select(TrainingScenario)
            .where(TrainingScenario.code == source.code)
            .where(TrainingScenario.version == source.version)
            .where(TrainingScenario.withdrawn_at.is_not(None))
        )
        if before is not None:
            before.withdrawn_at = None
        else:
            await _add(session, copy)
        await _write_down(session, actor, Act.SCENARIO_ADOPTED, before or copy, now)


async def _add(session: AsyncSession, row: TrainingScenario) -> None:
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict("this version is there already") from error


async def _write_down(
    session: AsyncSession, actor: Actor, act: Act, row: TrainingScenario, now: datetime
) -> None:
    facts: dict[str, Fact] = {"scenario": row.id, "version": row.version}
    await append(session, actor.organisation, Entry(now, act, actor.role, actor.id, facts=facts))
