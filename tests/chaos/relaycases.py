"""What a TURN server gives for credentials of every kind; one JSON line. Run inside a test host:
``relaycases.py ADDRESS PORT``, with the settings of the server in the environment; or with a user
name and a password more, for that credential alone."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from server.settings import Settings, load_settings
from server.turn.client import Refused, TurnUrl, allocate
from server.turn.seats import TurnSeats
from signaling.ice import EVERYBODY, IceConfig, sign_credential, turn_credentials

Credential = tuple[str, str]
ATTEMPTS = 1000
FORMER_SECRET = "the-secret-of-last-week"
EARLIER = timedelta(hours=3)


async def count(url: TurnUrl, credential: Credential, attempts: int = 1) -> int:
    """How many allocations this credential opens at once."""
    opened = 0
    async with AsyncExitStack() as stack:
        for _ in range(attempts):
            try:
                await stack.enter_async_context(allocate(url, credential))
                opened += 1
            except Refused:
                pass
    return opened


async def told(seats: TurnSeats) -> None:
    async with asyncio.timeout(5):
        await seats.wait_until_told()


async def cases_of_seats(url: TurnUrl, settings: Settings, now: datetime) -> dict[str, int]:
    seats = TurnSeats(settings.turn_valkey_url, settings.realm)
    elsewhere = TurnSeats(settings.turn_valkey_url, "other.test")
    relays, foreign = (IceConfig(turn_urls=("turn:x",), seats=each) for each in (seats, elsewhere))
    found: dict[str, int] = {}
    async with seats.connected(), elsewhere.connected():
        fresh = turn_credentials(relays, "visit.patient", now)
        other = turn_credentials(foreign, "visit.patient", now)
        expired = turn_credentials(relays, "visit2.patient", now - EARLIER)
        clinician = turn_credentials(relays, "visit.clinician", now)
        await told(seats)
        await told(elsewhere)
        found["fresh"] = await count(url, fresh)
        found["of another realm"] = await count(url, other)
        found["expired"] = await count(url, expired)
        found["forged"] = await count(url, sign_credential(b"guess", "visit.patient", 2**31))
        found["fresh, expiry made later"] = await count(
            url, (fresh[0].replace(fresh[0].partition(":")[0], "2147483647"), fresh[1])
        )
        newer = turn_credentials(relays, "visit.patient", now + timedelta(seconds=1))
        await told(seats)
        found["replaced by a newer one"] = await count(url, fresh)
        found["the newer one"] = await count(url, newer)
        seats.revoke("visit", "patient", (now + timedelta(seconds=2)).timestamp())
        await told(seats)
        found["revoked"] = await count(url, newer)
        found["of the other seat"] = await count(url, clinician)
        seats.revoke("visit", EVERYBODY, (now + timedelta(seconds=3)).timestamp())
        await told(seats)
        found["after the end of the visit"] = await count(url, clinician)
        again = turn_credentials(relays, "visit.patient", now + timedelta(seconds=10))
        await told(seats)
        found["fresh again"] = await count(url, again)
        found[f"one credential, {ATTEMPTS} attempts"] = await count(url, again, ATTEMPTS)
    return found


async def cases_of_one_secret(url: TurnUrl, settings: Settings, now: datetime) -> dict[str, int]:
    relays = IceConfig(turn_urls=("turn:x",), turn_secret=settings.turn_secret.encode())
    expires = int(now.timestamp()) + 600
    return {
        "fresh": await count(url, turn_credentials(relays, "visit.patient", now)),
        "expired": await count(url, turn_credentials(relays, "visit.patient", now - EARLIER)),
        "forged": await count(url, sign_credential(b"guess", "visit.patient", expires)),
        "of the former secret": await count(
            url, sign_credential(FORMER_SECRET.encode(), "visit.patient", expires)
        ),
    }


async def main(address: str, port: str, *credential: str) -> None:
    settings, now = load_settings(), datetime.now(UTC)
    url = TurnUrl(address, int(port), is_tcp=False, is_tls=False)
    if credential:
        username, password = credential
        print(json.dumps({"given": await count(url, (username, password))}))
        return
    cases = cases_of_seats if settings.turn_valkey_url else cases_of_one_secret
    print(json.dumps(await cases(url, settings, now)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
