"""The claim: checks the link, the code and the birth date, and makes the browser's device row.

An attempt is taken (counted as wrong) before it is looked at and given back when it was right, so
that parallel guesses cannot share one look. Wrong secret, wrong date and unknown locator end
alike. A wrong secret does not count: 130 bits cannot be guessed, and who knows only the public
locator cannot slow the right person. Failures never revoke a link.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from hmac import compare_digest
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import make_device
from server.db import EVERY_ORGANISATION, Database
from server.errors import TooManyAttempts
from server.join.devicecode import Use, can_send_code, issue_code, use_code
from server.join.rules import claim_wait_seconds
from server.joinlink import JoinLink, LinkPhase, derive_link, link_phase
from server.keyring import Keyring
from server.models import Appointment, Device, Visit
from server.sealed import open_identity

_OLD_VERSIONS_KNOWN: Final = 20
_BUSY_SECONDS: Final = 1
_CLOSED: Final = frozenset({LinkPhase.DEAD, LinkPhase.EXPIRED})


@dataclass(frozen=True, slots=True)
class Claim:
    """What a person brought, well formed. ``secret`` or ``code`` may be empty, not both."""

    secret: str
    code: str
    """Spoken by the desk."""
    birth_date: date
    device_code: str = ""
    """Sent by SMS or e-mail; only beside a ``secret``."""

    @property
    def way(self) -> str:
        """How they came in, for the session log."""
        if self.secret and self.device_code:
            return "link_and_sent_code"
        if self.secret and self.code:
            return "link_and_code"
        return "link" if self.secret else "code"


class Answer(StrEnum):
    """How a claim ends."""

    CLAIMED = "claimed"
    NOT_MATCHED = "not_matched"
    LINK_REVOKED = "link_revoked"
    """A link that was ours once: older than the last revoke, or of a cancelled visit."""
    OTHER_DEVICE = "other_device"
    """All right, but another browser is live: a code can be sent, and is needed too."""
    OTHER_DEVICE_CALL = "other_device_call"
    """The same, but no code would reach the patient: the spoken one is needed."""
    CODE_WRONG = "code_wrong"
    CODE_OVER = "code_over"
    CODE_NEEDED = "code_needed"
    """No birth date in the booking: the spoken code is needed."""


_USES: Final = {
    Use.RIGHT: Answer.CLAIMED,
    Use.WRONG: Answer.CODE_WRONG,
    Use.OVER: Answer.CODE_OVER,
}
_WRONG: Final = frozenset({Answer.NOT_MATCHED, Answer.CODE_WRONG})


@dataclass(frozen=True, slots=True)
class Browser:
    """What a browser is known by: the live device of the visit that it is already, and the token
    of the code it has asked for. Empty: neither. ``family`` and ``kind``: what it says to be
    (:mod:`server.browsers`)."""

    device_id: str = ""
    code_token: str = ""
    family: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer; ``token`` is set when a new device was made, or a code was sent."""

    answer: Answer
    token: str = ""
    has_replaced: bool = False


async def find_visit(database: Database, locator: str) -> Visit | None:
    """The visit of a public locator: nobody is known yet, so neither is the organisation."""
    async with database.read(EVERY_ORGANISATION) as session:
        return await session.scalar(
            select(Visit)
            .where(Visit.locator == locator)
            .options(
                joinedload(Visit.appointment).options(
                    joinedload(Appointment.patient),
                    joinedload(Appointment.clinician),
                    joinedload(Appointment.clinic),
                )
            )
        )


async def claim(
    database: Database,
    keyring: Keyring,
    visit: Visit,
    brought: Claim,
    browser: Browser,
    now: datetime,
) -> Claimed:
    """Look at one answer for a visit of :func:`find_visit`.

    :raises TooManyAttempts: too early after a wrong one; it was not looked at.
    """
    join_key = await _load_join_key(database, keyring, visit)
    if not _is_worth_a_look(join_key, visit, brought, now):
        return Claimed(Answer.NOT_MATCHED)
    async with database.begin(visit.organisation_id) as session:
        answer = await _examine(session, keyring, join_key, visit, brought, browser, now)
        if answer is Answer.OTHER_DEVICE and not await can_send_code(session, keyring, visit):
            return Claimed(Answer.OTHER_DEVICE_CALL)
        if answer is not Answer.CLAIMED or browser.device_id:
            return Claimed(answer)
        return await _make_device(session, visit, brought, browser, now)


async def ask_code(
    database: Database,
    keyring: Keyring,
    visit: Visit,
    brought: Claim,
    browser: Browser,
    now: datetime,
) -> Claimed:
    """Send a code to the patient, if that is what a claim without one would need.

    ``OTHER_DEVICE``: it is on its way, with the token for this browser. ``CLAIMED``: none is
    needed, and nothing was claimed.

    :raises TooManyAttempts: too early after a wrong answer, or after the last code.
    """
    brought = replace(brought, code="", device_code="")
    join_key = await _load_join_key(database, keyring, visit)
    if not _is_worth_a_look(join_key, visit, brought, now):
        return Claimed(Answer.NOT_MATCHED)
    async with database.begin(visit.organisation_id) as session:
        answer = await _examine(session, keyring, join_key, visit, brought, browser, now)
        if answer is not Answer.OTHER_DEVICE:
            return Claimed(answer)
        if not await can_send_code(session, keyring, visit):
            return Claimed(Answer.OTHER_DEVICE_CALL)
        return Claimed(answer, await issue_code(session, visit, now))


async def _load_join_key(database: Database, keyring: Keyring, visit: Visit) -> bytes:
    async with database.read(visit.organisation_id) as session:
        return await keyring.load_secret(session, visit.organisation_id, "join")


def _is_worth_a_look(join_key: bytes, visit: Visit, brought: Claim, now: datetime) -> bool:
    """False for a secret that was never ours.

    :raises TooManyAttempts: too early after a wrong answer.
    """
    if brought.secret and not _is_known_secret(join_key, visit, brought.secret):
        return False
    wait = claim_wait_seconds(visit.failed_claims, visit.last_failed_claim_at, now)
    if wait:
        raise TooManyAttempts(wait)
    return True


async def _examine(
    session: AsyncSession,
    keyring: Keyring,
    join_key: bytes,
    visit: Visit,
    brought: Claim,
    browser: Browser,
    now: datetime,
) -> Answer:
    """One attempt from its taking to its giving back; a wrong one leaves its line in the log."""
    await _take_attempt(session, visit, now)
    answer = await _judge(session, keyring, join_key, visit, brought, now)
    if answer is Answer.CLAIMED and not brought.code:
        answer = await _check_other_devices(session, visit, browser.device_id)
    if answer is Answer.OTHER_DEVICE and brought.device_code:
        typed, token = brought.device_code, browser.code_token
        answer = _USES[await use_code(session, join_key, visit, typed, token, now)]
    if answer in _WRONG:
        entry = Entry(now, Act.LINK_CLAIM_FAILED, ActorRole.PATIENT, visit=visit.id)
        await append(session, visit.organisation_id, entry)
    if answer is not Answer.NOT_MATCHED:
        await _give_attempt_back(session, visit, is_right=answer is Answer.CLAIMED)
    return answer


async def _take_attempt(session: AsyncSession, visit: Visit, now: datetime) -> None:
    taken = await session.scalar(
        update(Visit)
        .where(Visit.id == visit.id)
        .where(Visit.failed_claims == visit.failed_claims)
        .where(Visit.link_version == visit.link_version)
        .values(failed_claims=visit.failed_claims + 1, last_failed_claim_at=now)
        .returning(Visit.id)
        .execution_options(synchronize_session=False)
    )
    if taken is None:
        raise TooManyAttempts(_BUSY_SECONDS)


async def _give_attempt_back(session: AsyncSession, visit: Visit, *, is_right: bool) -> None:
    await session.execute(
        update(Visit)
        .where(Visit.id == visit.id)
        .values(
            failed_claims=0 if is_right else visit.failed_claims,
            last_failed_claim_at=None if is_right else visit.last_failed_claim_at,
        )
        .execution_options(synchronize_session=False)
    )


async def _judge(
    session: AsyncSession,
    keyring: Keyring,
    join_key: bytes,
    visit: Visit,
    brought: Claim,
    now: datetime,
) -> Answer:
    link = derive_link(join_key, visit.id, visit.link_version)
    if _is_old_secret(join_key, visit, brought.secret):
        return Answer.LINK_REVOKED
    identity = await open_identity(keyring, session, visit.appointment.patient)
    known = identity.birth_date
    is_right = _matches(link, brought)
    if known is None and is_right and not brought.code:
        return Answer.CODE_NEEDED
    is_right &= known is None or compare_digest(known.isoformat(), brought.birth_date.isoformat())
    if not is_right:
        return Answer.NOT_MATCHED
    if link_phase(visit, visit.appointment, now) in _CLOSED:
        return Answer.LINK_REVOKED
    return Answer.CLAIMED


def _matches(link: JoinLink, brought: Claim) -> bool:
    """Everything that was brought must be right; both are always compared."""
    is_secret_right = compare_digest(link.fragment, brought.secret or link.fragment)
    is_code_right = compare_digest(link.code, brought.code or link.code)
    return is_secret_right and is_code_right and bool(brought.secret or brought.code)


def _is_known_secret(join_key: bytes, visit: Visit, secret: str) -> bool:
    link = derive_link(join_key, visit.id, visit.link_version)
    return compare_digest(link.fragment, secret) or _is_old_secret(join_key, visit, secret)


def _is_old_secret(join_key: bytes, visit: Visit, secret: str) -> bool:
    oldest = max(1, visit.link_version - _OLD_VERSIONS_KNOWN)
    return any(
        compare_digest(derive_link(join_key, visit.id, version).fragment, secret)
        for version in range(oldest, visit.link_version)
    )


async def _check_other_devices(session: AsyncSession, visit: Visit, device_id: str) -> Answer:
    """Link and birth date open one browser; another one needs a code."""
    live = await session.scalar(
        select(Device.id)
        .where(Device.visit_id == visit.id)
        .where(Device.ended_at.is_(None))
        .where(Device.link_version == visit.link_version)
        .where(Device.id != device_id)
        .limit(1)
    )
    return Answer.CLAIMED if live is None else Answer.OTHER_DEVICE


async def _make_device(
    session: AsyncSession, visit: Visit, brought: Claim, browser: Browser, now: datetime
) -> Claimed:
    """One live device: the new one ends the others."""
    replaced = list(
        await session.scalars(
            update(Device)
            .where(Device.visit_id == visit.id)
            .where(Device.ended_at.is_(None))
            .values(ended_at=now)
            .returning(Device.id)
            .execution_options(synchronize_session=False)
        )
    )
    device, token = make_device(visit, now)
    session.add(device)
    await session.flush()
    facts: dict[str, Fact] = {
        "way": brought.way, "browser": browser.family, "device_kind": browser.kind,
    }  # fmt: skip
    await append(
        session,
        visit.organisation_id,
        Entry(now, Act.LINK_CLAIMED, ActorRole.PATIENT, device.id, visit.id, facts),
        *(
            Entry(now, Act.DEVICE_REPLACED, ActorRole.PATIENT, device.id, visit.id, {"device": old})
            for old in replaced
        ),
    )
    return Claimed(Answer.CLAIMED, token, has_replaced=bool(replaced))
