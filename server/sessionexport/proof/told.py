"""What the proof of one visit tells, from the log and the measures; nothing sealed is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole
from server.errors import NotFound
from server.keyring import Keyring
from server.line.measured import load_measured
from server.line.presence import Bar, Line, bars_of, parse_line
from server.line.verdict import Limits, Verdict, judge
from server.models import Appointment, LogEntry, Organisation, User, UserRole, Visit
from server.tlog.note import Checkpoint

MOMENTS: Final = frozenset(
    {
        Act.CONSENT_GIVEN, Act.CONSENT_REFUSED, Act.CONSENT_WITHDRAWN, Act.WAITING,
        Act.LATE_ANNOUNCED, Act.IDENTITY_CONFIRMED, Act.ADMITTED, Act.TURNED_AWAY,
        Act.MEDIA_PROVEN, Act.ROOM_DROPPED, Act.ROOM_REJOINED, Act.FINISHED, Act.OUTCOME,
        Act.SAS_MISMATCH, Act.REPORT_SIGNED, Act.RECORDING_ACCEPTED, Act.RECORDING_REFUSED,
        Act.RECORDING_BEGAN, Act.RECORDING_FAILED, Act.RECORDING_ENDED,
    }
)  # fmt: skip
"""What is told of a visit, moment by moment."""
OPENINGS: Final = frozenset(
    {
        Act.CONTACT_OPENED, Act.LINK_READ, Act.LINK_CODE_READ, Act.CARD_OPENED, Act.NOTE_OPENED,
        Act.NOTE_HISTORY_OPENED, Act.NOTE_PRINTED, Act.ATTACHMENT_OPENED, Act.REPORT_OPENED,
        Act.REPORT_DOWNLOADED, Act.REPORT_EXPORTED, Act.LOG_READ, Act.LOG_EXPORTED,
        Act.PATIENT_EXPORTED, Act.RECORDING_OPENED, Act.RECORDING_EXPORTED,
    }
)  # fmt: skip
"""Looking at data of the patient."""
_PSEUDONYM_LENGTH: Final = 6


@dataclass(frozen=True, slots=True)
class Story:
    """One visit as its log tells it. ``unread``: entries that are erased, or are none."""

    organisation: Organisation
    visit: Visit
    pseudonym: str
    checkpoint: Checkpoint
    lines: Sequence[Line]
    unread: int
    verdict: Verdict
    names: dict[str, str]
    """Of clinicians, by id: who met the patient. Of others the role is told."""
    made_at: datetime

    @property
    def moments(self) -> list[Line]:
        return [line for line in self.lines if line.act in MOMENTS]

    @property
    def openings(self) -> list[tuple[Act, ActorRole, int]]:
        """What was opened, by whom, how often; in the order of the first time."""
        counted = Counter((line.act, line.role) for line in self.lines if line.act in OPENINGS)
        return [(act, role, count) for (act, role), count in counted.items()]

    def bars(self, role: ActorRole) -> list[Bar]:
        """When a person was there; until the last entry if nobody has ended it."""
        return bars_of(self.lines, role, self.lines[-1].at) if self.lines else []


async def load_story(
    session: AsyncSession,
    keyring: Keyring,
    visit_id: str,
    checkpoint: Checkpoint,
    limits: Limits,
    now: datetime,
) -> Story:
    """Of the entries that the checkpoint covers.

    :raises NotFound: there is no such visit.
    """
    visit = await _load_visit(session, visit_id)
    rows = await session.scalars(
        select(LogEntry)
        .where(LogEntry.visit_id == visit_id, LogEntry.seq < checkpoint.size)
        .order_by(LogEntry.seq)
    )
    lines, unread = _read(rows)
    pseudonym = await load_pseudonym(session, keyring, visit)
    return Story(
        organisation=await session.get_one(Organisation, visit.organisation_id),
        visit=visit,
        pseudonym=pseudonym[:_PSEUDONYM_LENGTH].upper(),
        checkpoint=checkpoint,
        lines=lines,
        unread=unread,
        verdict=judge(await load_measured(session, visit_id), limits),
        names=await _load_names(session, {line.actor for line in lines}),
        made_at=now,
    )


async def _load_visit(session: AsyncSession, visit_id: str) -> Visit:
    appointment = joinedload(Visit.appointment)
    visit = await session.get(
        Visit,
        visit_id,
        options=[
            appointment.joinedload(Appointment.clinic),
            appointment.joinedload(Appointment.clinician),
        ],
    )
    if visit is None:
        raise NotFound
    return visit


async def load_pseudonym(session: AsyncSession, keyring: Keyring, visit: Visit) -> str:
    """The patient's code, always the same for the same person; pages show its beginning."""
    return await keyring.blind_index(
        session, visit.organisation_id, "pseudonym", visit.appointment.patient_id
    )


def _read(rows: Iterable[LogEntry]) -> tuple[list[Line], int]:
    """A row that is no entry any more is counted: the proof says which one it is."""
    lines, unread = [], 0
    for row in rows:
        try:
            lines.append(parse_line(row))
        except (ValueError, KeyError, TypeError):
            unread += 1
    return lines, unread


async def _load_names(session: AsyncSession, ids: set[str]) -> dict[str, str]:
    users = await session.scalars(
        select(User).where(User.id.in_(ids), User.role == UserRole.CLINICIAN)
    )
    return {user.id: user.display_name or user.username for user in users}
