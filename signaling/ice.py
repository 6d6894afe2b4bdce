"""ICE servers for the browser: what is configured and nothing else. Pure.

TURN credentials follow the TURN REST draft (draft-uberti-behave-turn-rest-00): the user name is
``expiry:id``, the password ``base64(HMAC-SHA1(secret, user name))``, and coturn checks both with
``use-auth-secret``. There is no default server: an empty configuration gives an empty list.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

MAX_CREDENTIAL_SECONDS: Final = 2 * 3600

IceServer = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class IceConfig:
    """Addresses of the organisation's own STUN and TURN servers."""

    stun_urls: tuple[str, ...] = ()
    turn_urls: tuple[str, ...] = ()
    turn_secret: bytes = field(default=b"", repr=False)
    credential_seconds: int = MAX_CREDENTIAL_SECONDS

    def __post_init__(self) -> None:
        if self.turn_urls and not self.turn_secret:
            raise ValueError("turn_urls need a turn_secret")
        if not 0 < self.credential_seconds <= MAX_CREDENTIAL_SECONDS:
            raise ValueError(f"credential_seconds must be in 1…{MAX_CREDENTIAL_SECONDS}")

    @property
    def has_relay(self) -> bool:
        return bool(self.turn_urls)


def turn_credentials(config: IceConfig, identity: str, now: datetime) -> tuple[str, str]:
    """User name and password for one participant, valid for ``credential_seconds``."""
    username = f"{int(now.timestamp()) + config.credential_seconds}:{identity}"
    # SHA-1 is what the TURN REST draft and coturn fix; HMAC does not need collision resistance.
    mac = hmac.digest(config.turn_secret, username.encode(), "sha1")
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
