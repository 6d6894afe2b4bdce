"""The night: when the daily job runs, and what it ends of the training organisation each time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Final

from sqlalchemy import delete, select

from server.db import EVERY_ORGANISATION, Database, count_changed
from server.i18n import ROME
from server.models import Appointment, Kept, Organisation, Practice, Visit

_AT: Final = time(2, 30)
_OF_THE_LOG: Final = frozenset({Kept.LOG, Kept.LOG_ACCESS})
"""The session log of the training organisation ends as that of others: it names nobody."""


def seconds_to_night(now: datetime) -> float:
    """Until the next half past two of Rome; also when the clock changes in that night."""
    here = now.astimezone(ROME)
    tonight = datetime.combine(here.date(), _AT, tzinfo=ROME)
    if tonight.astimezone(UTC) <= now:
        tonight = datetime.combine(here.date() + timedelta(days=1), _AT, tzinfo=ROME)
    return (tonight.astimezone(UTC) - now).total_seconds()


def midnight_of(now: datetime) -> datetime:
    """When the day of ``now`` began in Rome."""
    return datetime.combine(now.astimezone(ROME).date(), time(), tzinfo=ROME)


def terms_of(days: Mapping[Kept, int], now: datetime, *, is_training: bool) -> dict[Kept, datetime]:
    """Before which moment each kind of record is over."""
    before = {kept: now - timedelta(days=days[kept]) for kept in Kept}
    if is_training:
        before |= {kept: midnight_of(now) for kept in Kept if kept not in _OF_THE_LOG}
    return before


async def end_practices(database: Database, now: datetime) -> int:
    """Forget which practices were held before today; their visits end as any at its term. Over
    all organisations: each row is of the one whose clinician practised."""
    over = (
        select(Visit.id)
        .join(Appointment, Appointment.id == Visit.appointment_id)
        .join(Organisation, Organisation.id == Visit.organisation_id)
        .where(Organisation.is_training, Appointment.end < midnight_of(now))
    )
    async with database.begin(EVERY_ORGANISATION) as session:
        return await count_changed(session, delete(Practice).where(Practice.visit_id.in_(over)))
