"""What CUP changes, by whatever process, reaches open pages within two seconds."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from server.changes import Changes
from server.db import EVERY_ORGANISATION, Database
from server.models import Visit, VisitChange, VisitChangeKind, VisitState
from server.services import HUB
from tests.conftest import Cast, MakeVisit
from tests.visitors import Site, site

__all__ = ["site"]


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
    patient = await site.patient(visit)
    await patient.post(f"/v/{visit.locator}/check-in/consents", visit="yes", tool="yes")
    ticket = json.loads((await patient.send("POST", f"/v/{visit.locator}/ticket", {})).text)
    async with site.session.ws_connect(
        f"{site.origin}/ws", headers={"Origin": site.origin}
    ) as socket:
        await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket["ticket"]})
        assert (await socket.receive_json())["type"] == "welcome"

        await note_change(database, visit, kind, datetime.now(UTC))

        async with asyncio.timeout(2):
            while (heard := await socket.receive_json())["type"] != event["type"]:
                pass
    assert event.items() <= heard.items()


async def test_each_change_is_told_once_and_old_ones_are_forgotten(
    site: Site, database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    now = datetime.now(UTC)
    await note_change(database, visit, VisitChangeKind.MOVED, now - timedelta(minutes=2))
    changes = Changes(database, site.app[HUB])
    await changes.start(now)

    assert await changes.run_once(now) == 0
    await note_change(database, visit, VisitChangeKind.MOVED, now)
    assert await changes.run_once(now) == 1
    assert await changes.run_once(now + timedelta(minutes=2)) == 0
    await note_change(database, visit, VisitChangeKind.MOVED, now + timedelta(minutes=2))
    assert await changes.run_once(now + timedelta(minutes=2)) == 1

    successor = Changes(database, site.app[HUB])
    await successor.start(now + timedelta(minutes=2))
    assert await successor.run_once(now + timedelta(minutes=2)) == 1

    await changes.run_once(now + timedelta(hours=2))
    async with database.read(EVERY_ORGANISATION) as session:
        assert await session.scalar(select(func.count()).select_from(VisitChange)) == 0
