"""Numbers for everything that was written, without a leader."""

from __future__ import annotations

from server.db import EVERY_ORGANISATION, Database
from server.sequencing import find_unnumbered, number_log


async def number_all(database: Database) -> None:
    async with database.read(EVERY_ORGANISATION) as session:
        waiting = await find_unnumbered(session)
    for organisation in waiting:
        await number_log(database, organisation)
