"""Who is asking, and whether this route is for them: decided here and nowhere else.

Every route says in a :class:`Route` for whom it is; :func:`register` wraps the handler so that it
runs only for them. The table of routes is what the isolation tests walk through. An object of
another organisation, or of another patient, is *not found*, never *forbidden*.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import UNDECLARED, ActorRole, Leaves
from server.db import EVERY_ORGANISATION, OrganisationId
from server.errors import LoginNeeded, NotFound
from server.footprint import follow
from server.models import (
    Device,
    Organisation,
    Practice,
    User,
    UserRole,
    UserSession,
    Visit,
)
from server.services import DATABASE, SETTINGS, now_of

SESSION_IDLE: Final = timedelta(minutes=30)
SESSION_LONGEST: Final = timedelta(hours=24)
_SEEN_GRAIN: Final = timedelta(minutes=1)
_TOKEN_BYTES: Final = 32
_ELSEWHERE: Final = 300
"""A GET that leads elsewhere has shown nothing."""
_REFUSALS: Final = 400
_FAILED: Final = 500

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Actor:
    """The person behind a request. ``visit_id`` is set for patients only; ``id`` is the user's,
    or the device's for a patient. ``practice_id``: the visit of the path is a practice of this
    clinician, who is her twin of the training organisation there. ``is_facilitator``: may build
    and share scenarios."""

    id: str
    role: ActorRole
    organisation: OrganisationId
    name: str = ""
    visit_id: str = ""
    practice_id: str = ""
    is_facilitator: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """For whom a route is. Neither roles nor patient: for everybody."""

    roles: frozenset[UserRole] = frozenset()
    is_for_patient: bool = False


PUBLIC: Final = Access()
PATIENT: Final = Access(is_for_patient=True)
CLINICIAN: Final = Access(frozenset({UserRole.CLINICIAN}))
DESK: Final = Access(frozenset({UserRole.DESK}))
ADMINISTRATOR: Final = Access(frozenset({UserRole.ADMINISTRATOR}))
MANAGER: Final = Access(frozenset({UserRole.MANAGER}))
LOG_READERS: Final = Access(frozenset({UserRole.MANAGER, UserRole.AUDITOR}))
STAFF: Final = Access(frozenset(UserRole))


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the route table. Patient paths hold ``{locator}``. ``leaves``: what its handler
    leaves in the session log."""

    method: str
    path: str
    handler: Handler
    access: Access
    leaves: Leaves = UNDECLARED

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


ACTOR: Final = web.RequestKey("actor", Actor)
ROUTES: Final = web.AppKey("routes", list[Route])


def register(app: web.Application, routes: Iterable[Route]) -> None:
    """Add routes, each behind its guard."""
    table = app.setdefault(ROUTES, [])
    for route in routes:
        table.append(route)
        app.router.add_route(route.method, route.path, _guard(route))


def actor_of(request: web.Request) -> Actor:
    """Who is asking; present on every route that is not :data:`PUBLIC`."""
    return request[ACTOR]


def _guard(route: Route) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        if route.access.is_for_patient:
            request[ACTOR] = await _authenticate_patient(request)
        elif route.access.roles:
            actor = await _authenticate_staff(request)
            if UserRole(actor.role) not in route.access.roles:
                raise NotFound
            request[ACTOR] = actor
        return await _handle(route, request)

    return guarded


async def _handle(route: Route, request: web.Request) -> web.StreamResponse:
    """Run the handler and hold it to what its route declares.

    :raises Unlogged: what was asked for must leave an entry, and has not: it is not served.
    """
    is_read = request.method in {"GET", "HEAD"}
    refusals = _ELSEWHERE if is_read else _REFUSALS
    status = _FAILED
    with follow() as done:
        try:
            response = await route.handler(request)
            status = response.status
        except web.HTTPException as answer:
            status = answer.status
            raise
        finally:
            route.leaves.check(route.name, done, is_well=status < refusals, is_read=is_read)
    return response


def hash_token(token: str) -> str:
    """What the database keeps of a cookie."""
    return hashlib.sha256(token.encode()).hexdigest()


# ---- staff -----------------------------------------------------------------------------


def session_cookie(request: web.Request) -> str:
    """The cookie's name: ``__Host-`` wherever there is TLS."""
    return "__Host-session" if request.app[SETTINGS].is_https else "session"


def device_cookie(request: web.Request, locator: str) -> str:
    """One cookie per visit, so that two visits on one telephone do not push each other out."""
    prefix = "__Host-" if request.app[SETTINGS].is_https else ""
    return f"{prefix}visit-{locator}"


def set_cookie(
    request: web.Request, response: web.StreamResponse, name: str, token: str, lifetime: timedelta
) -> None:
    """A cookie that scripts cannot read and other sites cannot send."""
    response.set_cookie(
        name,
        token,
        max_age=int(lifetime.total_seconds()),
        path="/",
        secure=request.app[SETTINGS].is_https,
        httponly=True,
        samesite="Strict",
    )


async def start_session(
    session: AsyncSession, user: User, now: datetime, *, is_second_factor_done: bool = True
) -> str:
    """Open a login session with a new token; returns the token for the cookie."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    session.add(
        UserSession(
            token_hash=hash_token(token),
            organisation_id=user.organisation_id,
            user_id=user.id,
            created_at=now,
            seen_at=now,
            is_second_factor_done=is_second_factor_done,
        )
    )
    await session.flush()
    return token


async def find_session(
    session: AsyncSession, token: str | None, now: datetime
) -> UserSession | None:
    """The live session of a cookie, with its user and organisation; finished or not with TOTP."""
    if not token:
        return None
    found = await session.scalar(
        select(UserSession)
        .where(UserSession.token_hash == hash_token(token))
        .where(UserSession.seen_at > now - SESSION_IDLE)
        .where(UserSession.created_at > now - SESSION_LONGEST)
        .options(joinedload(UserSession.user).joinedload(User.organisation))
    )
    return None if found is None or found.user.is_disabled else found


async def _authenticate_staff(request: web.Request) -> Actor:
    now = now_of(request)
    token = request.cookies.get(session_cookie(request))
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        found = await find_session(session, token, now)
        twin = await _find_twin(session, request, found.user) if found else None
    if found is None or not found.is_second_factor_done:
        raise LoginNeeded
    if now - found.seen_at > _SEEN_GRAIN:
        async with request.app[DATABASE].begin(found.organisation_id) as session:
            await session.execute(
                update(UserSession)
                .where(UserSession.token_hash == found.token_hash)
                .values(seen_at=now)
            )
            await _forget_ended_pins(session, now)
    return twin or Actor(
        id=found.user.id,
        role=ActorRole(found.user.role),
        organisation=found.organisation_id,
        name=found.user.display_name,
        is_facilitator=found.user.is_facilitator,
    )


async def _find_twin(session: AsyncSession, request: web.Request, user: User) -> Actor | None:
    """Who a clinician is in a practice visit that she began herself, and nowhere else: one login
    is at home in one organisation, and this is the only step out of it."""
    visit_id = request.match_info.get("visit_id")
    if visit_id is None or user.role is not UserRole.CLINICIAN:
        return None
    found = await session.execute(
        select(Practice.id, Practice.twin_id, Visit.organisation_id)
        .join(Visit, Visit.id == Practice.visit_id)
        .join(Organisation, Organisation.id == Visit.organisation_id)
        .where(Practice.visit_id == visit_id, Practice.user_id == user.id)
        .where(Organisation.is_training)
    )
    practice = found.one_or_none()
    if practice is None:
        return None
    return Actor(
        id=practice.twin_id,
        role=ActorRole.CLINICIAN,
        organisation=practice.organisation_id,
        name=user.display_name,
        practice_id=practice.id,
    )


async def _forget_ended_pins(session: AsyncSession, now: datetime) -> None:
    """A login that ended by itself keeps no PIN of a signature: whoever works next removes it."""
    is_over = or_(
        UserSession.seen_at <= now - SESSION_IDLE, UserSession.created_at <= now - SESSION_LONGEST
    )
    await session.execute(
        update(UserSession)
        .where(UserSession.sealed_signing_pin.is_not(None), is_over)
        .values(sealed_signing_pin=None)
        .execution_options(synchronize_session=False)
    )


# ---- patients --------------------------------------------------------------------------


def make_device(visit: Visit, now: datetime) -> tuple[Device, str]:
    """A new device row of a claimed link, and the token for its cookie."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    device = Device(
        organisation_id=visit.organisation_id,
        visit_id=visit.id,
        token_hash=hash_token(token),
        link_version=visit.link_version,
        claimed_at=now,
    )
    return device, token


async def find_device(session: AsyncSession, request: web.Request, locator: str) -> Device | None:
    """The live device behind this request's cookie for this visit, with its visit."""
    token = request.cookies.get(device_cookie(request, locator))
    if not token:
        return None
    return await session.scalar(
        select(Device)
        .join(Device.visit)
        .where(Device.token_hash == hash_token(token))
        .where(Device.ended_at.is_(None))
        .where(Device.link_version == Visit.link_version)
        .where(Visit.locator == locator)
        .options(joinedload(Device.visit).joinedload(Visit.appointment))
    )


async def _authenticate_patient(request: web.Request) -> Actor:
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        device = await find_device(session, request, request.match_info["locator"])
    if device is None:
        raise LinkNeeded(request.match_info["locator"])
    return Actor(
        id=device.id,
        role=ActorRole.PATIENT,
        organisation=device.organisation_id,
        visit_id=device.visit_id,
    )


class LinkNeeded(LoginNeeded):
    """The patient's way in is the link page of this locator, not the login of the staff."""

    code = "link_needed"

    def __init__(self, locator: str) -> None:
        super().__init__()
        self.way_in = f"/v/{locator}"
