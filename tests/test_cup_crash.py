"""``kill -9`` while messages are taken in: what was acknowledged is there once, nothing was
acknowledged that is not there, and the rest comes again."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from server.cup.csvfile.mapping import parse_row
from server.cup.inbox.intake import Inbox
from server.db import EVERY_ORGANISATION, Database
from server.keyring import load_keyring
from server.models import (
    Appointment,
    InboxMessage,
    LogEntry,
    Patient,
    PatientMessage,
    Source,
    Visit,
)
from server.sources import SourceSettings

if TYPE_CHECKING:  # the child starts in half the time without it
    from tests.conftest import Cast

MESSAGES = 200
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HEADER = "codice_prenotazione;inizio;cognome;codice_paziente"


async def take_in(url: str, data_dir: str, source_id: str, first: int) -> None:
    """The child: one message after the other, its number printed once ``receive`` has returned."""
    database, keyring = Database(url), load_keyring(Path(data_dir))
    async with database.read(EVERY_ORGANISATION) as session:
        source = await session.get_one(Source, source_id)
    inbox = Inbox(database, keyring)
    print("ready", flush=True)
    for number in range(first, MESSAGES):
        row = f"B{number};2026-12-01T09:30:00+01:00;Rossi;P{number}"
        message = parse_row(f"{HEADER}\n{row}".encode(), SourceSettings(), NOW)
        message = replace(message, control_id=f"M{number}")
        (receipt,) = await inbox.receive(source, [message], NOW + timedelta(seconds=number))
        assert receipt.is_taken
        print(number, flush=True)
    await database.close()


async def run_until_killed(arguments: list[str], chance: random.Random) -> list[int]:
    """Start a child, kill it in the middle of some message; the numbers it has acknowledged."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.test_cup_crash", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    survived, acknowledged = chance.randint(5, 45), list[int]()
    async for line in child.stdout:
        acknowledged += [int(line)] if line.endswith(b"\n") else []
        if len(acknowledged) == survived:
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.05), kill, child)
    status = await child.wait()
    assert status in (0, -signal.SIGKILL)
    return acknowledged


def kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.kill()


async def test_killed_at_any_moment_each_message_is_applied_once(
    database: Database, database_url: str, data_dir: Path, cast: Cast
) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        source = Source(organisation_id=cast.toscana.organisation.id, code="prova")
        session.add(source)
    chance = random.Random(4)
    acknowledged: set[int] = set()
    kills = 0
    while len(acknowledged) < MESSAGES:
        first = max(acknowledged, default=-1) + 1
        arguments = [database_url, str(data_dir), source.id, str(first)]
        acknowledged |= set(await run_until_killed(arguments, chance))
        stored = await stored_codes(database)
        assert {f"B{number}" for number in acknowledged} <= stored
        assert len(stored) <= len(acknowledged) + 1
        kills += 1

    assert kills > 3
    assert await stored_codes(database) == {f"B{number}" for number in range(MESSAGES)}
    async with database.read(EVERY_ORGANISATION) as session:
        for table in (Appointment, Visit, Patient, PatientMessage):
            assert await session.scalar(select(func.count()).select_from(table)) == MESSAGES
        entries = await session.scalar(select(func.count()).select_from(LogEntry))
        assert entries == 2 * MESSAGES


async def stored_codes(database: Database) -> set[str]:
    async with database.read(EVERY_ORGANISATION) as session:
        codes = list(await session.scalars(select(InboxMessage.booking_code)))
        assert len(codes) == len(set(codes))
        return set(codes)


if __name__ == "__main__":
    asyncio.run(take_in(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
