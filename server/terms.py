"""After how many days each kind of record ends: the organisation's own terms, else the default.

The body's own plan (*massimario di scarto*) decides. Until it is set: records of a visit ten years,
the longest term that a national rule names for what a visit outside a ward leaves (diagnostic
images, domain §7; the report itself is also in the national record and with its own terms there);
messages of CUP three months, because CUP keeps its own; recordings as long, because no rule asks
for them; log-ins and devices the twelve months of DM 19/11/2025, and of its session log twenty-four
months, twelve of entries about authentication
(art. 14, all. 4 §6). The Garante (4/6/2015) wants no less, so that shorter ones are not taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import OrganisationId
from server.errors import InvalidInput
from server.models import Kept, RetentionTerm

_TWO_YEARS: Final = 731
_ONE_YEAR: Final = 366
DEFAULT_DAYS: Final[Mapping[Kept, int]] = {
    Kept.RECORD: 3650,
    Kept.MESSAGES: 90,
    Kept.RECORDING: 90,
    Kept.ACCESS: 365,
    Kept.LOG: _TWO_YEARS,
    Kept.LOG_ACCESS: _ONE_YEAR,
}
LEAST_DAYS: Final[Mapping[Kept, int]] = {
    Kept.RECORD: 365,
    Kept.MESSAGES: 30,
    Kept.RECORDING: 1,
    Kept.ACCESS: 90,
    Kept.LOG: _TWO_YEARS,
    Kept.LOG_ACCESS: _ONE_YEAR,
}
"""A slip of the keyboard must not end what is in use."""
MOST_DAYS: Final = 36_500


async def load_terms(session: AsyncSession, organisation: OrganisationId) -> dict[Kept, int]:
    """Days of every kind."""
    rows = select(RetentionTerm).where(RetentionTerm.organisation_id == organisation)
    own = {row.kept: row.days for row in await session.scalars(rows)}
    return {kept: own.get(kept, days) for kept, days in DEFAULT_DAYS.items()}


async def set_term(
    session: AsyncSession,
    organisation: OrganisationId,
    kept: Kept,
    days: int,
    now: datetime,
    actor: str = "",
) -> bool:
    """Keep a term and note it; whether it is another one than before. ``actor`` is an
    administrator, empty for the command line.

    :raises InvalidInput: shorter than may be, or no sensible number.
    """
    if not LEAST_DAYS[kept] <= days <= MOST_DAYS:
        raise InvalidInput(kept.value, f"outside_{LEAST_DAYS[kept]}_to_{MOST_DAYS}_days")
    before = (await load_terms(session, organisation))[kept]
    if days == before:
        return False
    await session.merge(RetentionTerm(organisation_id=organisation, kept=kept, days=days))
    role = ActorRole.ADMINISTRATOR if actor else ActorRole.SYSTEM
    facts: dict[str, Fact] = {"kept": kept.value, "term_days": days, "before": before}
    entry = Entry(now, Act.RETENTION_CHANGED, role, actor=actor, facts=facts)
    await append(session, organisation, entry)
    return True
