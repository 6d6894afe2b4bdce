"""What CUP changes, by whatever process, reaches open pages within two seconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import func, select

import server.changes
from server.changes import Changes, next_age
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import Appointment, Visit, VisitChange, VisitChangeKind, VisitState
from server.services import HUB
from signaling.tickets import TICKET_SECONDS
from tests.conftest import Cast, MakeVisit
from tests.visitors import Site, open_site, site

__all__ = ["site"]


@pytest.fixture
async def still_site(
    database: Database,
    database_url: str,
    data_dir: Path,
    keyring: Keyring,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Site]:
    """Nobody reads changes here but the test."""

    async def rest(app: web.Application) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(server.changes, "lifetime", rest)
    async with open_site(database, database_url, data_dir) as site:
        yield site


async def note_change(
    database: Database, visit: Visit, kind: VisitChangeKind, changed_at: datetime
) -> None:
    async with database.begin(visit.organisation_id) as session:
        session.add(
            VisitChange(
                organisation_id=visit.organisation_id,
                visit_id=visit.id,
                kind=kind,
                changed_at=changed_at,
            )
        )


async def move(database: Database, visit: Visit, start: datetime) -> None:
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(Appointment, visit.appointment_id)).start = start
    await note_change(database, visit, VisitChangeKind.MOVED, datetime.now(UTC))


async def set_state(database: Database, visit: Visit, state: VisitState) -> None:
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(Visit, visit.id)).state = state


async def ask_ticket(site: Site, visit: Visit) -> str:
    patient = await site.patient(visit)
    await patient.post(f"/v/{visit.locator}/check-in/consents", visit="yes", tool="yes")
    answer = await patient.send("POST", f"/v/{visit.locator}/ticket", {})
    return str(json.loads(answer.text)["ticket"])


def open_socket(site: Site) -> aiohttp.client._WSRequestContextManager:
    return site.session.ws_connect(f"{site.origin}/ws", headers={"Origin": site.origin})


async def hear(socket: aiohttp.ClientWebSocketResponse, *types: str) -> dict[str, Any]:
    """The next frame of one of these types."""
    async with asyncio.timeout(2):
        while (heard := await socket.receive_json())["type"] not in types:
            pass
    return dict(heard)


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        (VisitChangeKind.MOVED, {"type": "moved"}),
        (VisitChangeKind.CANCELLED, {"type": "closed", "outcome": "cancelled"}),
        (VisitChangeKind.ENDED, {"type": "closed", "outcome": "no_show_patient"}),
    ],
)
async def test_open_room_hears_of_a_change(
    site: Site,
    database: Database,
    cast: Cast,
    make_visit: MakeVisit,
    kind: VisitChangeKind,
    event: dict[str, str],
) -> None:
    visit = await make_visit(cast.toscana, state=VisitState.WAITING)
    ticket = await ask_ticket(site, visit)
    async with open_socket(site) as socket:
        await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket})
        assert (await socket.receive_json())["type"] == "welcome"

        await note_change(database, visit, kind, datetime.now(UTC))

        heard = await hear(socket, event["type"])
    assert event.items() <= heard.items()


async def test_a_page_on_its_way_into_the_room_hears_of_a_move(
    still_site: Site, database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, state=VisitState.WAITING)
    changes, now = Changes(database, still_site.app[HUB]), datetime.now(UTC)
    ticket = await ask_ticket(still_site, visit)
    await move(database, visit, now + timedelta(minutes=25))
    assert await changes.run_once(now) == 1

    async with open_socket(still_site) as socket:
        await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket})
        await hear(socket, "welcome")
        assert await changes.run_once(now + timedelta(seconds=1)) == 1
        heard = await hear(socket, "moved")

    assert datetime.fromisoformat(heard["start"]) == now + timedelta(minutes=25)


async def test_a_page_on_its_way_into_the_room_hears_of_a_cancel(
    still_site: Site, database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, state=VisitState.WAITING)
    changes, now = Changes(database, still_site.app[HUB]), datetime.now(UTC)
    ticket = await ask_ticket(still_site, visit)
    await set_state(database, visit, VisitState.CANCELLED)
    await note_change(database, visit, VisitChangeKind.CANCELLED, now)
    assert await changes.run_once(now) == 1

    async with open_socket(still_site) as socket:
        await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket})
        heard = await hear(socket, "closed", "bye")

    assert "closed" in (heard["type"], heard.get("reason"))


async def test_the_end_of_a_visit_that_is_open_again_is_not_told_again(
    still_site: Site, database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, state=VisitState.CANCELLED)
    changes, now = Changes(database, still_site.app[HUB]), datetime.now(UTC)
    await note_change(database, visit, VisitChangeKind.CANCELLED, now)
    assert await changes.run_once(now) == 1
    await set_state(database, visit, VisitState.WAITING)

    ticket = await ask_ticket(still_site, visit)
    async with open_socket(still_site) as socket:
        await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket})
        await hear(socket, "welcome")
        await changes.run_once(now + timedelta(seconds=1))
        await socket.send_json({"type": "ping"})
        heard = await hear(socket, "closed", "pong")

    assert heard["type"] == "pong"


def test_a_change_is_told_until_no_ticket_from_before_it_is_good() -> None:
    ages = [timedelta()]
    while (age := next_age(ages[-1])) is not None:
        ages.append(age)

    assert [age.total_seconds() for age in ages] == [0, 1, 2, 4, 8, 16, 32, TICKET_SECONDS + 5]


async def test_each_change_is_told_for_a_while_and_old_ones_are_forgotten(
    still_site: Site, database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    now = datetime.now(UTC)
    await note_change(database, visit, VisitChangeKind.MOVED, now - timedelta(minutes=2))
    changes = Changes(database, still_site.app[HUB])
    await changes.start(now)

    assert await changes.run_once(now) == 0
    await note_change(database, visit, VisitChangeKind.MOVED, now)
    seconds = [0, 0, 1, 1, 2, 3, 4, TICKET_SECONDS + 5, TICKET_SECONDS + 6, 120]
    told = [await changes.run_once(now + timedelta(seconds=age)) for age in seconds]
    assert told == [1, 0, 1, 0, 1, 0, 1, 1, 0, 0]
    await note_change(database, visit, VisitChangeKind.MOVED, now + timedelta(minutes=2))
    assert await changes.run_once(now + timedelta(minutes=2)) == 1

    successor = Changes(database, still_site.app[HUB])
    await successor.start(now + timedelta(minutes=2))
    assert await successor.run_once(now + timedelta(minutes=2)) == 1

    await changes.run_once(now + timedelta(hours=2))
    async with database.read(EVERY_ORGANISATION) as session:
        assert await session.scalar(select(func.count()).select_from(VisitChange)) == 1


async def test_a_change_after_a_quiet_time_is_told(
    still_site: Site, database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    """SQLite gives the number of a removed newest row again."""
    visit = await make_visit(cast.toscana)
    now = datetime.now(UTC)
    await note_change(database, visit, VisitChangeKind.MOVED, now - timedelta(hours=3))
    changes = Changes(database, still_site.app[HUB])
    await changes.start(now)
    assert await changes.run_once(now) == 0
    for quiet in (timedelta(0), timedelta(hours=2), timedelta(hours=5)):
        await note_change(database, visit, VisitChangeKind.MOVED, now + quiet)
        assert await changes.run_once(now + quiet) == 1
        await changes.run_once(now + quiet + timedelta(hours=1, minutes=30))
