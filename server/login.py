"""How staff get in and out: password, second factor where the organisation asks for it.

A name that nobody has answers like a wrong password: same words, same time, same slowing down.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.addresses import client_of
from server.audit import Act, ActorRole, Entry, append, leaves_none, may_leave
from server.auth import (
    PUBLIC,
    SESSION_LONGEST,
    Route,
    find_session,
    hash_token,
    session_cookie,
    set_cookie,
    start_session,
)
from server.db import EVERY_ORGANISATION
from server.errors import TooManyAttempts
from server.models import User, UserRole, UserSession
from server.passwords import is_password_right
from server.services import DATABASE, KEYRING, PAGES, now_of
from server.throttle import FREE_ATTEMPTS_OF_ADDRESS, Failures, Throttle
from server.totp import (
    find_accepted,
    new_second_factor,
    open_second_factor,
    seal_second_factor,
)

logger = logging.getLogger(__name__)

REFUSAL_SECONDS: Final = 0.3
"""A refusal takes at least this long, whatever was looked up for it."""
HALF_LOGIN: Final = timedelta(minutes=10)
"""How long the second factor may take after the password."""
_LANDING: Final = {
    UserRole.CLINICIAN: "/agenda",
    UserRole.DESK: "/desk",
    UserRole.MANAGER: "/sessions",
    UserRole.AUDITOR: "/sessions",
    UserRole.ADMINISTRATOR: "/admin",
}


class Throttles:
    """The failures of one process that have no row: by address, and of names that nobody has."""

    def __init__(self) -> None:
        self.addresses = Throttle(FREE_ATTEMPTS_OF_ADDRESS)
        self.unknown_names = Throttle()


THROTTLES: Final = web.AppKey("login_throttles", Throttles)


# ---- password --------------------------------------------------------------------------


async def show_login(request: web.Request) -> web.StreamResponse:
    """The form; who is logged in already goes to their first page."""
    found = await _find_session(request)
    if found is not None and found.is_second_factor_done:
        raise web.HTTPSeeOther(_LANDING[found.user.role])
    return _login_page(request)


async def log_in(request: web.Request) -> web.StreamResponse:
    """Name and password."""
    form = await request.post()
    username, password = (str(form.get(name, "")) for name in ("username", "password"))
    username = username.strip().lower()
    now, loop = now_of(request), asyncio.get_running_loop()
    answer_at = loop.time() + REFUSAL_SECONDS
    try:
        user = await _count_attempt(request, username, now)
    except TooManyAttempts as error:
        return _login_page(request, username=username, wait_seconds=error.wait_seconds)
    is_right = await is_password_right(user.password_hash if user else None, password)
    if user is None or not is_right or user.is_disabled:
        await _record_failure(request, user, "password", now)
        await asyncio.sleep(answer_at - loop.time())
        return _login_page(request, username=username, is_refused=True)
    return await _accept_password(request, user, now)


def _login_page(
    request: web.Request, *, username: str = "", is_refused: bool = False, wait_seconds: int = 0
) -> web.Response:
    status = 429 if wait_seconds else 401 if is_refused else 200
    response = request.app[PAGES].render(
        request,
        "staff/login.html",
        status=status,
        username=username,
        is_refused=is_refused,
        wait_seconds=wait_seconds,
    )
    if wait_seconds:
        response.headers["Retry-After"] = str(wait_seconds)
    return response


async def _count_attempt(request: web.Request, username: str, now: datetime) -> User | None:
    """Count an attempt as failed before it is looked at, so that many at once win nothing.

    :raises TooManyAttempts: too early after the last failure of this address or name.
    """
    throttles = request.app[THROTTLES]
    throttles.addresses.count(_address_of(request), now)
    # The organisation is not known before the name is found.
    async with request.app[DATABASE].begin(EVERY_ORGANISATION) as session:
        user = await session.scalar(
            select(User)
            .where(func.lower(User.username) == username)
            .options(joinedload(User.organisation, innerjoin=True))
            .with_for_update(of=User)
        )
        if user is not None:
            _count_for_user(user, now)
    if user is None:
        throttles.unknown_names.count(username, now)
    return user


def _count_for_user(user: User, now: datetime) -> None:
    failures = Failures(user.failed_logins, user.last_failed_at)
    failures.check(now)
    after = failures.one_more(now)
    user.failed_logins, user.last_failed_at = after.count, after.last_at


async def _record_failure(
    request: web.Request, user: User | None, factor: str, now: datetime
) -> None:
    if user is None:
        logger.info("login refused: nobody of that name")
        return
    entry = Entry(now, Act.LOGIN_FAILED, ActorRole(user.role), user.id, facts={"factor": factor})
    async with request.app[DATABASE].begin(user.organisation.id) as session:
        await append(session, user.organisation.id, entry)


async def _accept_password(request: web.Request, user: User, now: datetime) -> web.StreamResponse:
    needs_code = user.organisation.is_totp_required
    async with request.app[DATABASE].begin(user.organisation.id) as session:
        user = await session.merge(user, load=False)
        if needs_code:
            await _prepare_second_factor(request, session, user)
        else:
            await _record_success(session, user, now)
        token = await _change_session(request, session, user, now, is_done=not needs_code)
    request.app[THROTTLES].addresses.forgive(_address_of(request))
    return _go(request, "/login/code" if needs_code else _LANDING[user.role], token)


async def _record_success(session: AsyncSession, user: User, now: datetime) -> None:
    user.failed_logins = 0
    entry = Entry(now, Act.LOGGED_IN, ActorRole(user.role), user.id)
    await append(session, user.organisation.id, entry)


async def _change_session(
    request: web.Request, session: AsyncSession, user: User, now: datetime, *, is_done: bool
) -> str:
    """A new token at every step; the one this browser had dies."""
    await _end_session(request, session)
    return await start_session(session, user, now, is_second_factor_done=is_done)


async def _end_session(request: web.Request, session: AsyncSession) -> None:
    token = request.cookies.get(session_cookie(request), "")
    await session.execute(delete(UserSession).where(UserSession.token_hash == hash_token(token)))


def _go(request: web.Request, way: str, token: str) -> web.Response:
    response = web.Response(status=303, headers={"Location": way})
    set_cookie(request, response, session_cookie(request), token, SESSION_LONGEST)
    return response


def _address_of(request: web.Request) -> str:
    return str(client_of(request))


# ---- second factor ---------------------------------------------------------------------


async def show_code(request: web.Request) -> web.StreamResponse:
    """The six digits; at the first time also the secret for the authenticator application."""
    half = await _find_half_login(request)
    return await _code_page(request, half)


async def check_code(request: web.Request) -> web.StreamResponse:
    """A right code, used for the first time, makes the login whole."""
    half, now = await _find_half_login(request), now_of(request)
    code = str((await request.post()).get("code", ""))
    organisation = half.user.organisation.id
    is_right = False
    try:
        async with request.app[DATABASE].begin(organisation) as session:
            user = await _lock_user(session, half.user_id)
            _count_for_user(user, now)
            factor = await open_second_factor(request.app[KEYRING], session, user)
            accepted = find_accepted(factor, code, now) if factor else None
            if accepted is not None:
                is_right = True
                await seal_second_factor(request.app[KEYRING], session, user, accepted)
                await _record_success(session, user, now)
                token = await _change_session(request, session, user, now, is_done=True)
    except TooManyAttempts as error:
        return await _code_page(request, half, wait_seconds=error.wait_seconds)
    if not is_right:
        await _record_failure(request, half.user, "code", now)
        return await _code_page(request, half, is_refused=True)
    return _go(request, _LANDING[half.user.role], token)


async def _lock_user(session: AsyncSession, user_id: str) -> User:
    found = await session.scalars(
        select(User)
        .where(User.id == user_id)
        .options(joinedload(User.organisation, innerjoin=True))
        .with_for_update(of=User)
    )
    return found.one()


async def _prepare_second_factor(request: web.Request, session: AsyncSession, user: User) -> None:
    """Until the first right code every login shows a new secret."""
    known = await open_second_factor(request.app[KEYRING], session, user)
    if known is None or not known.is_confirmed:
        await seal_second_factor(request.app[KEYRING], session, user, new_second_factor())


async def _code_page(
    request: web.Request,
    half: UserSession,
    *,
    is_refused: bool = False,
    wait_seconds: int = 0,
) -> web.Response:
    async with request.app[DATABASE].read(half.organisation_id) as session:
        factor = await open_second_factor(request.app[KEYRING], session, half.user)
    is_new = factor is not None and not factor.is_confirmed
    return request.app[PAGES].render(
        request,
        "staff/code.html",
        status=429 if wait_seconds else 401 if is_refused else 200,
        secret=factor.secret if factor and is_new else "",
        uri=factor.provisioning_uri(half.user.username) if factor and is_new else "",
        is_refused=is_refused,
        wait_seconds=wait_seconds,
    )


async def _find_half_login(request: web.Request) -> UserSession:
    found = await _find_session(request)
    if found is None or now_of(request) - found.created_at > HALF_LOGIN:
        raise web.HTTPSeeOther("/login")
    if found.is_second_factor_done:
        raise web.HTTPSeeOther(_LANDING[found.user.role])
    return found


async def _find_session(request: web.Request) -> UserSession | None:
    token = request.cookies.get(session_cookie(request))
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        return await find_session(session, token, now_of(request))


# ---- out ---------------------------------------------------------------------------------


async def log_out(request: web.Request) -> web.StreamResponse:
    """The session dies here, not only its cookie."""
    found = await _find_session(request)
    if found is not None:
        user, now = found.user, now_of(request)
        async with request.app[DATABASE].begin(found.organisation_id) as session:
            await _end_session(request, session)
            entry = Entry(now, Act.LOGGED_OUT, ActorRole(user.role), user.id)
            await append(session, found.organisation_id, entry)
    # With the session goes what its pages kept in the browser: drafts of notes.
    headers = {"Location": "/login", "Clear-Site-Data": '"storage"'}
    response = web.Response(status=303, headers=headers)
    set_cookie(request, response, session_cookie(request), "", timedelta())
    return response


_SECOND_FACTOR: Final = {"user.totp_secret"}

ROUTES: Final = (
    Route("GET", "/login", show_login, PUBLIC, leaves_none("an empty form")),
    Route(
        "POST",
        "/login",
        log_in,
        PUBLIC,
        may_leave(
            Act.LOGGED_IN,
            Act.LOGIN_FAILED,
            why="with a second factor the login is not done yet",
            opens=_SECOND_FACTOR,
        ),
    ),
    Route(
        "GET",
        "/login/code",
        show_code,
        PUBLIC,
        leaves_none("one's own second factor", opens=_SECOND_FACTOR),
    ),
    Route(
        "POST",
        "/login/code",
        check_code,
        PUBLIC,
        may_leave(
            Act.LOGGED_IN,
            Act.LOGIN_FAILED,
            why="a login that is over leads back to its start",
            opens=_SECOND_FACTOR,
        ),
    ),
    Route(
        "POST", "/logout", log_out, PUBLIC, may_leave(Act.LOGGED_OUT, why="nobody may be logged in")
    ),
)
