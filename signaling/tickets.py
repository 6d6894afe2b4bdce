"""Tickets and resume tokens: signed claims that open a socket. Pure: no clock, no randomness.

A **ticket** is asked over HTTPS with the person's session and opens one socket, once, within 30
seconds. A **resume token** is given in ``welcome`` and lets the same page come back after a lost
socket; how long after is the room's rule (two minutes from the loss), the expiry in the token is
only its outer bound. Both are ``base64url(claims) "." base64url(HMAC-SHA-256)``, with the kind
inside the MAC so that neither passes for the other.
"""

from __future__ import annotations

import base64
import hmac
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from signaling.messages import Role
from signaling.seed import RoomSeed

TICKET_SECONDS: Final = 30
RESUME_TOKEN_SECONDS: Final = 6 * 3600
NONCE_BYTES: Final = 12


class BadToken(Exception):
    """Forged, malformed, of another kind, late or already used: one error for all."""


class TicketClaims(msgspec.Struct, frozen=True, array_like=True):
    room: str
    participant: str
    role: Role
    expires: int
    nonce: str
    seed: RoomSeed | None = None
    """The room as it was when the ticket was issued; spares the records a question."""


class ResumeClaims(msgspec.Struct, frozen=True, array_like=True):
    room: str
    participant: str
    role: Role
    epoch: str
    page: int
    """``seq`` of this page's ``joined``: after a newer page has joined it opens nothing."""
    expires: int


_Claims = TypeVar("_Claims", TicketClaims, ResumeClaims)

_encoder: Final = msgspec.json.Encoder()
_ticket_decoder: Final = msgspec.json.Decoder(TicketClaims)
_resume_decoder: Final = msgspec.json.Decoder(ResumeClaims)


def issue_ticket(
    key: bytes,
    *,
    room: str,
    participant: str,
    role: Role,
    now: datetime,
    nonce: bytes,
    seed: RoomSeed | None = None,
) -> str:
    """A ticket for one participant and one room, good for 30 seconds from ``now``."""
    expires = int(now.timestamp()) + TICKET_SECONDS
    claims = TicketClaims(room, participant, role, expires, _to_text(nonce), seed)
    return _sign(key, b"ticket", claims)


def parse_ticket(key: bytes, text: str, now: datetime) -> TicketClaims:
    """The claims of a genuine, timely ticket; the caller still checks one-time use."""
    return _open(key, b"ticket", text, now, _ticket_decoder)


def issue_resume_token(
    key: bytes, *, room: str, participant: str, role: Role, epoch: str, page: int, now: datetime
) -> str:
    expires = int(now.timestamp()) + RESUME_TOKEN_SECONDS
    return _sign(key, b"resume", ResumeClaims(room, participant, role, epoch, page, expires))


def parse_resume_token(key: bytes, text: str, now: datetime) -> ResumeClaims:
    return _open(key, b"resume", text, now, _resume_decoder)


class UsedTickets:
    """Nonces of the tickets used on this node, each kept only until its ticket expires."""

    __slots__ = ("_expiry_by_nonce",)

    def __init__(self) -> None:
        self._expiry_by_nonce: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._expiry_by_nonce)

    def use(self, claims: TicketClaims, now: datetime) -> None:
        """Marks the ticket as used; raises ``BadToken`` when it was used before."""
        for nonce in self._expired(int(now.timestamp())):
            del self._expiry_by_nonce[nonce]
        if claims.nonce in self._expiry_by_nonce:
            raise BadToken
        self._expiry_by_nonce[claims.nonce] = claims.expires

    def _expired(self, now: int) -> list[str]:
        # Use order is nearly expiry order: the first live one ends the search, and whatever
        # hides behind it goes at most one ticket life later.
        expired = []
        for nonce, expires in self._expiry_by_nonce.items():
            if expires > now:
                break
            expired.append(nonce)
        return expired


def _sign(key: bytes, kind: bytes, claims: TicketClaims | ResumeClaims) -> str:
    body = _to_text(_encoder.encode(claims))
    return f"{body}.{_to_text(_mac(key, kind, body))}"


def _open(
    key: bytes, kind: bytes, text: str, now: datetime, decoder: msgspec.json.Decoder[_Claims]
) -> _Claims:
    body, _, mac = text.partition(".")
    try:
        if not hmac.compare_digest(_to_text(_mac(key, kind, body)).encode(), mac.encode()):
            raise BadToken
        claims = decoder.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError as error:  # encoding, base64 and msgspec errors are all ValueErrors
        raise BadToken from error
    if claims.expires <= now.timestamp():
        raise BadToken
    return claims


def _mac(key: bytes, kind: bytes, body: str) -> bytes:
    return hmac.digest(key, kind + b"\0" + body.encode(), "sha256")


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
