"""Numbering until nothing is left: what the leader does all the time and a command when it must."""

from __future__ import annotations

from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.sequencing.numbering import find_unnumbered, number_entries


async def number_all(database: Database) -> None:
    """Number everything that has no number, in every log."""
    async with database.read(EVERY_ORGANISATION) as session:
        waiting = await find_unnumbered(session)
    for organisation in waiting:
        await number_log(database, organisation)


async def number_log(database: Database, organisation: OrganisationId) -> int:
    """Number what has no number in one log, a few thousand entries in each transaction; returns
    how many there were."""
    count = 0
    while True:
        async with database.begin(organisation) as session:
            numbered = await number_entries(session, organisation)
        if not numbered:
            return count
        count += len(numbered)
