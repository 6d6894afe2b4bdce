"""Nodes with busy rooms are killed, with their database or without it: what the log then holds."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aiohttp import web
from sqlalchemy import select, text

from server.db import EVERY_ORGANISATION, Database
from server.models import LogEntry
from server.waiting import Spool, VisitHooks

EVENTS: Final = 400
_LONGEST_LIFE: Final = 0.9
"""Seconds; the events take about as long."""


async def kill_a_node(
    database: Database, folder: Path, visit_id: str, chance: random.Random, *, is_away: bool
) -> int:
    """Let a node of its own process observe events and kill it; how many it had taken."""
    if is_away:
        await rename_table(database, "log_entry", "log_entry_away")
    url = database.engine.url.render_as_string(hide_password=False).replace("+onehop", "")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.spoolnode", url, str(folder), visit_id, str(EVENTS),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    stdout = process.stdout
    if stdout is None:
        raise RuntimeError("no pipe")
    lines = [await stdout.readline()]
    await asyncio.sleep(chance.uniform(0, _LONGEST_LIFE))
    process.send_signal(signal.SIGKILL)
    lines += (await stdout.read()).splitlines()
    await process.wait()
    if is_away:
        await rename_table(database, "log_entry_away", "log_entry")
    return int(lines[-1]) + 1


async def start_next_node(database: Database, folder: Path) -> None:
    """One start and end of an application over the same folder."""
    hooks = VisitHooks(database, Spool(folder), lambda: datetime.now(UTC))
    async with asynccontextmanager(hooks.lifetime)(web.Application()), asyncio.timeout(60):
        while list(folder.glob("*.rows")):
            await asyncio.sleep(0.02)


async def rename_table(database: Database, old: str, new: str) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


async def load_numbers(database: Database, visit_id: str) -> list[int]:
    """The events in the log, each as the number that :mod:`tests.spoolnode` wrote into it."""
    entries = select(LogEntry.entry).where(LogEntry.visit_id == visit_id).order_by(LogEntry.id)
    async with database.read(EVERY_ORGANISATION) as session:
        found = [json.loads(entry) for entry in await session.scalars(entries)]
    return [
        facts["microphone"] + 2 * facts["camera"] + 4 * facts["screen"]
        for facts in (entry["facts"] for entry in found if entry["action"] == "media.changed")
    ]


def count_wrong(numbers: list[int], taken: int) -> int:
    """How far the log is from holding each event that was taken once and in its order. The last
    one may be there although the node was killed before it said so."""
    wanted = [number % 8 for number in range(taken)]
    also = [*wanted, taken % 8]
    return 0 if numbers in (wanted, also) else 1 + abs(len(numbers) - taken)
