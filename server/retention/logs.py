"""The end of log entries: their text is emptied, their leaf stays, so that every proof still holds.

Entries of operations and of authentication have terms of their own. What was emptied is said by
entries ``log.erased``, whose ``places`` a verifier reads (``server/tlog/FORMAT.md``, 8 of §5).
Those, and entries that prove a destroyed key, are never emptied: they name ids only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, Row, and_, delete, exists, func, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import Database, OrganisationId, count_changed, take_turn
from server.models import (
    Appointment,
    CallInterval,
    CallOutage,
    LegalHold,
    LineTest,
    LogCheckpoint,
    LogEntry,
    LogValue,
    ProblemAcknowledgement,
    Visit,
    VisitSummary,
)

_AT_ONCE: Final = 2000
"""Entries of one transaction: their places are a few kilobytes at most."""
_SCANNED: Final = 65_536
_AT_LENGTH: Final = len("2026-11-26T09:40:00.000")
_DIGEST: Final = re.compile(r'"sha256:([A-Za-z0-9+/=]{44})"')
_OF_A_VISIT: Final = (VisitSummary, ProblemAcknowledgement, CallInterval, CallOutage, LineTest)
_NEVER: Final = (Act.LOG_ERASED, Act.KEY_SHREDDED)
_AUTHENTICATION: Final = tuple(act for act in Act if act.is_authentication)


@dataclass(frozen=True, slots=True)
class LogTerms:
    """Entries from before these moments are over their term."""

    operations: datetime
    authentication: datetime

    def is_over(self, dialect: str) -> ColumnElement[bool]:
        """As a condition on rows of the log."""
        at = _at(dialect)
        return and_(
            LogEntry.entry != "",
            not_(_is_one_of(_NEVER)),
            or_(
                and_(at < _stamp(self.operations), not_(_is_one_of(_AUTHENTICATION))),
                and_(at < _stamp(self.authentication), _is_one_of(_AUTHENTICATION)),
            ),
        )


@dataclass(slots=True)
class Emptied:
    """What one turn did; ``held`` entries belong to a visit under a legal hold."""

    entries: int = 0
    values: int = 0
    held: int = 0

    def add(self, other: Emptied) -> None:
        self.entries += other.entries
        self.values += other.values
        self.held += other.held


async def erase_entries(
    database: Database, organisation: OrganisationId, terms: LogTerms, now: datetime
) -> Emptied:
    """Empty every entry of a log that is over its term and under a checkpoint, and delete what was
    made of such entries and measured beside them."""
    done = Emptied()
    async with database.read(organisation) as session:
        signed = await session.scalar(select(func.max(LogCheckpoint.size))) or 0
    for start in range(0, signed, _SCANNED):
        places = range(start, min(start + _SCANNED, signed))
        async with database.read(organisation) as session:
            found = await _find(session, places, terms)
        done.held += sum(row.is_held for row in found)
        due = [row.seq for row in found if not row.is_held]
        for first in range(0, len(due), _AT_ONCE):
            async with database.begin(organisation) as session:
                await _empty(session, organisation, due[first : first + _AT_ONCE], now, done)
    async with database.begin(organisation) as session:
        await _delete_measured(session, terms.operations)
    return done


def _at(dialect: str) -> ColumnElement[str]:
    """The time in the text: it has one form, so that texts compare as moments do."""
    find = func.instr if dialect == "sqlite" else func.strpos
    key = '"at":"'
    return func.substr(LogEntry.entry, find(LogEntry.entry, key) + len(key), _AT_LENGTH)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:_AT_LENGTH]


def _is_one_of(acts: Iterable[Act]) -> ColumnElement[bool]:
    """By the first key of the canonical text, ``act`` in entries from before version 0006."""
    starts = [f'{{"{key}":"{act}"' for act in acts for key in ("action", "act")]
    return or_(*[LogEntry.entry.startswith(start, autoescape=True) for start in starts])


async def _find(
    session: AsyncSession, places: range, terms: LogTerms
) -> Sequence[Row[int | None, bool]]:
    rows = await session.execute(
        select(LogEntry.seq, _is_held().label("is_held"))
        .where(LogEntry.seq >= places.start, LogEntry.seq < places.stop)
        .where(terms.is_over(session.get_bind().dialect.name))
        .order_by(LogEntry.seq)
    )
    return rows.all()


def _is_held(visit_id: object = LogEntry.visit_id) -> ColumnElement[bool]:
    return exists().where(LegalHold.visit_id == visit_id, LegalHold.lifted_at.is_(None))


async def _empty(
    session: AsyncSession,
    organisation: OrganisationId,
    places: Sequence[int],
    now: datetime,
    done: Emptied,
) -> None:
    """Empty these entries, delete the personal values they speak of, and say so. Whoever places a
    hold or empties at the same time waits for the end of this."""
    await take_turn(session, f"log erasure {organisation}")
    asked = LogEntry.seq.in_(places)
    visits = select(LogEntry.visit_id).where(asked)
    await session.execute(select(Visit.id).where(Visit.id.in_(visits)).with_for_update())
    due = asked, LogEntry.entry != "", ~_is_held()
    rows = (await session.execute(select(LogEntry.seq, LogEntry.entry).where(*due))).all()
    if not rows:
        return
    emptied = [row.seq for row in rows]
    await count_changed(session, update(LogEntry).where(LogEntry.seq.in_(emptied)).values(entry=""))
    digests = {digest for row in rows for digest in _DIGEST.findall(row.entry)}
    values = await _delete_values(session, digests)
    facts: dict[str, Fact] = {
        "entries": len(rows), "places": write_places(emptied), "values": values,
    }  # fmt: skip
    await append(session, organisation, Entry(now, Act.LOG_ERASED, ActorRole.SYSTEM, facts=facts))
    done.entries += len(rows)
    done.values += values


async def _delete_measured(session: AsyncSession, before: datetime) -> None:
    """Summaries, taken problems and figures of the line of visits from before a moment."""
    old = (
        select(Visit.id)
        .join(Appointment, Visit.appointment_id == Appointment.id)
        .where(Appointment.end < before)
    )
    for table in _OF_A_VISIT:
        of_old = table.visit_id.in_(old), ~_is_held(table.visit_id)
        await count_changed(session, delete(table).where(*of_old))


async def _delete_values(session: AsyncSession, digests: Iterable[str]) -> int:
    known, deleted = sorted(digests), 0
    for first in range(0, len(known), _AT_ONCE):
        group = known[first : first + _AT_ONCE]
        deleted += await count_changed(session, delete(LogValue).where(LogValue.digest.in_(group)))
    return deleted


def write_places(places: Iterable[int]) -> str:
    """Numbers as ranges, ``0-4,9,12-40``."""
    runs: list[list[int]] = []
    for place in sorted(places):
        if runs and runs[-1][1] == place - 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
