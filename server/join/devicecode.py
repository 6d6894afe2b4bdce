"""The code for a second device: six digits by SMS or e-mail, ten minutes, once, in one browser
(``security.md`` J8, J9).

Derived from the moment of its issue and never stored. Who may ask for one is decided in
``server.join.claims``; the words of the message are ``server.mail``'s.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from hmac import compare_digest
from math import ceil
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.auth import hash_token
from server.db import count_changed
from server.errors import TooManyAttempts
from server.joinlink import derive_device_code
from server.keyring import Keyring
from server.mail.contacts import find_email, find_phone
from server.mail.letter import DEVICE_CODE_TERM
from server.mail.queue import queue_message
from server.models import MessageKind, PatientMessage, Visit
from server.phases import load_may_leave
from server.sealed import open_identity

MOST_TRIES: Final = 5
_MOST_AN_HOUR: Final = 3
_HOUR: Final = timedelta(hours=1)
_SHORTEST_PAUSE: Final = timedelta(minutes=1)
_TOKEN_BYTES: Final = 32


class Use(StrEnum):
    """How typing a code ends."""

    RIGHT = "right"
    WRONG = "wrong"
    OVER = "over"
    """Used, too old, tried too often, or asked for by another browser: the four look alike."""


async def can_send_code(session: AsyncSession, keyring: Keyring, visit: Visit) -> bool:
    """Whether a code would reach the patient: there is an address and the phase lets it leave."""
    identity = await open_identity(keyring, session, visit.appointment.patient)
    is_reachable = bool(find_phone(identity.phone) or find_email(identity.email))
    return is_reachable and await load_may_leave(session, visit.appointment)


async def issue_code(session: AsyncSession, visit: Visit, now: datetime) -> str:
    """Queue a new code, which ends the one before; returns the token for the browser's cookie.

    :raises TooManyAttempts: too soon after the last one, or too many within an hour.
    """
    await _check_pace(session, visit, now)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    await session.execute(
        update(Visit)
        .where(Visit.id == visit.id)
        .values(
            device_code_issued_at=now,
            device_code_attempts=0,
            device_code_browser=hash_token(token),
        )
        .execution_options(synchronize_session=False)
    )
    moment = now.isoformat()
    await queue_message(
        session,
        visit,
        MessageKind.DEVICE_CODE,
        now,
        occasion=moment,
        parameters={"issued_at": moment},
    )
    entry = Entry(now, Act.DEVICE_CODE_SENT, ActorRole.PATIENT, visit=visit.id)
    await append(session, visit.organisation_id, entry)
    return token


async def _check_pace(session: AsyncSession, visit: Visit, now: datetime) -> None:
    found = await session.execute(
        select(
            func.count(), func.min(PatientMessage.created_at), func.max(PatientMessage.created_at)
        )
        .where(PatientMessage.visit_id == visit.id)
        .where(PatientMessage.kind == MessageKind.DEVICE_CODE)
        .where(PatientMessage.created_at > now - _HOUR)
    )
    count, first, last = found.one()
    if not count:
        return
    next_at = first + _HOUR if count >= _MOST_AN_HOUR else last + _SHORTEST_PAUSE
    if next_at > now:
        raise TooManyAttempts(ceil((next_at - now).total_seconds()))


async def use_code(
    session: AsyncSession, join_key: bytes, visit: Visit, typed: str, token: str, now: datetime
) -> Use:
    """Look at a typed code. A try is taken before, so that parallel guesses share none.

    ``token`` is from the cookie of :func:`issue_code`.
    """
    issued_at = await session.scalar(
        update(Visit)
        .where(Visit.id == visit.id)
        .where(Visit.device_code_issued_at >= now - DEVICE_CODE_TERM)
        .where(Visit.device_code_browser == hash_token(token))
        .where(Visit.device_code_attempts < MOST_TRIES)
        .values(device_code_attempts=Visit.device_code_attempts + 1)
        .returning(Visit.device_code_issued_at)
        .execution_options(synchronize_session=False)
    )
    if issued_at is None:
        return Use.OVER
    if not compare_digest(derive_device_code(join_key, visit.id, issued_at), typed):
        return Use.WRONG
    spent = (
        update(Visit)
        .where(Visit.id == visit.id)
        .where(Visit.device_code_issued_at == issued_at)
        .values(device_code_issued_at=None, device_code_browser=None)
    )
    return Use.RIGHT if await count_changed(session, spent) else Use.OVER
