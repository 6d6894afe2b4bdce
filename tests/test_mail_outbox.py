"""The page of the demonstration that shows what would leave, and the same as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import update

from server.app import create_app
from server.auth import register
from server.db import Database
from server.demo import outboxpage
from server.joinlink import derive_link
from server.keyring import Keyring
from server.mail.delivery import keep_everything
from server.models import MessageKind, Phase, Visit
from server.settings import Settings
from tests.conftest import Cast, MakeVisit
from tests.post import BASE_URL, PostOffice
from tests.test_mail_dispatch import booked, rosa

JSON = {"Accept": "application/json"}


@pytest.fixture
async def office(database: Database, keyring: Keyring, cast: Cast) -> PostOffice:
    running = PostOffice(database, keyring, keep_everything())
    await running.set_phase(Phase.ATTIVO)
    return running


@pytest.fixture
async def client(data_dir: Path, database_url: str, keyring: Keyring) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    """A browser at a served demonstration."""
    settings = Settings(data_dir=data_dir, database_url=database_url, base_url=BASE_URL)
    app = create_app(settings, mail=keep_everything())
    register(app, outboxpage.ROUTES)
    async with TestClient(TestServer(app)) as running:
        yield running


async def test_the_outbox_shows_what_would_leave_the_newest_first(
    office: PostOffice,
    make_visit: MakeVisit,
    cast: Cast,
    keyring: Keyring,
    client: TestClient,  # type: ignore[type-arg]
) -> None:
    visit = await booked(office, make_visit, cast, identity=rosa(email=""))
    async with office.database.begin(visit.organisation_id) as session:
        key = await keyring.load_secret(session, visit.organisation_id, "join")
        await session.execute(update(Visit).where(Visit.id == visit.id).values(late_minutes=15))
    link = f"{BASE_URL}/v/{visit.locator}#{derive_link(key, visit.id, 1).fragment}"
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await office.send_due()
    office.now += timedelta(seconds=1)
    await office.queue(visit, MessageKind.LATE, occasion="1")
    await office.send_due()

    answer = await client.get("/demo/outbox", headers=JSON)
    page = await client.get("/demo/outbox")

    late, invitation = await answer.json()
    assert (late["kind"], invitation["kind"]) == ("late", "invitation")
    assert invitation.keys() == {
        "to", "subject", "text", "booking_code", "kind", "channel", "sent_at",
    }  # fmt: skip
    assert invitation["to"] == "+393331234567"
    assert invitation["booking_code"] == visit.appointment.booking_code
    assert link in invitation["text"].split()
    text = unescape(await page.text())
    assert f'<a href="{link}">{link}</a>' in text
    assert text.index("Ritardo") < text.index("Invito")


async def test_an_email_is_shown_with_its_subject_and_an_empty_outbox_says_so(
    office: PostOffice,
    make_visit: MakeVisit,
    cast: Cast,
    client: TestClient,  # type: ignore[type-arg]
) -> None:
    empty = await (await client.get("/demo/outbox")).text()
    visit = await booked(office, make_visit, cast)
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await office.send_due()

    [message] = await (await client.get("/demo/outbox", headers=JSON)).json()
    page = await (await client.get("/demo/outbox")).text()

    assert "Ancora nessun messaggio." in empty
    assert message["subject"].startswith("La sua visita in video")
    assert message["channel"] == "email"
    assert "Con il file per il calendario" in page
    assert "Bertolucci" not in page
