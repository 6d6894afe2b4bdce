"""Why somebody looks at a recording, and the pass of one view: signed words in a cookie.

People agreed to a recording for a purpose. To look at it for another one is not what they agreed
to (GDPR art. 5(1)(b)), but for what the law itself asks.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from aiohttp import web

from server.auth import Actor
from server.errors import InvalidInput
from server.models import Recording, RecordingPurpose
from server.services import KEYRING, SETTINGS, now_of

_COOKIE: Final = "recording-view"
_TERM: Final = timedelta(hours=4)


class ViewPurpose(StrEnum):
    """Why a recording is opened or handed out."""

    CARE = "care"
    SECOND_OPINION = "second_opinion"
    TEACHING = "teaching"
    REQUEST = "request"
    """The person recorded asks (GDPR art. 15)."""
    CLAIM = "claim"
    """A complaint or a lawsuit (GDPR art. 9(2)(f))."""


_BY_LAW: Final = (ViewPurpose.REQUEST, ViewPurpose.CLAIM)
_ALLOWED: Final = {
    RecordingPurpose.CARE: (ViewPurpose.CARE, *_BY_LAW),
    RecordingPurpose.SECOND_OPINION: (ViewPurpose.SECOND_OPINION, ViewPurpose.CARE, *_BY_LAW),
    RecordingPurpose.TEACHING: (ViewPurpose.TEACHING, *_BY_LAW),
}


def purposes_of(recording: Recording) -> tuple[ViewPurpose, ...]:
    """What this recording may be opened for."""
    return _ALLOWED[recording.purpose]


def parse_purpose(recording: Recording, text: str) -> ViewPurpose:
    """:raises InvalidInput: not a purpose that goes with what was agreed to."""
    for purpose in purposes_of(recording):
        if purpose.value == text:
            return purpose
    raise InvalidInput("purpose", "not_allowed")


def give_pass(
    request: web.Request, response: web.StreamResponse, actor: Actor, recording_id: str
) -> None:
    """Let this login see the recording for some hours, without asking for each piece of it."""
    moment = str(int((now_of(request) + _TERM).timestamp()))
    response.set_cookie(
        _COOKIE,
        f"{moment}.{_sign(request, recording_id, actor, moment)}",
        max_age=int(_TERM.total_seconds()),
        path=f"/recordings/{recording_id}",
        secure=request.app[SETTINGS].is_https,
        httponly=True,
        samesite="Strict",
    )


def check_pass(request: web.Request, actor: Actor, recording_id: str) -> bool:
    """Whether this clinician has said why, and not too long ago."""
    moment, _, mac = request.cookies.get(_COOKIE, "").partition(".")
    expected = _sign(request, recording_id, actor, moment)
    if not hmac.compare_digest(mac.encode(), expected.encode()):
        return False
    return datetime.fromtimestamp(int(moment), UTC) > now_of(request)


def _sign(request: web.Request, recording_id: str, actor: Actor, moment: str) -> str:
    key = request.app[KEYRING].derive("recording-views")
    words = f"{recording_id}|{actor.id}|{moment}".encode()
    return hmac.digest(key, words, hashlib.sha256).hex()
