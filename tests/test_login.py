"""The way in and out of staff: password, slowing down, second factor, language."""

from __future__ import annotations

import asyncio
import json
import re
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pyotp
import pytest
from sqlalchemy import select, update

from server.db import EVERY_ORGANISATION, Database
from server.errors import TooManyAttempts
from server.login import REFUSAL_SECONDS
from server.models import LogEntry, Organisation, User, UserSession
from server.throttle import FORGOTTEN_AFTER, FREE_ATTEMPTS, LONGEST_WAIT, Failures, Throttle
from server.totp import find_accepted, new_second_factor
from tests.conftest import PASSWORD, Cast
from tests.visitors import Answer, Site, Visitor, site

__all__ = ["site"]

NOW = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)


async def log_in(visitor: Visitor, username: str, password: str = PASSWORD) -> Answer:
    """Posts the form; keeps the session cookie that comes back."""
    answer = await visitor.post("/login", username=username, password=password)
    keep_cookie(visitor, answer)
    return answer


def keep_cookie(visitor: Visitor, answer: Answer) -> None:
    found = re.match(r"session=([^;]+)", answer.headers.get("Set-Cookie", ""))
    if found:
        visitor.cookies["session"] = found[1]


async def logged_acts(database: Database) -> list[str]:
    async with database.read(EVERY_ORGANISATION) as session:
        entries = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
        return [json.loads(entry)["action"] for entry in entries]


async def require_totp(database: Database, cast: Cast) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        await session.execute(
            update(Organisation)
            .where(Organisation.id == cast.toscana.organisation.id)
            .values(is_totp_required=True)
        )


# ---- password --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "landing"),
    [
        ("clinician", "/agenda"),
        ("desk", "/desk"),
        ("manager", "/sessions"),
        ("auditor", "/sessions"),
        ("administrator", "/admin"),
    ],
)
async def test_each_role_lands_on_its_page(
    site: Site, cast: Cast, database: Database, role: str, landing: str
) -> None:
    visitor = site.stranger

    answer = await log_in(visitor, getattr(cast.toscana, role).username)

    assert (answer.status, answer.location) == (303, landing)
    assert (await visitor.get("/login")).location == landing
    assert await logged_acts(database) == ["login.done"]


async def test_the_name_is_found_in_any_letters(site: Site, cast: Cast) -> None:
    answer = await log_in(site.stranger, f" {cast.toscana.desk.username.upper()} ")

    assert answer.location == "/desk"


async def test_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site, cast: Cast) -> None:
    answer = await log_in(site.stranger, cast.toscana.desk.username)

    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Strict" in answer.headers["Set-Cookie"]


async def test_an_unknown_name_answers_like_a_wrong_password(
    site: Site, cast: Cast, database: Database
) -> None:
    async def attempt(username: str) -> tuple[int, str, float]:
        start = time.monotonic()
        answer = await log_in(site.stranger, username, "not the password")
        text = answer.text.replace(username, "NAME")
        return answer.status, text, time.monotonic() - start

    known = await attempt(cast.toscana.clinician.username)
    unknown = await attempt("nobody.at.all")

    assert known[:2] == unknown[:2]
    assert known[0] == 401
    assert min(known[2], unknown[2]) >= REFUSAL_SECONDS
    assert await logged_acts(database) == ["login.failed"]


async def test_a_disabled_user_answers_like_a_wrong_password(
    site: Site, cast: Cast, database: Database
) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        await session.execute(update(User).values(is_disabled=True))

    answer = await log_in(site.stranger, cast.toscana.clinician.username)

    assert answer.status == 401


@pytest.mark.parametrize("is_known", [True, False])
async def test_failures_slow_down_even_the_right_password(
    site: Site, cast: Cast, *, is_known: bool
) -> None:
    username = cast.toscana.clinician.username if is_known else "nobody.at.all"
    for _ in range(FREE_ATTEMPTS):
        assert (await log_in(site.stranger, username, "wrong")).status == 401

    answer = await log_in(site.stranger, username)

    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "session=" not in answer.headers.get("Set-Cookie", "")


async def test_attempts_at_once_win_nothing(site: Site, cast: Cast) -> None:
    answers = await asyncio.gather(
        *(log_in(site.stranger, cast.toscana.desk.username, "wrong") for _ in range(15))
    )

    statuses = [answer.status for answer in answers]
    assert statuses.count(401) == FREE_ATTEMPTS
    assert statuses.count(429) == 15 - FREE_ATTEMPTS


async def test_a_right_password_clears_the_count(
    site: Site, cast: Cast, database: Database
) -> None:
    await log_in(site.stranger, cast.toscana.desk.username, "wrong")
    await log_in(site.stranger, cast.toscana.desk.username)

    async with database.read(EVERY_ORGANISATION) as session:
        user = await session.get_one(User, cast.toscana.desk.id)
    assert user.failed_logins == 0


async def test_the_session_changes_at_login(site: Site, cast: Cast) -> None:
    visitor = site.stranger
    await log_in(visitor, cast.toscana.desk.username)
    old = Visitor(visitor.session, visitor.origin, dict(visitor.cookies))

    await log_in(visitor, cast.toscana.desk.username)

    assert visitor.cookies != old.cookies
    assert (await visitor.get("/desk")).status == 200
    assert (await old.get("/desk")).location == "/login"


async def test_logout_kills_the_session_itself(site: Site, cast: Cast, database: Database) -> None:
    visitor = site.stranger
    await log_in(visitor, cast.toscana.clinician.username)

    answer = await visitor.post("/logout")

    assert answer.location == "/login"
    assert answer.headers["Clear-Site-Data"] == '"storage"'
    assert (await visitor.get("/agenda")).location == "/login"
    assert await logged_acts(database) == ["login.done", "login.ended"]
    async with database.read(EVERY_ORGANISATION) as session:
        assert (await session.scalars(select(UserSession))).all() == []


# ---- slowing down, the rule -------------------------------------------------------------


def test_the_wait_grows_up_to_a_minute_and_is_forgotten() -> None:
    failures, waits = Failures(), []
    for _ in range(FREE_ATTEMPTS + 8):
        failures = failures.one_more(NOW)
        try:
            failures.check(NOW)
        except TooManyAttempts as error:
            waits.append(error.wait_seconds)

    assert waits[:4] == [5, 9, 17, 33]
    assert waits[-1] == LONGEST_WAIT.total_seconds() + 1
    assert waits == sorted(waits)
    failures.check(NOW + LONGEST_WAIT)
    assert failures.one_more(NOW + FORGOTTEN_AFTER + timedelta(seconds=1)).count == 1


def test_an_attempt_that_came_too_early_is_not_counted() -> None:
    throttle = Throttle(free=1)
    throttle.count("198.51.100.7", NOW)

    for _ in range(5):
        with pytest.raises(TooManyAttempts):
            throttle.count("198.51.100.7", NOW)

    throttle.count("198.51.100.7", NOW + timedelta(seconds=4))
    throttle.count("198.51.100.8", NOW)


# ---- second factor ---------------------------------------------------------------------


def secret_in(answer: Answer) -> str | None:
    found = re.search(r'data-testid="totp-secret">([A-Z2-7]+)<', answer.text)
    return found[1] if found else None


async def test_a_second_factor_is_enrolled_at_the_first_login(
    site: Site, cast: Cast, database: Database
) -> None:
    await require_totp(database, cast)
    visitor = site.stranger

    answer = await log_in(visitor, cast.toscana.clinician.username)
    page = await visitor.get("/login/code")
    secret = secret_in(page)

    assert answer.location == "/login/code"
    assert (await visitor.get("/agenda")).location == "/login"
    assert secret
    assert "otpauth://totp/" in page.text
    assert quote(secret) in page.text
    done = await visitor.post("/login/code", code=pyotp.TOTP(secret).now())
    keep_cookie(visitor, done)
    assert done.location == "/agenda"
    assert (await visitor.get("/agenda")).status == 200
    assert await logged_acts(database) == ["login.done", "list.opened"]


async def test_a_confirmed_secret_is_never_shown_again(
    site: Site, cast: Cast, database: Database
) -> None:
    await require_totp(database, cast)
    visitor = site.stranger
    await log_in(visitor, cast.toscana.clinician.username)
    first = secret_in(await visitor.get("/login/code"))
    await log_in(visitor, cast.toscana.clinician.username)
    second = secret_in(await visitor.get("/login/code"))
    code = pyotp.TOTP(second or "").now()
    keep_cookie(visitor, await visitor.post("/login/code", code=code))

    again = site.stranger
    await log_in(again, cast.toscana.clinician.username)
    page = await again.get("/login/code")

    assert first != second
    assert page.status == 200
    assert secret_in(page) is None
    used = await again.post("/login/code", code=code)
    assert used.status == 401, "a code works once"
    assert (await again.get("/agenda")).location == "/login"
    async with database.read(EVERY_ORGANISATION) as session:
        user = await session.get_one(User, cast.toscana.clinician.id)
    assert (second or "").encode() not in (user.sealed_totp_secret or b"")


async def test_wrong_codes_are_slowed_down_and_logged(
    site: Site, cast: Cast, database: Database
) -> None:
    await require_totp(database, cast)
    visitor = site.stranger
    await log_in(visitor, cast.toscana.clinician.username)

    statuses = [
        (await visitor.post("/login/code", code="000000")).status for _ in range(FREE_ATTEMPTS)
    ]

    assert statuses == [401, 401, 401, 401, 429]
    assert set(await logged_acts(database)) == {"login.failed"}


async def test_the_code_page_is_only_for_who_gave_the_password(site: Site) -> None:
    assert (await site.stranger.get("/login/code")).location == "/login"
    assert (await site.stranger.post("/login/code", code="123456")).location == "/login"


@pytest.mark.parametrize(
    ("drift_seconds", "is_right"),
    [(0, True), (-30, True), (30, True)] + [(drift, False) for drift in (-60, 60)],
)
def test_a_code_may_drift_by_one_step(drift_seconds: int, is_right: bool) -> None:
    factor = new_second_factor()
    code = pyotp.TOTP(factor.secret).at(NOW + timedelta(seconds=drift_seconds))

    accepted = find_accepted(factor, f"{code[:3]} {code[3:]}", NOW)

    assert (accepted is not None) == is_right
    if accepted:
        assert find_accepted(accepted, code, NOW) is None


# ---- language --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("back", "landing"),
    [
        ("/login", "/login"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("", "/"),
    ],
)
async def test_language_leads_back_to_our_own_pages_only(
    site: Site, back: str, landing: str
) -> None:
    answer = await site.stranger.post("/language", language="en", back=back)

    assert answer.location == landing
    assert answer.headers["Set-Cookie"].startswith("language=en")


async def test_an_unknown_language_is_not_kept(site: Site) -> None:
    answer = await site.stranger.post("/language", language="xx", back="/")

    assert "Set-Cookie" not in answer.headers
