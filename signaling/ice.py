"""ICE servers for the browser: what is configured and nothing else. Pure.

TURN credentials follow the TURN REST draft (draft-uberti-behave-turn-rest-00): the user name is
``expiry:id``, the password ``base64(HMAC-SHA1(secret, user name))``, and coturn checks both with
``use-auth-secret``. The secret is one for all, or, where somebody can hand secrets to the TURN
server, one for each credential: then a credential ends before its time with ``end_seats``. There
is no default server: an empty configuration gives an empty list.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from signaling.messages import Closed, Gone, RoomEvent, TurnedAway

MAX_CREDENTIAL_SECONDS: Final = 2 * 3600
EVERYBODY: Final = "*"

IceServer = dict[str, str | list[str]]


class SeatSecrets(Protocol):
    """Secrets that the TURN server accepts for one seat each. Both are quick and do not raise."""

    def issue(self, identity: str, now: datetime) -> bytes:
        """A new secret for the seat; the one it had is void."""

    def revoke(self, room_id: str, participant: str, at: float) -> None:
        """What the seat, or with ``EVERYBODY`` each seat of the room, had at ``at`` is void."""


@dataclass(frozen=True, slots=True)
class IceConfig:
    """Addresses of the organisation's own STUN and TURN servers."""

    stun_urls: tuple[str, ...] = ()
    turn_urls: tuple[str, ...] = ()
    turn_secret: bytes = field(default=b"", repr=False)
    credential_seconds: int = MAX_CREDENTIAL_SECONDS
    seats: SeatSecrets | None = None
    """Stands for ``turn_secret``."""

    def __post_init__(self) -> None:
        if self.turn_urls and not self.turn_secret and self.seats is None:
            raise ValueError("turn_urls need a turn_secret")
        if not 0 < self.credential_seconds <= MAX_CREDENTIAL_SECONDS:
            raise ValueError(f"credential_seconds must be in 1…{MAX_CREDENTIAL_SECONDS}")

    @property
    def has_relay(self) -> bool:
        return bool(self.turn_urls)

    def end_seats(self, room_id: str, event: RoomEvent, at: float) -> None:
        """Ends the credentials of those whom this event of the room sends away. May be told
        again of what happened long ago (``at``, as a timestamp)."""
        if self.seats is None:
            return
        match event:
            case Gone(participant=participant) | TurnedAway(participant=participant):
                self.seats.revoke(room_id, participant, at)
            case Closed():
                self.seats.revoke(room_id, EVERYBODY, at)
            case _:
                pass


def turn_credentials(config: IceConfig, identity: str, now: datetime) -> tuple[str, str]:
    """User name and password for one participant (``room.participant``), valid for
    ``credential_seconds``."""
    secret = config.seats.issue(identity, now) if config.seats else config.turn_secret
    # coturn counts allocations by what follows the expiry. The serial gives each credential a
    # quota of its own: after a change of network the old allocations stay for ten minutes.
    return sign_credential(
        secret, f"{identity}.{now.microsecond:06}", int(now.timestamp()) + config.credential_seconds
    )


def sign_credential(secret: bytes, identity: str, expires: int) -> tuple[str, str]:
    """User name and password that hold until ``expires``, a timestamp."""
    username = f"{expires}:{identity}"
    # SHA-1 is what the TURN REST draft and coturn fix; HMAC does not need collision resistance.
    mac = hmac.digest(secret, username.encode(), "sha1")
    return username, base64.b64encode(mac).decode()


def ice_servers(config: IceConfig, identity: str, now: datetime) -> list[IceServer]:
    """The ``iceServers`` list of ``RTCPeerConnection``, with fresh credentials."""
    servers: list[IceServer] = []
    if config.stun_urls:
        servers.append({"urls": list(config.stun_urls)})
    if config.has_relay:
        username, credential = turn_credentials(config, identity, now)
        servers.append(
            {"urls": list(config.turn_urls), "username": username, "credential": credential}
        )
    return servers
