"""The code for a second device (``security.md`` J7 to J9), over HTTP and on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from server.db import Database
from server.joinlink import JoinLink
from server.keyring import Keyring
from server.models import Device, DispatchState, MessageKind, Organisation, Phase, Visit
from server.sealed import Identity
from tests.conftest import ROSA, Cast, MakeVisit
from tests.patients import (
    Practice,
    Telephone,
    acts_of,
    link_of,
    load_visit,
    messages_of,
    open_practice,
    sent_code_of,
)

WRONG = ("000000", "000001")


@pytest.fixture
async def practice(database_url: str, data_dir: Path, keyring: Keyring) -> AsyncIterator[Practice]:
    async with open_practice(database_url, data_dir) as practice:
        yield practice


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


@pytest.fixture
async def link(database: Database, keyring: Keyring, visit: Visit) -> JoinLink:
    return await link_of(database, keyring, visit)


@pytest.fixture
async def first(practice: Practice, visit: Visit, link: JoinLink) -> Telephone:
    """The telephone that holds the visit."""
    telephone = practice.telephone()
    await telephone.claim(visit.locator, secret=link.fragment)
    return telephone


@pytest.fixture
async def second(practice: Practice, visit: Visit, link: JoinLink, first: Telephone) -> Telephone:
    """Another one, which has asked for a code."""
    telephone = practice.telephone()
    asked = await telephone.ask_code(visit.locator, secret=link.fragment)
    assert asked.json == {"is_sent": True}
    return telephone


async def count_devices(database: Database, visit: Visit) -> int:
    async with database.read(visit.organisation_id) as session:
        counted = select(func.count()).select_from(Device).where(Device.ended_at.is_(None))
        return await session.scalar(counted) or 0


def wrong_code(code: str) -> str:
    return WRONG[code == WRONG[0]]


# ---- the way ---------------------------------------------------------------------------


async def test_second_device_comes_in_with_the_sent_code_and_takes_over(
    practice: Practice, visit: Visit, link: JoinLink, first: Telephone,
    database: Database, keyring: Keyring,
) -> None:  # fmt: skip
    second = practice.telephone()
    refused = await second.claim(visit.locator, secret=link.fragment)
    asked = await second.ask_code(visit.locator, secret=link.fragment)
    code = await sent_code_of(database, keyring, visit)
    taken = await second.claim(visit.locator, secret=link.fragment, code=f"{code[:3]} {code[3:]}")

    assert (refused.status, refused.json["code"]) == (403, "other_device")
    assert (asked.status, asked.json) == (200, {"is_sent": True})
    assert (taken.status, taken.json) == (200, {"next": f"/v/{visit.locator}/check-in"})
    assert await count_devices(database, visit) == 1
    assert (await first.get(f"/v/{visit.locator}/check-in")).location == f"/v/{visit.locator}"
    assert await acts_of(database, visit) == [
        "link.claimed", "device.code_sent", "link.claimed", "device.replaced",
    ]  # fmt: skip
    left = await load_visit(database, visit)
    assert (left.device_code_issued_at, left.failed_claims) == (None, 0)


async def test_first_device_is_told_and_closed(
    practice: Practice, visit: Visit, link: JoinLink, first: Telephone,
    database: Database, keyring: Keyring,
) -> None:  # fmt: skip
    here, json_only = f"/v/{visit.locator}", {"Accept": "application/json"}
    await first.post(f"{here}/check-in/consents", visit="yes", tool="yes")
    await first.post(f"{here}/check-in/place", address="Via Roma 1")
    await first.post(f"{here}/waiting-room")
    ticket = (await first.send("POST", f"{here}/ticket", json={}, headers=json_only)).json["ticket"]
    second = practice.telephone()

    async with first.session.ws_connect("/ws") as socket:
        await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket})
        assert (await socket.receive_json())["type"] == "welcome"
        await second.ask_code(visit.locator, secret=link.fragment)
        code = await sent_code_of(database, keyring, visit)
        await second.claim(visit.locator, secret=link.fragment, code=code)
        async with asyncio.timeout(2):
            frames = [json.loads(frame.data) async for frame in socket]

    assert (frames[-1]["type"], frames[-1]["reason"]) == ("bye", "replaced")
    assert (await second.get(f"{here}/check-in")).location == f"{here}/room"


async def test_the_message_keeps_the_moment_and_not_the_code(
    second: Telephone, visit: Visit, database: Database, keyring: Keyring
) -> None:
    [message] = await messages_of(database, visit, MessageKind.DEVICE_CODE)

    assert message.state is DispatchState.QUEUED
    issued_at = (await load_visit(database, visit)).device_code_issued_at
    assert issued_at is not None
    assert json.loads(message.parameters) == {"issued_at": issued_at.isoformat()}
    assert message.occasion == issued_at.isoformat()
    assert await sent_code_of(database, keyring, visit) not in message.parameters


async def test_cookie_of_the_code_is_for_this_browser_and_ten_minutes(
    practice: Practice, first: Telephone, visit: Visit, link: JoinLink
) -> None:
    asked = await practice.telephone().ask_code(visit.locator, secret=link.fragment)

    cookie = asked.headers["Set-Cookie"].split("; ")
    assert cookie[0].startswith(f"code-{visit.locator}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=600"} <= set(cookie)


async def test_a_browser_that_needs_no_code_gets_none(
    practice: Practice, first: Telephone, visit: Visit, link: JoinLink, database: Database
) -> None:
    asked = await first.ask_code(visit.locator, secret=link.fragment)

    assert asked.json == {"is_sent": False}
    assert await messages_of(database, visit, MessageKind.DEVICE_CODE) == []
    assert (await load_visit(database, visit)).device_code_issued_at is None


async def test_the_spoken_code_still_opens(second: Telephone, visit: Visit, link: JoinLink) -> None:
    taken = await second.claim(visit.locator, secret=link.fragment, code=link.spoken_code)

    assert taken.status == 200


# ---- who gets none ---------------------------------------------------------------------


async def test_only_link_and_birth_date_together_send_a_code(
    practice: Practice, first: Telephone, visit: Visit, link: JoinLink,
    database: Database, keyring: Keyring,
) -> None:  # fmt: skip
    other = await link_of(database, keyring, visit, version=7)
    stranger = practice.telephone()

    replies = [
        await stranger.ask_code(visit.locator, secret=other.fragment),
        await stranger.ask_code(visit.locator, secret=link.fragment, birth_date="13/03/1948"),
        await stranger.ask_code("0123456789", secret=link.fragment),
    ]
    without_secret = await stranger.ask_code(visit.locator)
    by_spoken_code = await stranger.ask_code(visit.locator, code=link.code)

    assert [reply.json["code"] for reply in (*replies, by_spoken_code)] == ["not_matched"] * 4
    assert without_secret.json["reason"] == "no_code"
    assert await messages_of(database, visit, MessageKind.DEVICE_CODE) == []


@pytest.mark.parametrize(
    "identity",
    [
        Identity(given_name="Ada", family_name="Neri", birth_date=ROSA.birth_date),
        Identity(given_name="Ada", birth_date=ROSA.birth_date, phone="chiedere alla figlia"),
    ],
)
async def test_without_an_address_the_patient_calls_the_desk(
    practice: Practice, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring,
    identity: Identity,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=identity)
    link = await link_of(database, keyring, visit)
    await practice.telephone().claim(visit.locator, secret=link.fragment)
    second = practice.telephone()

    claimed = await second.claim(visit.locator, secret=link.fragment)
    asked = await second.ask_code(visit.locator, secret=link.fragment)

    assert claimed.json["code"] == asked.json["code"] == "other_device_call"
    assert await messages_of(database, visit, MessageKind.DEVICE_CODE) == []


async def test_in_the_test_phase_no_code_is_promised(
    practice: Practice, first: Telephone, visit: Visit, link: JoinLink, database: Database
) -> None:
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(Organisation, visit.organisation_id)).phase = Phase.COLLAUDO

    asked = await practice.telephone().ask_code(visit.locator, secret=link.fragment)

    assert asked.json["code"] == "other_device_call"
    assert await messages_of(database, visit, MessageKind.DEVICE_CODE) == []


# ---- how often -------------------------------------------------------------------------


async def test_one_code_a_minute_and_three_an_hour(
    practice: Practice, second: Telephone, visit: Visit, link: JoinLink, database: Database
) -> None:
    soon = await second.ask_code(visit.locator, secret=link.fragment)
    statuses = []
    for _ in range(3):
        practice.clock.move(seconds=61)
        reply = await second.ask_code(visit.locator, secret=link.fragment)
        statuses.append(reply.status)

    assert (soon.status, soon.json["code"]) == (429, "too_many_attempts")
    assert 50 < soon.json["wait_seconds"] <= 60
    assert statuses == [200, 200, 429]
    assert len(await messages_of(database, visit, MessageKind.DEVICE_CODE)) == 3
    practice.clock.move(hours=1)
    assert (await second.ask_code(visit.locator, secret=link.fragment)).status == 200
    assert (await load_visit(database, visit)).failed_claims == 0


async def test_parallel_requests_send_one_code(
    practice: Practice, first: Telephone, visit: Visit, link: JoinLink, database: Database
) -> None:
    telephone = practice.telephone()

    replies = await asyncio.gather(
        *(telephone.ask_code(visit.locator, secret=link.fragment) for _ in range(10))
    )

    assert [reply.status for reply in replies].count(200) == 1
    assert len(await messages_of(database, visit, MessageKind.DEVICE_CODE)) == 1


# ---- J8: once, ten minutes, in this browser ----------------------------------------------


async def test_fifty_parallel_submits_open_once(
    second: Telephone, visit: Visit, link: JoinLink, database: Database, keyring: Keyring
) -> None:
    code = await sent_code_of(database, keyring, visit)

    replies = await asyncio.gather(
        *(second.claim(visit.locator, secret=link.fragment, code=code) for _ in range(50))
    )

    assert [reply.status for reply in replies].count(200) == 1
    assert {reply.status for reply in replies} <= {200, 403, 429}
    assert await count_devices(database, visit) == 1
    assert (await acts_of(database, visit)).count("device.replaced") == 1


async def test_a_code_works_once(
    practice: Practice, second: Telephone, visit: Visit, link: JoinLink,
    database: Database, keyring: Keyring,
) -> None:  # fmt: skip
    code = await sent_code_of(database, keyring, visit)
    cookies = {
        cookie.key: cookie.value
        for cookie in second.session.cookie_jar
        if cookie.key.startswith("code-")
    }
    await second.claim(visit.locator, secret=link.fragment, code=code)
    again = practice.telephone()
    again.session.cookie_jar.update_cookies(cookies)

    replayed = await again.claim(visit.locator, secret=link.fragment, code=code)

    assert (replayed.status, replayed.json["code"]) == (403, "code_over")
    assert await count_devices(database, visit) == 1


async def test_a_code_works_in_the_browser_that_asked_only(
    practice: Practice, second: Telephone, visit: Visit, link: JoinLink,
    database: Database, keyring: Keyring,
) -> None:  # fmt: skip
    code = await sent_code_of(database, keyring, visit)
    thief = practice.telephone()

    stolen = await thief.claim(visit.locator, secret=link.fragment, code=code)

    assert (stolen.status, stolen.json["code"]) == (403, "code_over")
    taken = await second.claim(visit.locator, secret=link.fragment, code=code)
    assert taken.status == 200


async def test_a_new_code_ends_the_one_before(
    practice: Practice, second: Telephone, visit: Visit, link: JoinLink,
    database: Database, keyring: Keyring,
) -> None:  # fmt: skip
    old = await sent_code_of(database, keyring, visit)
    practice.clock.move(seconds=61)
    await second.ask_code(visit.locator, secret=link.fragment)
    new = await sent_code_of(database, keyring, visit)

    replies = [
        await second.claim(visit.locator, secret=link.fragment, code=code) for code in (old, new)
    ]

    assert [reply.status for reply in replies] == [403, 200]


@pytest.mark.parametrize(
    ("age", "status"), [(timedelta(minutes=9, seconds=59), 200), (timedelta(minutes=10), 403)]
)
async def test_a_code_lives_ten_minutes(
    practice: Practice, second: Telephone, visit: Visit, link: JoinLink, database: Database,
    keyring: Keyring, age: timedelta, status: int,
) -> None:  # fmt: skip
    code = await sent_code_of(database, keyring, visit)
    issued_at = (await load_visit(database, visit)).device_code_issued_at
    assert issued_at is not None
    practice.clock.now = issued_at + age

    reply = await second.claim(visit.locator, secret=link.fragment, code=code)

    assert reply.status == status


async def test_after_five_wrong_tries_the_right_code_is_too_late(
    second: Telephone, visit: Visit, link: JoinLink, database: Database, keyring: Keyring
) -> None:
    code = await sent_code_of(database, keyring, visit)

    tries = [
        await second.claim(visit.locator, secret=link.fragment, code=wrong_code(code))
        for _ in range(5)
    ]
    late = await second.claim(visit.locator, secret=link.fragment, code=code)

    assert [reply.json["code"] for reply in tries] == ["code_wrong"] * 5
    assert (late.status, late.json["code"]) == (403, "code_over")
    assert (await acts_of(database, visit)).count("link.claim_failed") == 5


async def test_parallel_guesses_get_five_tries(
    second: Telephone, visit: Visit, link: JoinLink, database: Database, keyring: Keyring
) -> None:
    code = await sent_code_of(database, keyring, visit)
    guesses = [f"{number:06}" for number in range(30) if f"{number:06}" != code]

    replies = await asyncio.gather(
        *(second.claim(visit.locator, secret=link.fragment, code=guess) for guess in guesses)
    )

    looked_at = [reply for reply in replies if reply.json["code"] == "code_wrong"]
    assert len(looked_at) == (await load_visit(database, visit)).device_code_attempts <= 5


async def test_asking_again_looks_at_no_code(
    practice: Practice, second: Telephone, visit: Visit, link: JoinLink, database: Database
) -> None:
    practice.clock.move(seconds=61)

    asked = await second.ask_code(visit.locator, secret=link.fragment, code="000000")

    assert asked.json == {"is_sent": True}
    assert (await load_visit(database, visit)).device_code_attempts == 0
    assert "link.claim_failed" not in await acts_of(database, visit)


async def test_a_code_without_the_link_is_no_code(
    second: Telephone, visit: Visit, database: Database, keyring: Keyring
) -> None:
    code = await sent_code_of(database, keyring, visit)

    reply = await second.claim(visit.locator, code=code)

    assert (reply.status, reply.json["reason"]) == (400, "code_incomplete")


async def test_a_wrong_birth_date_beside_the_code_opens_nothing(
    second: Telephone, visit: Visit, link: JoinLink, database: Database, keyring: Keyring
) -> None:
    code = await sent_code_of(database, keyring, visit)

    reply = await second.claim(
        visit.locator, secret=link.fragment, code=code, birth_date="13/03/1948"
    )

    assert reply.json["code"] == "not_matched"
    assert (await load_visit(database, visit)).device_code_attempts == 0
