"""One connection to a Valkey (or Redis ≥ 7): commands in order, in one write per turn of the loop.

What was sent and not answered is sent again on the next connection, in the same order, so a
command may be carried out twice: whoever sends it must be able to bear that. Answers and pushes
come on the same connection (RESP3). It knows nothing of rooms.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import hiredis

OnReply = Callable[[Any], None]

ANSWER_WITHIN_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 0.25
WATCH_SECONDS: Final = 0.5
MAX_PENDING: Final = 100_000
_PASSING: Final = ("LOADING", "OOM", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "MISCONF")

logger = logging.getLogger(__name__)


class Overloaded(Exception):
    """Too much waits for a Valkey that does not answer."""


class Owner(Protocol):
    """Whose connection it is."""

    def on_connected(self) -> None:
        """A new connection, before anything is sent again; its own ``send_first`` goes ahead."""

    def on_push(self, channel: bytes, payload: bytes) -> None:
        """A message of a channel."""


class Valkey(asyncio.Protocol):
    """The connection, for the life of the process; ``url`` is ``valkey://[user:password@]host
    [:port][/database]``, ``valkeys://…`` (TLS) or ``unix:///path``."""

    def __init__(self, url: str, owner: Owner) -> None:
        self._url = urlsplit(url)
        self._owner = owner
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._first: deque[tuple[bytes, OnReply | None]] = deque()
        """Answers of this connection alone: never sent again."""
        self._pending: deque[tuple[bytes, OnReply | None]] = deque()
        self._unsent: list[bytes] = []
        self._is_ready = False
        """What had to come first is answered."""
        self._heard_at = 0.0
        self._runner: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._idle = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self._is_ready

    # ---- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        self._runner = asyncio.create_task(self._run())

    async def stop(self, within_seconds: float = 2.0) -> None:
        """Waits a little for what is not answered yet, then closes."""
        if self._pending and self._transport is not None:
            self._idle.clear()
            try:
                async with asyncio.timeout(within_seconds):
                    await self._idle.wait()
            except TimeoutError:
                logger.warning("%d commands to Valkey are lost at the end", len(self._pending))
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        if self._transport is not None:
            self._transport.close()

    async def _run(self) -> None:
        was_told = False
        while True:
            self._lost.clear()
            try:
                async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                    await self._connect()
                was_told = False
                await self._watch()
            except (OSError, TimeoutError, ssl.SSLError) as error:
                if not was_told:
                    logger.warning("no Valkey (%s): frames wait", type(error).__name__)
                was_told = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        if self._url.scheme == "unix":
            await loop.create_unix_connection(lambda: self, self._url.path)
            return
        context = ssl.create_default_context() if self._url.scheme == "valkeys" else None
        await loop.create_connection(
            lambda: self, self._url.hostname or "", self._url.port or 6379, ssl=context
        )

    async def _watch(self) -> None:
        """Until the connection is lost, or something asked is not answered in time."""
        loop = asyncio.get_running_loop()
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                is_waiting = bool(self._first or self._pending)
                if is_waiting and loop.time() - self._heard_at > ANSWER_WITHIN_SECONDS:
                    logger.warning("Valkey does not answer: frames wait")
                    if self._transport is not None:
                        self._transport.abort()

    # ---- the connection --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # a stream's is always both ways
        self._reader = hiredis.Reader()
        self._heard_at = asyncio.get_running_loop().time()
        self._unsent.clear()
        self.send_first(*self._hello(), on_reply=self._on_hello)
        database = self._url.path.strip("/")
        if database and self._url.scheme != "unix":
            self.send_first("SELECT", database)
        self._owner.on_connected()

    def _hello(self) -> tuple[str, ...]:
        if not self._url.password:
            return ("HELLO", "3")
        user = unquote(self._url.username or "default")
        return ("HELLO", "3", "AUTH", user, unquote(self._url.password))

    def _on_hello(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError) and self._transport is not None:
            logger.error("Valkey refuses us: check the user and the password of its address")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._is_ready = False
        self._first.clear()
        self._lost.set()

    def data_received(self, data: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if type(reply) is hiredis.PushNotification:
                if reply[0] == b"message":
                    self._owner.on_push(reply[1], reply[2])
            elif type(reply) is hiredis.ReplyError and str(reply).startswith(_PASSING):
                self._try_later(str(reply))
                return
            elif self._is_ready:
                self._settle(self._pending, reply)
            else:
                self._settle(self._first, reply)
                if not self._first:
                    self._send_again()
        if not self._pending:
            self._idle.set()

    def _try_later(self, refusal: str) -> None:
        """The same commands are sent again on the next connection."""
        logger.warning("Valkey cannot now (%s): frames wait", refusal.split()[0])
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, waiting: deque[tuple[bytes, OnReply | None]], reply: Any) -> None:
        _, on_reply = waiting.popleft()
        if on_reply is None:
            return
        try:
            on_reply(reply)
        except Exception:
            logger.exception("an answer of Valkey was not taken")

    def _send_again(self) -> None:
        self._is_ready = True
        if self._pending and self._transport is not None:
            self._transport.write(b"".join(payload for payload, _ in self._pending))

    # ---- commands --------------------------------------------------------------------------

    def send_first(self, *command: str | bytes | int, on_reply: OnReply | None = None) -> None:
        """Only from ``on_connected`` and its answers: ahead of what is sent again."""
        if self._transport is not None:
            payload = _pack(command)
            self._first.append((payload, on_reply))
            self._transport.write(payload)

    def send(self, *command: str | bytes | int, on_reply: OnReply | None = None) -> None:
        """Raises ``Overloaded``."""
        if len(self._pending) >= MAX_PENDING:
            raise Overloaded
        payload = _pack(command)
        self._pending.append((payload, on_reply))
        if self._is_ready:
            if not self._unsent:
                asyncio.get_running_loop().call_soon(self._flush)
            self._unsent.append(payload)
        if len(self._pending) == 1:
            self._heard_at = asyncio.get_running_loop().time()

    def _flush(self) -> None:
        if self._transport is not None and self._unsent:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def subscribe(self, channel: str) -> None:
        """From here on the messages of the channel are pushed; after a new connection the owner
        says it again in ``on_connected``."""
        self._tell("SUBSCRIBE", channel)

    def unsubscribe(self, channel: str) -> None:
        self._tell("UNSUBSCRIBE", channel)

    def _tell(self, *command: str) -> None:
        """What has no answer but a push."""
        if self._transport is None:
            return
        payload = _pack(command)
        if self._is_ready:
            if not self._unsent:
                asyncio.get_running_loop().call_soon(self._flush)
            self._unsent.append(payload)
        else:
            self._transport.write(payload)

    async def ask(self, *command: str | bytes | int) -> Any:
        """Sends and waits for the answer; raises ``TimeoutError`` while there is no Valkey."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def take(reply: Any) -> None:
            if not answer.done():
                answer.set_result(reply)

        if not self._is_ready:
            raise TimeoutError
        self.send(*command, on_reply=take)
        async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
            return await answer


def _pack(command: Sequence[str | bytes | int]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type] # it takes any length
    return packed
