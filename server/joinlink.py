"""The join link: derived, never stored (``security.md`` §3.1).

``https://host/v/<locator>#<secret><check>``: the locator is public, the secret (130 bit) is in the
fragment, which browsers do not send. The spoken code (40 bit) is the way in when a mail program
cut the fragment. Both are ``HMAC(K_join[organisation], visit | role | version)``: recomputed to
send, to read out and to check, so every message carries the same link and no table holds it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from server.models import Appointment, AppointmentStatus, Visit, VisitState
from server.models.ids import CROCKFORD, crockford

SECRET_LENGTH: Final = 26
CODE_LENGTH: Final = 8
DEVICE_CODE_DIGITS: Final = 6
CHECK_IN_OPENS: Final = timedelta(hours=24)
ROOM_OPENS: Final = timedelta(minutes=30)
ROOM_CLOSES: Final = timedelta(hours=2)
REPORT_TERM: Final = timedelta(days=45)
"""How long after the visit the link still opens the report: no longer than 45 days (DPCM
8/8/2013, reports on line)."""
_LOOK_ALIKE: Final = str.maketrans({"o": "0", "i": "1", "l": "1"})


class LinkPhase(StrEnum):
    """What the link opens now. The device test is open in every phase but the last two."""

    EARLY = "early"
    CHECK_IN = "check_in"
    ROOM = "room"
    REPORT = "report"
    EXPIRED = "expired"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class JoinLink:
    """The two derived secrets of one visit and role."""

    secret: str
    code: str

    @property
    def fragment(self) -> str:
        return self.secret + check_character(self.secret)

    @property
    def spoken_code(self) -> str:
        """As it is read out: two groups of four, upper case."""
        return f"{self.code[:4]}-{self.code[4:]}".upper()


def derive_link(join_key: bytes, visit_id: str, version: int, role: str = "patient") -> JoinLink:
    """The link of a visit at one version."""
    return JoinLink(
        secret=_derive(join_key, "join-1", visit_id, role, version, SECRET_LENGTH),
        code=_derive(join_key, "code-1", visit_id, role, version, CODE_LENGTH),
    )


def derive_device_code(join_key: bytes, visit_id: str, issued_at: datetime) -> str:
    """The six digits that a second device needs (``security.md`` J8), for one issue of them.

    Derived again to send and to check, so no table holds them. Whole seconds of UTC count: what
    a column or an ISO text loses does not change the code.
    """
    return _derive_digits(join_key, f"device-1|{visit_id}|{int(issued_at.timestamp())}")


def derive_report_code(join_key: bytes, visit_id: str, issued_at: datetime) -> str:
    """The six digits with which a patient opens the reports of a visit, derived like the above."""
    return _derive_digits(join_key, f"report-1|{visit_id}|{int(issued_at.timestamp())}")


def check_character(secret: str) -> str:
    """One character that tells a cut or mistyped secret from a wrong one."""
    total = sum((place + 1) * CROCKFORD.index(char) for place, char in enumerate(secret))
    return CROCKFORD[total % 31]


def normalise(text: str) -> str:
    """What a person typed or a mail program mangled, as lower-case Crockford base32."""
    return re.sub(r"[^0-9a-z]", "", text.lower()).translate(_LOOK_ALIKE)


def is_complete_fragment(text: str) -> bool:
    """Whether this is a whole fragment, right or wrong (``text`` is normalised)."""
    return (
        len(text) == SECRET_LENGTH + 1
        and all(char in CROCKFORD for char in text)
        and check_character(text[:-1]) == text[-1]
    )


def is_complete_code(text: str) -> bool:
    """Whether this is a whole spoken code, right or wrong (``text`` is normalised)."""
    return len(text) == CODE_LENGTH and all(char in CROCKFORD for char in text)


def link_phase(visit: Visit, appointment: Appointment, now: datetime) -> LinkPhase:
    """What the link of this visit opens at ``now``."""
    if visit.state is VisitState.CANCELLED or appointment.status is AppointmentStatus.CANCELLED:
        return LinkPhase.DEAD
    if visit.state is VisitState.ENDED:
        return LinkPhase.REPORT if now < appointment.end + REPORT_TERM else LinkPhase.EXPIRED
    if now < appointment.start - CHECK_IN_OPENS:
        return LinkPhase.EARLY
    if now < appointment.start - ROOM_OPENS:
        return LinkPhase.CHECK_IN
    if now < appointment.end + ROOM_CLOSES or visit.state is VisitState.IN_VISIT:
        return LinkPhase.ROOM
    return LinkPhase.REPORT if now < appointment.end + REPORT_TERM else LinkPhase.EXPIRED


def is_answer_open(visit: Visit, appointment: Appointment, now: datetime) -> bool:
    """Whether the patient may still confirm the booking or ask to cancel it: before its hour,
    and not once she waits."""
    is_before = visit.state in {VisitState.BOOKED, VisitState.CHECKED_IN}
    return is_before and appointment.status is AppointmentStatus.BOOKED and now < appointment.start


def _derive_digits(key: bytes, message: str) -> str:
    digest = hmac.digest(key, message.encode(), hashlib.sha256)
    return f"{int.from_bytes(digest, 'big') % 10**DEVICE_CODE_DIGITS:0{DEVICE_CODE_DIGITS}}"


def _derive(key: bytes, label: str, visit_id: str, role: str, version: int, length: int) -> str:
    message = f"{label}|{visit_id}|{role}|{version}".encode()
    digest = hmac.digest(key, message, hashlib.sha256)
    return crockford(int.from_bytes(digest, "big"), length)
