"""MLLP: an entrance for each source that has one, and the way out of our events.

A message is answered only after :meth:`~server.cup.inbox.intake.Inbox.receive` has committed it.
What waits on all connections of a source at one moment is taken in by one commit. Frames that were
cut or are too long are kept like any other message. Nothing of a message is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy import select

from server.cup.booking import Message
from server.cup.hl7v2 import out, tls
from server.cup.hl7v2.frames import Framer, wrap
from server.cup.hl7v2.mapping import parse_hl7
from server.cup.hl7v2.wire import Header, find_header
from server.cup.inbox.intake import Inbox, Receipt
from server.cup.outbox.outgoing import OutgoingEvent, Verdict
from server.db import EVERY_ORGANISATION, Database
from server.errors import AccantoError, CommandFailed
from server.models import Source
from server.services import CLOCK, DATABASE, KEYRING
from server.sources import Listener, Outgoing, settings_of

logger = logging.getLogger(__name__)

MLLP_PORTS: Final[web.AppKey[dict[str, int]]] = web.AppKey("mllp_ports")
"""Source id → the port of its open entrance."""
ANSWER_SECONDS: Final = 20.0
"""How long CUP may think about an event."""
_READ_BYTES: Final = 64 * 1024
_MESSAGES_PER_COMMIT: Final = 64
_CONNECTIONS: Final = 32
"""Of one source; more are closed at once."""
_SKIPPED_BYTES: Final = 16 * 1024 * 1024
"""Outside of frames: then the other side does not speak MLLP."""
_FRAME_SECONDS: Final = 30.0
"""Between two reads inside of a frame."""
_IDLE_SECONDS: Final = 2 * 3600.0
_CLOSE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 2.0

Clock = Callable[[], datetime]


class Unavailable(AccantoError):
    """The inbox cannot take messages in now; nothing is answered, so CUP sends them again."""


class Intake:
    """Takes the messages of one source in, in the order they came; owned by one task."""

    def __init__(self, source: Source, inbox: Inbox, clock: Clock) -> None:
        self.source = source
        """Replaced when its settings change."""
        self._inbox = inbox
        self._clock = clock
        self._waiting: list[tuple[Message, asyncio.Future[Receipt]]] = []
        self._is_woken = asyncio.Event()

    async def take(self, raws: Sequence[bytes]) -> list[Receipt]:
        """Map some messages and wait until they are stored.

        :raises Unavailable: they are not.
        """
        settings = settings_of(self.source)
        receipts: list[asyncio.Future[Receipt]] = []
        for raw in raws:
            message = parse_hl7(raw, settings, self._clock())
            receipts.append(asyncio.get_running_loop().create_future())
            self._waiting.append((message, receipts[-1]))
            self._is_woken.set()
            await asyncio.sleep(0)
        return await asyncio.gather(*receipts)

    async def run(self) -> None:
        """Store what waits until cancelled."""
        while True:
            await self._is_woken.wait()
            self._is_woken.clear()
            while self._waiting:
                taken = self._waiting[:_MESSAGES_PER_COMMIT]
                del self._waiting[: len(taken)]
                await self._store(taken)

    async def _store(self, taken: list[tuple[Message, asyncio.Future[Receipt]]]) -> None:
        messages = [message for message, _ in taken]
        try:
            receipts = await self._inbox.receive(self.source, messages, self._clock())
        except Exception:
            logger.exception("source %s: messages are not stored", self.source.id)
            for _, waiting in taken:
                if not waiting.done():
                    waiting.set_exception(Unavailable())
            return
        for (_, waiting), receipt in zip(taken, receipts, strict=True):
            if not waiting.done():
                waiting.set_result(receipt)


class Entrance:
    """The open port of one source."""

    def __init__(self, source: Source, listener: Listener, inbox: Inbox, clock: Clock) -> None:
        self.intake = Intake(source, inbox, clock)
        self.listener = listener
        self.port = 0
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._owner: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen.

        :raises CommandFailed: the settings would let anybody in, or the port is taken.
        """
        context = tls.listening_context(self.listener)
        try:
            self._server = await asyncio.start_server(
                self._serve, self.listener.host, self.listener.port, ssl=context
            )
        except OSError as error:
            where = f"{self.listener.host}:{self.listener.port}"
            raise CommandFailed(f"cannot listen on {where}: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._owner = asyncio.create_task(self.intake.run())

    async def close(self) -> None:
        """Stop listening and end the connections; what is not answered comes again."""
        if self._server is None or self._owner is None:
            return
        self._server.close()
        tasks = [*self._connections, self._owner]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 a coroutine is always run by one
        self._connections.add(task)
        try:
            if len(self._connections) > _CONNECTIONS:
                logger.warning("source %s: too many connections", self.intake.source.id)
            elif not tls.is_pinned(writer, self.listener.tls):
                logger.warning("source %s: a certificate is not pinned", self.intake.source.id)
            else:
                await self._converse(reader, writer)
        except (OSError, Unavailable):
            pass
        finally:
            self._connections.discard(task)
            await _hang_up(writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer()
        while framer.skipped <= _SKIPPED_BYTES:
            data = await _read(reader, _FRAME_SECONDS if framer.is_inside else _IDLE_SECONDS)
            raws = framer.feed(data) if data else framer.close()
            for start in range(0, len(raws), _MESSAGES_PER_COMMIT):
                part = raws[start : start + _MESSAGES_PER_COMMIT]
                receipts = await self.intake.take(part)
                if data:
                    answers = map(self._answer, part, receipts)
                    writer.write(b"".join(answers))
                    async with asyncio.timeout(_FRAME_SECONDS):
                        await writer.drain()
            if not data:
                return

    def _answer(self, raw: bytes, receipt: Receipt) -> bytes:
        header = find_header(raw) or Header()
        fault = None if receipt.is_taken else receipt.fault
        return wrap(out.render_ack(header, fault, receipt.message_id, self._clock()))


class Entrances:
    """The entrances of all sources, kept as their settings say."""

    def __init__(
        self, database: Database, inbox: Inbox, clock: Clock, ports: dict[str, int]
    ) -> None:
        self._database = database
        self._inbox = inbox
        self._clock = clock
        self._ports = ports
        self._open: dict[str, Entrance] = {}
        self._refused: dict[str, Listener] = {}
        """Said once, not at every look."""

    async def run(self) -> None:
        """Look at the settings again and again until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Open, close and tell the entrances of sources that have changed."""
        try:
            wanted = await self._load_wanted()
        except Exception:
            logger.exception("mllp: the database does not answer")
            return
        for source_id, entrance in list(self._open.items()):
            source, listener = wanted.get(source_id, (None, None))
            if source is None or listener != entrance.listener:
                await self._shut(source_id)
            else:
                entrance.intake.source = source
        for source_id, (source, listener) in wanted.items():
            if source_id not in self._open:
                await self._try(source, listener)

    async def close(self) -> None:
        for source_id in list(self._open):
            await self._shut(source_id)

    async def _load_wanted(self) -> dict[str, tuple[Source, Listener]]:
        async with self._database.read(EVERY_ORGANISATION) as session:
            sources = (await session.scalars(select(Source).where(~Source.is_paused))).all()
        found = ((source, settings_of(source).listener) for source in sources)
        return {source.id: (source, listener) for source, listener in found if listener}

    async def _try(self, source: Source, listener: Listener) -> None:
        entrance = Entrance(source, listener, self._inbox, self._clock)
        try:
            await entrance.open()
        except CommandFailed as error:
            if self._refused.get(source.id) != listener:
                logger.error("source %s (%s) is not listened to: %s", source.code, source.id, error)
            self._refused[source.id] = listener
            return
        self._refused.pop(source.id, None)
        self._open[source.id] = entrance
        self._ports[source.id] = entrance.port

    async def _shut(self, source_id: str) -> None:
        del self._ports[source_id]
        await self._open.pop(source_id).close()


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """Listen while the application runs."""
    ports = app.setdefault(MLLP_PORTS, {})
    inbox = Inbox(app[DATABASE], app[KEYRING])
    entrances = Entrances(app[DATABASE], inbox, app[CLOCK], ports)
    await entrances.refresh()
    owner = asyncio.create_task(entrances.run())
    yield
    owner.cancel()
    with suppress(asyncio.CancelledError):
        await owner
    await entrances.close()


async def send(event: OutgoingEvent, outgoing: Outgoing, token: str) -> Verdict:
    """Send one event and read back what CUP says (:data:`server.cup.outbox.outgoing.Sender`).

    :raises OSError: CUP is not there, or hung up.
    :raises CommandFailed: the address or its TLS settings cannot be used.
    """
    message = out.render_event(event, outgoing)
    if message is None:
        return Verdict.NOT_WANTED
    answer = out.parse_answer(await exchange(message, outgoing))
    return answer.verdict(event.control_id)


async def exchange(message: bytes, outgoing: Outgoing) -> bytes:
    """Send one message on a connection of its own and return the answer."""
    host, _, port = outgoing.address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        raise CommandFailed("the address of MLLP is host:port")
    context = tls.calling_context(host, outgoing.tls)
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        try:
            if not tls.is_pinned(writer, outgoing.tls):
                raise ConnectionError("the certificate is not pinned")
            writer.write(wrap(message))
            framer = Framer()
            while data := await reader.read(_READ_BYTES):
                answers = framer.feed(data)
                if answers:
                    return answers[0]
        finally:
            await _hang_up(writer)
    raise ConnectionError("no answer")


async def _read(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """What has come; nothing when the other side has ended, or was silent for too long."""
    try:
        async with asyncio.timeout(seconds):
            return await reader.read(_READ_BYTES)
    except OSError:
        return b""


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
    except OSError:
        pass
