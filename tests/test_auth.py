"""Sessions of staff and devices of patients: who is let in, and for how long."""

from __future__ import annotations

from datetime import datetime, timedelta
from http.cookies import SimpleCookie

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from sqlalchemy import select, update

from server.auth import (
    SESSION_IDLE,
    SESSION_LONGEST,
    device_cookie,
    find_session,
    hash_token,
    session_cookie,
    set_cookie,
    start_session,
)
from server.db import EVERY_ORGANISATION, Database
from server.models import Device, User, UserSession
from server.services import SETTINGS
from server.settings import Settings
from tests.conftest import Cast, MakeVisit
from tests.visitors import Site, site

__all__ = ["site"]

NOW = datetime.fromisoformat("2026-11-26T09:40:00+00:00")
MINUTE = timedelta(minutes=1)


async def test_token_is_kept_as_a_hash_only(database: Database, cast: Cast) -> None:
    async with database.begin(cast.toscana.organisation.id) as session:
        token = await start_session(session, cast.toscana.desk, NOW)
        row = await session.get(UserSession, hash_token(token))

    assert row is not None
    assert token not in repr(vars(row))
    assert len(token) >= 43


async def test_session_finds_its_user(database: Database, cast: Cast) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        token = await start_session(session, cast.toscana.desk, NOW)
        found = await find_session(session, token, NOW)

    assert found is not None
    assert found.user.id == cast.toscana.desk.id


@pytest.mark.parametrize("token", [None, "", "x", "A" * 43, "é", "a" * 5000])
async def test_wrong_token_finds_nobody(database: Database, cast: Cast, token: str | None) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        await start_session(session, cast.toscana.desk, NOW)

        assert await find_session(session, token, NOW) is None


async def test_session_ends_when_idle_or_old(database: Database, cast: Cast) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        token = await start_session(session, cast.toscana.desk, NOW)
        is_open = [
            await find_session(session, token, NOW + age) is not None
            for age in (SESSION_IDLE - MINUTE, SESSION_IDLE + MINUTE)
        ]
        last_moment = NOW + SESSION_LONGEST - MINUTE
        await session.execute(update(UserSession).values(seen_at=last_moment))
        is_open += [
            await find_session(session, token, NOW + age) is not None
            for age in (SESSION_LONGEST - MINUTE, SESSION_LONGEST + MINUTE)
        ]

    assert is_open == [True, False, True, False]


async def test_disabled_user_is_out_at_once(database: Database, cast: Cast, site: Site) -> None:
    desk = await site.staff(cast.toscana.desk)
    assert (await desk.get("/desk")).status == 200

    async with database.begin(cast.toscana.organisation.id) as session:
        await session.execute(
            update(User).where(User.id == cast.toscana.desk.id).values(is_disabled=True)
        )

    assert (await desk.get("/desk")).location == "/login"


async def test_password_without_second_factor_opens_nothing(
    database: Database, cast: Cast, site: Site
) -> None:
    desk = await site.staff(cast.toscana.desk)
    async with database.begin(cast.toscana.organisation.id) as session:
        await session.execute(update(UserSession).values(is_second_factor_done=False))

    assert (await desk.get("/desk")).location == "/login"


async def test_use_keeps_a_session_alive(database: Database, cast: Cast, site: Site) -> None:
    desk = await site.staff(cast.toscana.desk)
    async with database.begin(EVERY_ORGANISATION) as session:
        [row] = await session.scalars(select(UserSession))
        row.seen_at -= 20 * MINUTE
        before = row.seen_at

    await desk.get("/desk")

    async with database.read(EVERY_ORGANISATION) as session:
        [row] = await session.scalars(select(UserSession))
    assert row.seen_at > before


async def test_logging_out_ends_the_session(cast: Cast, site: Site) -> None:
    desk = await site.staff(cast.toscana.desk)

    await desk.post("/logout")

    assert (await desk.get("/desk")).location == "/login"


async def test_ended_device_is_out(
    database: Database, cast: Cast, make_visit: MakeVisit, site: Site
) -> None:
    visit = await make_visit(cast.toscana)
    patient = await site.patient(visit)
    assert (await patient.get(f"/v/{visit.locator}/device-test")).status == 200

    async with database.begin(visit.organisation_id) as session:
        await session.execute(update(Device).values(ended_at=NOW))

    assert (await patient.get(f"/v/{visit.locator}/device-test")).status == 303


@pytest.mark.parametrize(
    ("base_url", "prefix"), [("https://x.it", "__Host-"), ("http://localhost", "")]
)
def test_cookies_are_strict_and_bound_to_the_host_on_tls(base_url: str, prefix: str) -> None:
    app = web.Application()
    app[SETTINGS] = Settings(base_url=base_url)
    request = make_mocked_request("GET", "/", app=app)
    response = web.Response()

    set_cookie(request, response, session_cookie(request), "token", MINUTE)
    set_cookie(request, response, device_cookie(request, "abc"), "token", MINUTE)

    cookies: SimpleCookie = response.cookies
    assert set(cookies) == {f"{prefix}session", f"{prefix}visit-abc"}
    for cookie in cookies.values():
        assert cookie["httponly"] is True
        assert cookie["samesite"] == "Strict"
        assert cookie["path"] == "/"
        assert cookie["domain"] == ""
        assert bool(cookie["secure"]) is base_url.startswith("https")
