"""The test of a TURN server: does it relay for us, for us only, and nowhere inside.

Asking for a permission sends nothing to the peer, so the probe of forbidden peers is silent.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Final

from server.settings import Settings
from server.turn.client import Family, Refused, TurnUrl, allocate, parse_turn_url
from server.turn.peers import FORBIDDEN_V4, FORBIDDEN_V6, PUBLIC_V4, PUBLIC_V6
from server.turn.seats import TurnSeats, lone_seat
from signaling.ice import EVERYBODY, sign_credential

CREDENTIAL_SECONDS: Final = 300
DATA_WITHIN_SECONDS: Final = 3.0
_BAD_SECRET: Final = b"nobody has this secret"
_FAMILY_UNKNOWN: Final = 440
_UNAUTHORISED: Final = 401

Issue = Callable[[], tuple[str, str]]
"""A fresh credential each time: a failed allocation counts in its quota for a minute."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a server does with peers; ``relayed`` are forbidden ones it would relay to."""

    denied: int
    relayed: tuple[str, ...]
    allowed: int
    blocked: tuple[str, ...]
    has_v6: bool

    @property
    def is_good(self) -> bool:
        return not self.relayed and not self.blocked


async def probe_peers(url: TurnUrl, issue: Issue, context: ssl.SSLContext | None = None) -> Probe:
    """Ask for a permission for each forbidden peer and for some public ones.

    A server without an IPv6 relay reaches no IPv6 peer: then the IPv4 allocation is asked for
    them, to see that it refuses, and the public ones among them are left out.
    """
    relayed: list[str] = []
    blocked: list[str] = []
    has_v6 = True
    async with allocate(url, issue(), context=context) as allocation:
        relayed += [ip for ip in FORBIDDEN_V4 if await allocation.is_permitted(ip)]
        blocked += [ip for ip in PUBLIC_V4 if not await allocation.is_permitted(ip)]
    try:
        async with allocate(url, issue(), Family.V6, context) as allocation:
            relayed += [ip for ip in FORBIDDEN_V6 if await allocation.is_permitted(ip)]
            blocked += [ip for ip in PUBLIC_V6 if not await allocation.is_permitted(ip)]
    except Refused as error:
        if error.code != _FAMILY_UNKNOWN:
            raise
        has_v6 = False
        async with allocate(url, issue(), context=context) as allocation:
            relayed += [ip for ip in FORBIDDEN_V6 if await allocation.is_permitted(ip)]
    forbidden = len(FORBIDDEN_V4) + len(FORBIDDEN_V6)
    public = len(PUBLIC_V4) + (len(PUBLIC_V6) if has_v6 else 0)
    return Probe(
        denied=forbidden - len(relayed),
        relayed=tuple(relayed),
        allowed=public - len(blocked),
        blocked=tuple(blocked),
        has_v6=has_v6,
    )


async def relays_data(url: TurnUrl, issue: Issue, context: ssl.SSLContext | None = None) -> bool:
    """Whether a word goes from one allocation of the server to another and back."""
    async with (
        allocate(url, issue(), context=context) as here,
        allocate(url, issue(), context=context) as there,
    ):
        word = secrets.token_bytes(12)
        try:
            await there.send(word, here.address)  # binds only: here is not bound to it yet
            for sender, receiver in ((here, there), (there, here)):
                await sender.send(word, receiver.address)
                async with asyncio.timeout(DATA_WITHIN_SECONDS):
                    if await receiver.received.get() != word:
                        return False
        except (Refused, TimeoutError):
            return False
    return True


async def is_refused(
    url: TurnUrl, credential: tuple[str, str], context: ssl.SSLContext | None = None
) -> bool:
    """Whether the server allocates nothing for these credentials, because of them."""
    try:
        async with allocate(url, credential, context=context):
            return False
    except Refused as error:
        return error.code == _UNAUTHORISED


@asynccontextmanager
async def fresh_credentials(settings: Settings, now: datetime) -> AsyncIterator[Issue]:
    """Credentials as a seat gets them, good for the block.

    :raises TimeoutError: the Valkey of the TURN servers does not answer.
    """
    seat = lone_seat()
    expires = int(now.timestamp()) + CREDENTIAL_SECONDS
    serial = count()
    if not settings.turn_valkey_url:
        secret = settings.turn_secret.encode()
        yield lambda: sign_credential(secret, f"{seat}.{next(serial)}", expires)
        return
    seats = TurnSeats(settings.turn_valkey_url, settings.realm)
    async with seats.connected():
        secret = seats.issue(seat, now)
        async with asyncio.timeout(DATA_WITHIN_SECONDS):
            await seats.wait_until_told()
        try:
            yield lambda: sign_credential(secret, f"{seat}.{next(serial)}", expires)
        finally:
            seats.revoke(seat.partition(".")[0], EVERYBODY, now.timestamp())


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence on one server."""

    is_good: bool
    text: str


async def examine(
    settings: Settings, now: datetime, context: ssl.SSLContext | None = None
) -> list[Verdict]:
    """A verdict for each TURN server of the settings."""
    try:
        async with fresh_credentials(settings, now) as issue:
            return [await _examine_one(url, issue, now, context) for url in settings.turn_urls]
    except TimeoutError:
        return [Verdict(False, "The Valkey of the TURN servers (turn_valkey_url) does not answer")]


async def _examine_one(
    text: str, issue: Issue, now: datetime, context: ssl.SSLContext | None
) -> Verdict:
    try:
        url = parse_turn_url(text)
        faults, good = await _judge(url, issue, now, context)
    except ValueError as error:
        return Verdict(False, f"{text}: {error}")
    except Refused as error:
        return Verdict(False, f"{text} gives no relay for fresh credentials (answer {error.code})")
    except ssl.SSLError as error:
        return Verdict(False, f"{text}: its certificate is not accepted ({error.reason})")
    except (OSError, TimeoutError) as error:
        return Verdict(False, f"{text} cannot be reached ({type(error).__name__})")
    if faults:
        return Verdict(False, f"{text} {'; '.join(faults)}")
    return Verdict(True, f"{text} {good}")


async def _judge(
    url: TurnUrl, issue: Issue, now: datetime, context: ssl.SSLContext | None
) -> tuple[list[str], str]:
    faults: list[str] = []
    expires = int(now.timestamp()) + CREDENTIAL_SECONDS
    if not await is_refused(url, sign_credential(_BAD_SECRET, lone_seat(), expires), context):
        faults.append("allocates for a forged credential")
    if not await relays_data(url, issue, context):
        faults.append("does not relay between two of its own allocations")
    probe = await probe_peers(url, issue, context)
    asked = probe.denied + len(probe.relayed)
    tried = probe.allowed + len(probe.blocked)
    if probe.relayed:
        faults.append(
            f"denies only {probe.denied} of {asked} forbidden peers "
            f"(it relays to {', '.join(probe.relayed[:3])} …): see 'accanto turn-config'"
        )
    if probe.blocked:
        faults.append(f"denies public peers ({', '.join(probe.blocked)})")
    good = (
        f"relays, refuses forged credentials, denies {probe.denied} of {asked} forbidden peers, "
        f"allows {probe.allowed} of {tried} public ones"
    )
    return faults, good if probe.has_v6 else f"{good} (it has no IPv6 relay)"
