"""The ask for a photo and the consent to it, as signed words: no row is kept for either.

An ask goes to the patient through the room, the consent comes back with the picture. Both end
after some minutes, belong to one visit and open nothing by themselves.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from server.errors import InvalidInput
from server.models import new_id

ASK_TERM: Final = timedelta(minutes=10)
CONSENT_TERM: Final = timedelta(minutes=20)
_MAC_CHARACTERS: Final = 24


@dataclass(frozen=True, slots=True)
class Ask:
    """``at``: when it was asked, or agreed to."""

    id: str
    at: datetime


class Asks:
    """Signs with a secret of the installation."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make_ask(self, visit_id: str, now: datetime) -> str:
        """A new ask, at most 64 characters."""
        return self._sign("ask", visit_id, Ask(new_id(), now), "")

    def open_ask(self, visit_id: str, text: str, now: datetime) -> Ask:
        """:raises InvalidInput: not an ask of this visit, or too old."""
        return self._open("ask", visit_id, text, "", now - ASK_TERM)

    def make_consent(self, visit_id: str, ask: Ask, text_hash: str, now: datetime) -> str:
        """The consent to one ask, bound to the text that was on the screen."""
        return self._sign("consent", visit_id, Ask(ask.id, now), text_hash)

    def open_consent(self, visit_id: str, text: str, text_hash: str, now: datetime) -> Ask:
        """:raises InvalidInput: not a consent of this visit to this text, or too old."""
        return self._open("consent", visit_id, text, text_hash, now - CONSENT_TERM)

    def _sign(self, step: str, visit_id: str, ask: Ask, text_hash: str) -> str:
        moment = f"{int(ask.at.timestamp() * 1000):x}"
        return f"{ask.id}.{moment}.{self._mac(step, visit_id, ask.id, moment, text_hash)}"

    def _open(self, step: str, visit_id: str, text: str, text_hash: str, oldest: datetime) -> Ask:
        id_, _, rest = text.partition(".")
        moment, _, mac = rest.partition(".")
        expected = self._mac(step, visit_id, id_, moment, text_hash)
        if not hmac.compare_digest(mac.encode(), expected.encode()):
            raise InvalidInput(step, "malformed")
        at = datetime.fromtimestamp(int(moment, 16) / 1000, UTC)
        if at < oldest:
            raise InvalidInput(step, "expired")
        return Ask(id_, at)

    def _mac(self, *parts: str) -> str:
        message = "|".join(parts).encode()
        return hmac.digest(self._key, message, hashlib.sha256).hex()[:_MAC_CHARACTERS]
