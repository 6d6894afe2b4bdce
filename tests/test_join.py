"""The claim of a join link, over HTTP and on both databases."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, Table, select, update

from server.db import EVERY_ORGANISATION, Base, Database
from server.errors import InvalidInput
from server.join.rules import (
    claim_wait_seconds,
    clean_locator,
    is_in_app_browser,
    parse_birth_date,
)
from server.keyring import Keyring
from server.models import AppointmentStatus, Device, Visit, VisitState
from server.sealed import Identity
from tests.conftest import Cast, MakeVisit
from tests.patients import Practice, acts_of, link_of, load_visit, open_practice

TODAY = date(2026, 11, 22)
OTHER_DATE = "13/03/1948"


@pytest.fixture
async def practice(database_url: str, data_dir: Path, keyring: Keyring) -> AsyncIterator[Practice]:
    async with open_practice(database_url, data_dir) as practice:
        yield practice


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


async def dump(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but those that the sequencer writes."""
    async with database.read(EVERY_ORGANISATION) as session:
        return {
            table.name: sorted(
                (tuple(row) for row in await session.execute(select(*columns_of(table)))), key=str
            )
            for table in Base.metadata.sorted_tables
            if table.name not in {"log_head", "summary_head", "visit_summary"}
        }


def columns_of(table: Table) -> list[Column[object]]:
    """All but the numbers that the sequencer gives."""
    return [column for column in table.columns if column.name != "seq"]


async def live_devices(database: Database, visit: Visit) -> list[Device]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(Device).where(Device.visit_id == visit.id).where(Device.ended_at.is_(None))
        )
        return list(rows)


# ---- rules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "12/03/1948", "12031948", "1948-03-12", "12.03.1948", "12-03-1948", "12 03 1948",
        "12/3/1948", " 12/03/1948. ", "19480312", "1948/3/12",
    ],
)  # fmt: skip
def test_birth_date_is_read_as_people_type_it(typed: str) -> None:
    assert parse_birth_date(typed, TODAY) == date(1948, 3, 12)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("12/03/48", "two_digit_year"),
        ("120348", "two_digit_year"),
        ("31/02/1948", "not_a_date"),
        ("12/03/1848", "not_a_date"),
        ("12/03/2048", "not_a_date"),
        ("Rosa", "not_a_date"),
        ("1' OR '1'='1", "not_a_date"),
        ("٠١/٠٢/١٩٤٨", "not_a_date"),
    ],
)
def test_what_is_no_birth_date_is_named(typed: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_birth_date(typed, TODAY)

    assert (caught.value.field, caught.value.reason) == ("birth_date", reason)


@pytest.mark.parametrize(
    "mangled",
    [
        "7k2m9xqp01", "7K2M9XQP01", "7k2m9xqp01.", "7k2m9xqp01)", "7k2m9xqp01#abc",
        "7k2m9xqp01%23abc", "7k2m9xqpO1", "7k2m9xqp0l", "7k2m9xqp01?utm_source=sms",
        "7k2m9xqp01abcdefgh",
    ],
)  # fmt: skip
def test_locator_survives_mail_programs(mangled: str) -> None:
    assert clean_locator(mangled) == "7k2m9xqp01"


def test_waits_grow_but_never_beyond_half_a_minute() -> None:
    now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    waits = [claim_wait_seconds(failed, now, now) for failed in range(40)]

    assert waits == sorted(waits)
    assert sum(waits[:6]) <= 15
    assert max(waits) == 30
    assert claim_wait_seconds(40, now - timedelta(seconds=31), now) == 0


@pytest.mark.parametrize(
    ("user_agent", "is_in_app"),
    [
        ("Mozilla/5.0 (Linux; Android 14; Pixel 7; wv) AppleWebKit/537.36 Chrome/120 Mobile", True),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) AppleWebKit/605 Mobile/15E WhatsApp/2.24", True),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605 Mobile/15E [FBAN/FBIOS;FBAV/440.0]", True),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605 (KHTML, like Gecko) GSA/300 Safari/604", True),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605 Mobile/15E148 Instagram 300.0", True),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605 Mobile/15E148", True),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605 Version/17.0 Mobile/15E Safari/604.1", False),
        ("Mozilla/5.0 (Linux; Android 14; SM-A13) Chrome/120 Mobile Safari/537.36", False),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:120) Gecko/20100101 Firefox/120.0", False),
    ],
)
def test_browsers_inside_other_apps_are_known(user_agent: str, is_in_app: bool) -> None:
    assert is_in_app_browser(user_agent) is is_in_app


# ---- the way in ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["link", "code"])
async def test_link_or_code_with_the_birth_date_opens_the_visit(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring, way: str
) -> None:
    link = await link_of(database, keyring, visit)
    brought = {"secret": link.fragment} if way == "link" else {"code": link.spoken_code}
    telephone = practice.telephone()

    reply = await telephone.claim(visit.locator, **brought)

    assert (reply.status, reply.json) == (200, {"next": f"/v/{visit.locator}/check-in"})
    assert len(await live_devices(database, visit)) == 1
    assert await acts_of(database, visit) == ["link.claimed"]
    step = await telephone.get(f"/v/{visit.locator}/check-in")
    assert step.location == f"/v/{visit.locator}/check-in/who"


async def test_upper_case_everywhere_still_opens(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)

    reply = await practice.telephone().claim(
        visit.locator.upper(), secret=link.fragment.upper() + "."
    )

    assert reply.status == 200


async def test_cookie_belongs_to_one_visit_and_no_script(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)

    reply = await practice.telephone().claim(visit.locator, secret=link.fragment)

    cookie = reply.headers["Set-Cookie"]
    assert cookie.startswith(f"visit-{visit.locator}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


async def test_cookie_is_host_bound_under_tls(
    database_url: str, data_dir: Path, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    async with open_practice(database_url, data_dir, "https://visite.example.it") as practice:
        reply = await practice.telephone().claim(visit.locator, secret=link.fragment)

    cookie = reply.headers["Set-Cookie"]
    assert cookie.startswith(f"__Host-visit-{visit.locator}=")
    assert "Secure" in cookie


async def test_same_browser_claims_again_freely(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    telephone = practice.telephone()
    await telephone.claim(visit.locator, secret=link.fragment)

    again = await telephone.claim(visit.locator, secret=link.fragment)

    assert again.status == 200
    assert len(await live_devices(database, visit)) == 1
    page = await telephone.get(f"/v/{visit.locator}")
    assert page.location == f"/v/{visit.locator}/check-in#main"


async def test_second_device_needs_the_code_and_takes_over(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    first, second = practice.telephone(), practice.telephone()
    await first.claim(visit.locator, secret=link.fragment)

    refused = await second.claim(visit.locator, secret=link.fragment)
    taken = await second.claim(visit.locator, secret=link.fragment, code=link.spoken_code)

    assert (refused.status, refused.json["code"]) == (403, "other_device")
    assert taken.status == 200
    assert len(await live_devices(database, visit)) == 1
    assert (await first.get(f"/v/{visit.locator}/check-in")).location == f"/v/{visit.locator}"
    assert (await load_visit(database, visit)).failed_claims == 0
    assert await acts_of(database, visit) == ["link.claimed", "link.claimed", "device.replaced"]


async def test_two_first_devices_at_once_leave_one_live(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)

    replies = await asyncio.gather(
        *(practice.telephone().claim(visit.locator, secret=link.fragment) for _ in range(8))
    )

    assert [reply.status for reply in replies].count(200) == 1
    assert len(await live_devices(database, visit)) == 1


async def test_without_a_birth_date_in_the_booking_the_code_is_needed(
    practice: Practice, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana, identity=Identity(given_name="Ada", family_name="Neri"))
    link = await link_of(database, keyring, visit)
    telephone = practice.telephone()

    by_link = await telephone.claim(visit.locator, secret=link.fragment)
    by_code = await telephone.claim(visit.locator, code=link.code)

    assert (by_link.status, by_link.json["code"]) == (403, "code_needed")
    assert by_code.status == 200


# ---- wrong answers ---------------------------------------------------------------------


async def test_wrong_secret_wrong_date_and_unknown_locator_answer_alike(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    other = await link_of(database, keyring, visit, version=7)
    telephone = practice.telephone()

    replies = [
        await telephone.claim(visit.locator, secret=other.fragment),
        await telephone.claim(visit.locator, secret=link.fragment, birth_date=OTHER_DATE),
        await telephone.claim("0123456789", secret=link.fragment),
    ]

    bodies = [{**reply.json, "id": ""} for reply in replies]
    assert bodies == [{"code": "not_matched", "id": ""}] * 3
    assert {reply.status for reply in replies} == {403}
    assert await live_devices(database, visit) == []


async def test_wrong_code_is_wrong_also_beside_a_right_link(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)

    reply = await practice.telephone().claim(visit.locator, secret=link.fragment, code="0000-0000")

    assert reply.json["code"] == "not_matched"


async def test_malformed_answers_cost_no_attempt(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    right = {"locator": visit.locator, "secret": link.fragment, "birth_date": OTHER_DATE}
    cases: list[tuple[dict[str, object], str]] = [
        ({"secret": "cut"}, "incomplete"),
        ({"secret": ""}, "no_code"),
        ({"code": "7K2M"}, "code_incomplete"),
        ({"birth_date": "12/03/48"}, "two_digit_year"),
        ({"birth_date": "junk"}, "not_a_date"),
        ({"birth_date": ""}, "empty"),
        ({"locator": ""}, "no_locator"),
        ({"birth_date": "1" * 5000}, "malformed"),
        ({"secret": 7}, "malformed"),
    ]
    telephone, accept = practice.telephone(), {"Accept": "application/json"}

    replies = [
        await telephone.send("POST", "/api/join", json=right | changed, headers=accept)
        for changed, _reason in cases
    ]

    assert {reply.status for reply in replies} == {400}
    assert [reply.json["reason"] for reply in replies] == [reason for _changed, reason in cases]
    assert (await load_visit(database, visit)).failed_claims == 0


async def test_failures_slow_and_never_revoke(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    robot = practice.telephone()

    statuses = [
        (await robot.claim(visit.locator, secret=link.fragment, birth_date=OTHER_DATE)).status
        for _ in range(10)
    ]
    slowed = await robot.claim(visit.locator, secret=link.fragment)

    assert statuses == [403, 403, *[429] * 8]
    assert slowed.json["code"] == "too_many_attempts"
    assert 0 < slowed.json["wait_seconds"] <= 30
    practice.clock.move(seconds=slowed.json["wait_seconds"])
    assert (await robot.claim(visit.locator, secret=link.fragment)).status == 200
    assert (await load_visit(database, visit)).failed_claims == 0
    assert await acts_of(database, visit) == ["link.claim_failed"] * 2 + ["link.claimed"]


async def test_after_five_failures_the_page_shows_the_desk(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    telephone = practice.telephone()
    hidden = 'data-hook="phone-big" hidden'
    assert hidden in (await telephone.get(f"/v/{visit.locator}")).text

    for _ in range(5):
        await telephone.claim(visit.locator, secret=link.fragment, birth_date=OTHER_DATE)
        practice.clock.move(seconds=31)

    assert hidden not in (await telephone.get(f"/v/{visit.locator}")).text


async def test_many_failures_slow_and_never_shut_the_right_person_out(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    stranger, patient = practice.telephone(), practice.telephone()
    for _ in range(25):
        await stranger.claim(visit.locator, secret=link.fragment, birth_date=OTHER_DATE)
        practice.clock.move(seconds=31)

    assert (await patient.claim(visit.locator, secret=link.fragment)).status == 200


async def test_wrong_secrets_do_not_slow_the_right_person(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    other = await link_of(database, keyring, visit, version=7)
    stranger, patient = practice.telephone(), practice.telephone()

    replies = [await stranger.claim(visit.locator, secret=other.fragment) for _ in range(8)]

    assert {reply.json["code"] for reply in replies} == {"not_matched"}
    assert (await load_visit(database, visit)).failed_claims == 0
    assert (await patient.claim(visit.locator, secret=link.fragment)).status == 200


async def test_parallel_guesses_are_each_counted(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    robot = practice.telephone()

    replies = await asyncio.gather(
        *(
            robot.claim(visit.locator, secret=link.fragment, birth_date=f"{day:02}/04/1948")
            for day in range(1, 25)
        )
    )

    looked_at = [reply.status for reply in replies].count(403)
    assert looked_at == (await load_visit(database, visit)).failed_claims <= 2


async def test_one_network_is_slowed_whatever_links_it_tries(practice: Practice) -> None:
    robot = practice.telephone(**{"X-Forwarded-For": "1.1.1.1, 203.0.113.9"})
    secret = "0" * 27

    statuses = [(await robot.claim(f"{number:010}", secret=secret)).status for number in range(62)]
    neighbour = practice.telephone(**{"X-Forwarded-For": "203.0.113.77"})
    stranger = practice.telephone(**{"X-Forwarded-For": "198.51.100.1"})

    assert statuses == [403] * 60 + [429] * 2
    assert (await neighbour.claim("0123456789", secret=secret)).status == 429
    assert (await stranger.claim("0123456789", secret=secret)).status == 403


# ---- the life of the link --------------------------------------------------------------


async def test_revoked_link_is_recognised_and_costs_nothing(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    old = await link_of(database, keyring, visit)
    first, later = practice.telephone(), practice.telephone()
    await first.claim(visit.locator, secret=old.fragment)
    async with database.begin(visit.organisation_id) as session:
        await session.execute(update(Visit).values(link_version=2))

    by_old = await later.claim(visit.locator, secret=old.fragment, birth_date=OTHER_DATE)
    new = await link_of(database, keyring, await load_visit(database, visit))
    by_new = await later.claim(visit.locator, secret=new.fragment)

    assert (by_old.status, by_old.json["code"]) == (410, "link_revoked")
    assert (await first.get(f"/v/{visit.locator}/check-in")).location == f"/v/{visit.locator}"
    assert by_new.status == 200


@pytest.mark.parametrize(
    ("days", "state", "status", "words"),
    [
        (1, VisitState.CANCELLED, AppointmentStatus.BOOKED, "Questa visita è stata annullata"),
        (1, VisitState.BOOKED, AppointmentStatus.CANCELLED, "Questa visita è stata annullata"),
        (-2, VisitState.BOOKED, AppointmentStatus.BOOKED, "è passato"),
        (-60, VisitState.ENDED, AppointmentStatus.BOOKED, "Questa visita è conclusa"),
    ],
)
async def test_a_link_that_opens_nothing_says_why(
    practice: Practice,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    days: int,
    state: VisitState,
    status: AppointmentStatus,
    words: str,
) -> None:
    start = datetime.now(UTC) + timedelta(days=days)
    visit = await make_visit(cast.toscana, start=start, state=state)
    async with database.begin(visit.organisation_id) as session:
        appointment = await session.merge(visit.appointment)
        appointment.status = status
    link = await link_of(database, keyring, visit)
    telephone = practice.telephone()

    page = await telephone.get(f"/v/{visit.locator}")
    claim = await telephone.claim(visit.locator, secret=link.fragment)

    assert words in page.text
    assert "claim-birth-date" not in page.text
    assert "055" in page.text
    assert claim.json.get("code") == "link_revoked" or days == -2


async def test_before_the_claim_the_page_names_the_doctor_and_no_patient(
    practice: Practice, visit: Visit
) -> None:
    page = await practice.telephone().get(f"/v/{visit.locator}")

    assert "La sua visita con la dott.ssa Anna Bianchi" in page.text
    assert "Bertolucci" not in page.text
    assert "Rosa" not in page.text


async def test_unknown_locator_shows_a_form_like_any_other(practice: Practice) -> None:
    page = await practice.telephone().get("/v/0123456789")

    assert page.status == 200
    assert 'data-testid="claim-birth-date"' in page.text


@pytest.mark.parametrize("path", ["/v/{}/", "/V/{}", "/v/{}.", "/v/{}%23abc", "/v/{}%2523abc"])
async def test_mangled_addresses_still_find_the_visit(
    practice: Practice, visit: Visit, path: str
) -> None:
    page = await practice.telephone().get(path.format(visit.locator))

    assert "dott.ssa Anna Bianchi" in page.text
    assert f'"locator": "{visit.locator}"' in page.text


# ---- what must not work ----------------------------------------------------------------


async def test_reading_never_writes(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    before = await dump(database)
    telephone = practice.telephone()

    for method in ("GET", "HEAD", "OPTIONS", "PROPFIND"):
        for path in (f"/v/{visit.locator}", "/v", "/api/join", f"/v/{visit.locator}/check-in"):
            await telephone.send(method, path, params={"secret": link.fragment})

    assert await dump(database) == before


async def test_plain_forms_and_other_sites_cannot_claim(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> None:
    link = await link_of(database, keyring, visit)
    fields = {"locator": visit.locator, "secret": link.fragment, "birth_date": "12/03/1948"}

    form = await practice.telephone().post("/api/join", **fields)
    other_site = await practice.telephone(
        **{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    ).claim(visit.locator, secret=link.fragment)

    assert (form.status, other_site.status) == (400, 403)
    assert await live_devices(database, visit) == []


async def test_a_cookie_opens_nothing_of_another_visit(
    practice: Practice, visit: Visit, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring,
) -> None:  # fmt: skip
    other = await make_visit(cast.emilia)
    link = await link_of(database, keyring, visit)
    telephone = practice.telephone()
    reply = await telephone.claim(visit.locator, secret=link.fragment)
    token = reply.headers["Set-Cookie"].partition("=")[2].partition(";")[0]

    replayed = await telephone.send(
        "GET",
        f"/v/{other.locator}/check-in",
        headers={"Cookie": f"visit-{other.locator}={token}"},
    )

    assert replayed.location == f"/v/{other.locator}"


async def test_nothing_secret_is_stored_or_logged(
    practice: Practice,
    visit: Visit,
    database: Database,
    keyring: Keyring,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    link = await link_of(database, keyring, visit)
    telephone = practice.telephone()
    await telephone.get(f"/v/{visit.locator}%23{link.fragment}")
    await telephone.claim(visit.locator, secret=link.fragment, birth_date=OTHER_DATE)
    reply = await telephone.claim(visit.locator, secret=link.fragment, code=link.code)

    token = reply.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    kept = str(await dump(database)) + caplog.text
    for secret in (link.secret, link.code, token, OTHER_DATE, "1948-03-1", "Bertolucci"):
        assert secret not in kept
