"""One seat of a room over its socket, as a page holds it: joins, resumes, numbers, resends.

The Python twin of ``static/js/wire.js``: the seat outlives its sockets, and whoever uses it hears
each event once and in order. Knows no media and no state of the room; see ``PROTOCOL.md``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import msgspec

from signaling.messages import (
    PROTOCOL_VERSION,
    Ack,
    Admit,
    Bye,
    ByeAction,
    ClientMessage,
    Error,
    Hello,
    Leave,
    Ping,
    Pong,
    RoomEvent,
    ServerFrame,
    TurnAway,
    Welcome,
)
from signaling.wire import Event, Message

UNNUMBERED: Final = 0
"""``cseq`` of a message before :meth:`RoomClient.send` gives it one."""
LEFT: Final = "left"
_SILENT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 4.0
_OPEN_SECONDS: Final = 8.0
_LEAVE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = (0.25, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 2.0, 4.0)
_MOVE_SPREAD_SECONDS: Final = 1.0
_LONGEST_FRAME: Final = 2**20
_CLOSING: Final = aiohttp.ClientWSTimeout(ws_close=0.5)
"""A dead line says nothing more: the next one does not wait for it."""
_CUT: Final = (None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE)
_ACTS: Final = (Admit, TurnAway)
"""What a person did survives a fresh join; signals and media flags belong to the old one."""

_chance: Final = random.SystemRandom()
_decoder: Final = msgspec.json.Decoder(ServerFrame)


class TicketRefused(Exception):
    """There is no way in, now or later: ``fetch_ticket`` raises it with the server's reason."""


class RoomClient:
    """``fetch_ticket`` is asked for each fresh join; what else it raises of the network is tried
    again. ``on_welcome`` and ``on_event`` are called on the event loop and must not wait."""

    def __init__(
        self,
        url: str,
        origin: str,
        fetch_ticket: Callable[[], Awaitable[str]],
        on_welcome: Callable[[Welcome], None],
        on_event: Callable[[RoomEvent], None],
    ) -> None:
        self._url = url
        self._origin = origin
        self._fetch_ticket = fetch_ticket
        self._on_welcome = on_welcome
        self._on_event = on_event
        self._outbox = _Outbox()
        self._resume: tuple[str, str] | None = None
        """Token and epoch."""
        self._seq = 0
        self._failures = 0
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._frames: asyncio.Queue[Message] = asyncio.Queue()
        self._over = asyncio.Event()
        self.is_up = False
        self.reconnects = 0
        """How often the seat was taken again, resumed or afresh."""

    async def run(self) -> str:
        """Holds the seat over every lost line; why it ended: the reason of the last ``bye``, or of
        the refused ticket."""
        try:
            async with aiohttp.ClientSession() as session:
                while True:
                    bye = await self._live(session)
                    if bye is not None and bye.action is ByeAction.STOP:
                        return bye.reason
                    if bye is not None and bye.action is ByeAction.RECONNECT:
                        self._resume = None
                    await asyncio.sleep(self._pause(bye))
        except TicketRefused as refusal:
            return str(refusal)
        finally:
            self._over.set()

    @property
    def is_over(self) -> bool:
        """The seat is given up: :meth:`run` has ended, or is ending."""
        return self._over.is_set()

    def send(self, message: ClientMessage) -> None:
        """Once to the room, whatever happens to the line; its ``cseq`` is set here."""
        numbered = self._outbox.add(message)
        if self.is_up:
            self._frames.put_nowait(numbered)

    async def rejoin(self) -> None:
        """A new page for the room, so a new generation for both sides."""
        self._resume = None
        await self.drop()

    async def drop(self) -> None:
        """The line is lost; :meth:`run` resumes on another one."""
        if self._socket is not None:
            await self._socket.close()

    async def leave(self) -> None:
        """Hangs up; :meth:`run` ends with the room's answer. Returns without it after a second."""
        self.send(Leave(cseq=UNNUMBERED))
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._over.wait()
        except TimeoutError:
            return

    async def _live(self, session: aiohttp.ClientSession) -> Bye | None:
        """One socket from its opening on; the room's last word, None when the line broke."""
        self._frames = asyncio.Queue()
        try:
            hello = await self._greet()
            async with asyncio.timeout(_OPEN_SECONDS):
                socket = await session.ws_connect(
                    self._url,
                    headers={"Origin": self._origin},
                    max_msg_size=_LONGEST_FRAME,
                    timeout=_CLOSING,
                )
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        self._socket = socket
        self._frames.put_nowait(hello)
        writing = asyncio.create_task(self._write(socket))
        try:
            return await self._read(socket)
        finally:
            if hello.resume is not None and socket.close_code not in _CUT and not self.is_up:
                self._resume = None
            self.is_up = False
            self._socket = None
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await socket.close()

    async def _greet(self) -> Hello:
        versions = [PROTOCOL_VERSION]
        if self._resume is None:
            return Hello(versions=versions, ticket=await self._fetch_ticket())
        token, epoch = self._resume
        return Hello(versions=versions, resume=token, epoch=epoch, seq=self._seq)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            frame = await self._frames.get()
            await socket.send_str(msgspec.json.encode(frame).decode())

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> Bye | None:
        is_asked = False
        while True:
            try:
                heard = await socket.receive(_ANSWER_SECONDS if is_asked else _SILENT_SECONDS)
            except TimeoutError:
                if is_asked:
                    return None
                self._frames.put_nowait(Ping())
                is_asked = True
                continue
            if heard.type is not aiohttp.WSMsgType.TEXT:
                return None
            is_asked = False
            frame = _decoder.decode(heard.data)
            if isinstance(frame, Bye):
                return frame
            self._take(frame)

    def _take(self, frame: Welcome | Ack | Pong | Error | RoomEvent) -> None:
        if isinstance(frame, Event):
            if frame.seq > self._seq:
                self._seq = frame.seq
                self._on_event(frame)
        elif isinstance(frame, Welcome):
            self._settle(frame)
        elif isinstance(frame, Ack):
            self._outbox.acknowledge(frame.cseq)
        elif isinstance(frame, Error) and frame.cseq is not None:
            self._outbox.drop(frame.cseq)

    def _settle(self, welcome: Welcome) -> None:
        self.reconnects += self._seq > 0
        self._failures = 0
        self._resume = (welcome.resume, welcome.epoch)
        if welcome.resumed:
            self._outbox.acknowledge(welcome.cseq)
        else:
            self._outbox.restart(welcome.cseq)
            self._seq = welcome.seq
        self.is_up = True
        for message in self._outbox.kept:
            self._frames.put_nowait(message)
        self._on_welcome(welcome)

    def _pause(self, bye: Bye | None) -> float:
        """Seconds until the next attempt, ever longer."""
        if bye is not None and bye.action is ByeAction.RESUME:
            return _chance.uniform(0, _MOVE_SPREAD_SECONDS)
        usual = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
        self._failures += 1
        return usual * _chance.uniform(0.5, 1)


class _Outbox:
    """Numbered messages, kept until the room has them."""

    def __init__(self) -> None:
        self._last = 0
        self.kept: list[ClientMessage] = []

    def add(self, message: ClientMessage) -> ClientMessage:
        self._last += 1
        numbered = msgspec.structs.replace(message, cseq=self._last)
        self.kept.append(numbered)
        return numbered

    def acknowledge(self, cseq: int) -> None:
        self.kept = [message for message in self.kept if message.cseq > cseq]

    def drop(self, cseq: int) -> None:
        self.kept = [message for message in self.kept if message.cseq != cseq]

    def restart(self, cseq: int) -> None:
        """A fresh seat counts from ``cseq`` on."""
        acts = [message for message in self.kept if isinstance(message, _ACTS)]
        self._last, self.kept = cseq, []
        for act in acts:
            self.add(act)
