"""A secret of its own for each seat, in the Valkey that coturn reads, until the seat is revoked.

coturn (``use-auth-secret`` with ``redis-userdb``) takes every secret of the set
``turn/realm/<realm>/secret``. Not its keys per user name: 4.6.1 puts the user name of a stranger
into a format string there, and one packet ends the server.

What was done last for each seat is kept here for as long as credentials live and told again after
every new connection, so a Valkey that was away, or is empty now, is soon right again. Each order
carries its time and the later one wins, so they may arrive twice, late, and from any node.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import hiredis
from aiohttp import web

from signaling.ice import MAX_CREDENTIAL_SECONDS
from signaling.valkey import Overloaded, Valkey

SECRET_BYTES: Final = 16
LIFETIME_MS: Final = (MAX_CREDENTIAL_SECONDS + 60) * 1000
SLACK_MS: Final = 2000
"""How far the clocks of two nodes may be apart without a revoked secret staying."""
LOOK_SECONDS: Final = 5.0

_ISSUE: Final = """
local who, secret, at, lifetime = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
for _, field in ipairs({who, '*'}) do
  local held = redis.call('HGET', KEYS[2], field)
  if held and tonumber(string.match(held, '^%d+')) > at then return 0 end
end
local old = string.match(redis.call('HGET', KEYS[2], who) or '', ' (%x+)$')
if old then
  redis.call('SREM', KEYS[1], old)
  redis.call('ZREM', KEYS[3], old)
end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', at)) do
  redis.call('SREM', KEYS[1], dead)
  redis.call('ZREM', KEYS[3], dead)
end
redis.call('SADD', KEYS[1], secret)
redis.call('ZADD', KEYS[3], at + lifetime, secret)
redis.call('HSET', KEYS[2], who, ARGV[3] .. ' ' .. secret)
redis.call('PEXPIRE', KEYS[2], lifetime)
return 1
"""
_REVOKE: Final = """
local who, at, lifetime, slack = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local fields = who == '*' and redis.call('HKEYS', KEYS[2]) or {who}
local revoked = 0
for _, field in ipairs(fields) do
  local issued, secret = string.match(redis.call('HGET', KEYS[2], field) or '', '^(%d+) (%x+)$')
  if secret and tonumber(issued) <= at + slack then
    redis.call('SREM', KEYS[1], secret)
    redis.call('ZREM', KEYS[3], secret)
    redis.call('HSET', KEYS[2], field, ARGV[2])
    revoked = revoked + 1
  elseif not secret then
    redis.call('HSET', KEYS[2], field, ARGV[2])
  end
end
if who == '*' then redis.call('HSET', KEYS[2], '*', ARGV[2]) end
redis.call('PEXPIRE', KEYS[2], lifetime)
return revoked
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What happened last to a seat; without a secret it was revoked."""

    room_id: str
    participant: str
    at_ms: int
    secret: str = field(default="", repr=False)


class TurnSeats:
    """Tells Valkey; the :class:`signaling.ice.SeatSecrets` of an application."""

    def __init__(self, url: str, realm: str) -> None:
        self._secrets = f"turn/realm/{realm}/secret"
        self._own = f"accanto:turn:{realm}"
        self.mark = f"{self._own}:mark:{secrets.token_hex(4)}"
        """A key of this process that is gone when the other side was emptied."""
        self._valkey = Valkey(url, self)
        self._orders: dict[tuple[str, str], Order] = {}
        """The last one of each seat, the oldest first."""
        self._has_connected = asyncio.Event()

    # ---- seats -----------------------------------------------------------------------------

    def issue(self, identity: str, now: datetime) -> bytes:
        """A new secret for the seat ``room.participant``; the one it had is void."""
        room_id, _, participant = identity.rpartition(".")
        secret = secrets.token_hex(SECRET_BYTES)
        self._give(Order(room_id, participant, int(now.timestamp() * 1000), secret))
        return secret.encode()

    def revoke(self, room_id: str, participant: str, at: float) -> None:
        """What the seat, or with ``EVERYBODY`` each seat of the room, had at ``at`` is void."""
        order = Order(room_id, participant, int(at * 1000))
        held = self._orders.get((room_id, participant))
        if held is None or held.at_ms <= order.at_ms + SLACK_MS:
            self._give(order)

    def _give(self, order: Order) -> None:
        key = (order.room_id, order.participant)
        self._orders.pop(key, None)
        self._orders[key] = order
        self._forget_old(order.at_ms)
        try:
            self._valkey.send(*self._command(order), on_reply=_check)
        except Overloaded:
            logger.warning("a TURN secret waits for the next connection to Valkey")

    def _forget_old(self, now_ms: int) -> None:
        while self._orders:
            key, oldest = next(iter(self._orders.items()))
            if oldest.at_ms > now_ms - LIFETIME_MS:
                return
            del self._orders[key]

    def _command(self, order: Order) -> tuple[str | int, ...]:
        seats, expiries = f"{self._own}:seats:{order.room_id}", f"{self._own}:expiries"
        keys = (3, self._secrets, seats, expiries)
        if order.secret:
            issued = (order.participant, order.secret, order.at_ms, LIFETIME_MS)
            return ("EVAL", _ISSUE, *keys, *issued)
        revoked = (order.participant, order.at_ms, LIFETIME_MS, SLACK_MS)
        return ("EVAL", _REVOKE, *keys, *revoked)

    # ---- the connection --------------------------------------------------------------------

    def on_connected(self) -> None:
        """Tell everything again: the other side may be new."""
        for order in self._orders.values():
            self._valkey.send_first(*self._command(order), on_reply=_check)
        self._valkey.send_first(*self._mark_again(), on_reply=self._on_marked)

    def _on_marked(self, reply: Any) -> None:
        _check(reply)
        self._has_connected.set()

    def on_push(self, channel: bytes, payload: bytes) -> None:
        """Nothing is subscribed to."""

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Be connected while the application runs."""
        async with self.connected():
            yield

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep the connection, and look now and then whether the other side was emptied."""
        self._valkey.start()
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await self._valkey.stop()

    async def wait_until_told(self) -> None:
        """Until Valkey has taken what it was told; give it a limit of time."""
        await self._has_connected.wait()
        await self._valkey.ask("PING")

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(TimeoutError, Overloaded):
                if await self._valkey.ask(*self._mark_again(), "GET") is None:
                    logger.warning("the Valkey of the TURN servers was emptied")
                    for order in self._orders.values():
                        self._valkey.send(*self._command(order), on_reply=_check)

    def _mark_again(self) -> tuple[str | int, ...]:
        return ("SET", self.mark, "1", "PX", LIFETIME_MS)


def _check(reply: Any) -> None:
    if isinstance(reply, hiredis.ReplyError):
        logger.error("the Valkey of the TURN servers refuses an order")


def lone_seat() -> str:
    """An identity for a test of the server: no visit has such a room."""
    return f"check-{secrets.token_hex(4)}.probe"
