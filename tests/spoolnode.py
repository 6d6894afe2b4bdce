"""A process whose rooms are busy until somebody kills it: ``python -m tests.spoolnode URL FOLDER
VISIT COUNT``. It says the number of each event once the spool has taken it."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from server.db import COMMAND_SECONDS, Database
from server.waiting import Spool, VisitHooks
from signaling.messages import MediaChanged


async def run(url: str, folder: Path, visit: str, count: int) -> None:
    """``count`` events, a few at a time; then wait for the end."""
    database = Database(url, COMMAND_SECONDS)
    hooks = VisitHooks(database, Spool(folder), lambda: datetime.now(UTC))
    async with asynccontextmanager(hooks.lifetime)(web.Application()):
        hooks.opened(visit, await hooks.load(visit))
        for number in range(count):
            hooks.observe(visit, changed(number))
            os.write(1, b"%d\n" % number)
            if number % 5 == 0:
                await asyncio.sleep(0.01)
        await asyncio.Event().wait()


def changed(number: int) -> MediaChanged:
    """An event that can be told from its neighbours: 0 to 7 in three bits."""
    bits = (bool(number & bit) for bit in (1, 2, 4))
    microphone, camera, screen = bits
    return MediaChanged(participant="patient", microphone=microphone, camera=camera, screen=screen)


if __name__ == "__main__":
    address, where, room, many = sys.argv[1:]
    asyncio.run(run(address, Path(where), room, int(many)))
