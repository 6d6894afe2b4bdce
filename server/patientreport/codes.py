"""The one-time code of the reports: six digits by SMS or e-mail, ten minutes, three tries, in the
browser that asked for it. Derived from the moment of its issue, never stored.

A right code opens the reports in that browser for half an hour: long enough to read them, short
enough for a telephone that is passed on.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from hmac import compare_digest
from typing import Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.auth import Actor, hash_token
from server.joinlink import derive_report_code
from server.keyring import Keyring
from server.mail.contacts import find_email, find_phone
from server.mail.letter import DEVICE_CODE_TERM
from server.mail.queue import queue_message
from server.models import MessageKind, ReportCode, Visit
from server.phases import load_may_leave
from server.sealed import open_identity

OPEN_FOR: Final = timedelta(minutes=30)
MOST_TRIES: Final = 3
MOST_CODES: Final = 5
"""Of one visit, within a day."""
_DAY: Final = timedelta(days=1)
_SHORTEST_PAUSE: Final = timedelta(seconds=30)
_TOKEN_BYTES: Final = 32


class Use(StrEnum):
    """How typing a code ends."""

    RIGHT = "right"
    WRONG = "wrong"
    OVER = "over"
    """Used, too old, tried too often, or of another browser: the four look alike."""


class NoCode(Exception):
    """No code is sent; ``reason``: ``no_contact``, ``too_soon`` or ``too_many``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def issue_code(
    session: AsyncSession, keyring: Keyring, visit: Visit, actor: Actor, now: datetime
) -> str:
    """Send a new code, which ends the one before; returns the token for the browser's cookie.

    :raises NoCode: it would not arrive, or there were too many.
    """
    identity = await open_identity(keyring, session, visit.appointment.patient)
    is_reachable = bool(find_phone(identity.phone) or find_email(identity.email))
    if not is_reachable or not await load_may_leave(session, visit.appointment):
        raise NoCode("no_contact")
    code = await session.get(ReportCode, visit.id, with_for_update=True)
    if code is None:
        code = ReportCode(organisation_id=visit.organisation_id, visit_id=visit.id, issued_count=0)
        session.add(code)
    elif now < code.issued_at + _SHORTEST_PAUSE:
        raise NoCode("too_soon")
    elif now >= code.issued_at + _DAY:
        code.issued_count = 0
    elif code.issued_count >= MOST_CODES:
        raise NoCode("too_many")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    code.browser, code.issued_at = hash_token(token), now
    code.issued_count, code.attempts, code.passed_at = code.issued_count + 1, 0, None
    moment = now.isoformat()
    await queue_message(
        session,
        visit,
        MessageKind.REPORT_CODE,
        now,
        occasion=moment,
        parameters={"issued_at": moment},
    )
    await _write(session, visit, actor, Act.REPORT_CODE_SENT, now)
    return token


async def use_code(
    session: AsyncSession,
    join_key: bytes,
    visit: Visit,
    actor: Actor,
    typed: str,
    token: str,
    now: datetime,
) -> Use:
    """Look at a typed code. A try is taken before, so that parallel guesses share none."""
    issued_at = await session.scalar(
        update(ReportCode)
        .where(ReportCode.visit_id == visit.id)
        .where(ReportCode.browser == hash_token(token))
        .where(ReportCode.issued_at >= now - DEVICE_CODE_TERM)
        .where(ReportCode.attempts < MOST_TRIES)
        .where(ReportCode.passed_at.is_(None))
        .values(attempts=ReportCode.attempts + 1)
        .returning(ReportCode.issued_at)
        .execution_options(synchronize_session=False)
    )
    if issued_at is None:
        return Use.OVER
    if not compare_digest(derive_report_code(join_key, visit.id, issued_at), typed):
        await _write(session, visit, actor, Act.REPORT_CODE_FAILED, now)
        return Use.WRONG
    passed = update(ReportCode).where(ReportCode.visit_id == visit.id).values(passed_at=now)
    await session.execute(passed)
    return Use.RIGHT


async def is_open(session: AsyncSession, visit_id: str, token: str, now: datetime) -> bool:
    """Whether this browser has passed the second factor a short while ago."""
    if not token:
        return False
    code = await session.get(ReportCode, visit_id)
    if code is None or code.passed_at is None:
        return False
    is_browser = compare_digest(code.browser, hash_token(token))
    return is_browser and now < code.passed_at + OPEN_FOR


async def _write(
    session: AsyncSession, visit: Visit, actor: Actor, act: Act, now: datetime
) -> None:
    entry = Entry(now, act, ActorRole.PATIENT, actor.id, visit.id)
    await append(session, visit.organisation_id, entry)
