"""Numbering until nothing is left: what the leader does all the time and a command when it must."""

from __future__ import annotations

from server.db import Database, OrganisationId
from server.sequencing.numbering import MOST_AT_ONCE, number_entries


async def number_log(database: Database, organisation: OrganisationId) -> int:
    """Number what has no number in one log, a few thousand entries in each transaction; returns
    how many there were."""
    count = 0
    while True:
        async with database.begin(organisation) as session:
            numbered = await number_entries(session, organisation)
        count += len(numbered)
        if len(numbered) < MOST_AT_ONCE:
            return count
