"""A real mail server and a real SMS gateway on loopback, and a post office in front of them."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import select, update

from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.mail.delivery import Delivery
from server.mail.dispatch import Dispatcher
from server.mail.planner import Planner
from server.mail.queue import queue_message
from server.mail.render import Renderer
from server.mail.setup import delivery_of
from server.models import MessageKind, Organisation, PatientMessage, Phase, Visit
from server.settings import Settings, SmtpSecurity

BASE_URL = "https://visite.example.it"
MAIL_FROM = "visite@azienda.example.it"


@dataclass
class MailServer:
    """What came in; ``refused`` maps a recipient to the answer it gets, ``answer`` is to DATA."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    answer: str = "250 OK"
    attempts: int = 0
    hold: asyncio.Event | None = None
    """Set by the test: DATA is answered only once it is."""
    has_data: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.attempts += 1
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self.has_data.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.answer.startswith("250"):
            content = envelope.original_content or b""
            message = email.message_from_bytes(content, policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
        return self.answer


@asynccontextmanager
async def mail_server(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[MailServer]:
    """A mail server that takes everything unless it is told otherwise."""
    box = MailServer()

    def connected() -> SMTP:
        return SMTP(box, tls_context=starttls, require_starttls=starttls is not None, **options)

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0, ssl=tls)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Gateway:
    """What the gateway was asked; ``status`` is what it answers."""

    url: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    status: int = 202

    async def take(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        self.requests.append(await request.json())
        return web.Response(status=self.status)


@asynccontextmanager
async def sms_gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    app = web.Application()
    app.router.add_post("/send", gateway.take)
    async with TestServer(app) as server:
        gateway.url = str(server.make_url("/send"))
        yield gateway


def mail_settings(**values: Any) -> Settings:
    """Settings of an installation that may send; none of it comes from the environment."""
    defaults = {"base_url": BASE_URL, "mail_from": MAIL_FROM, "smtp_security": SmtpSecurity.NONE}
    return Settings(**{**defaults, **values})


@dataclass
class PostOffice:
    """The dispatcher and the planner over one database, at a time that the test says."""

    database: Database
    keyring: Keyring
    delivery: Delivery
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.database,
            self.keyring,
            Renderer(BASE_URL, MAIL_FROM),
            self.delivery,
            lambda: self.now,
        )

    async def send_due(self) -> None:
        """Send until nothing is due."""
        dispatcher = self.dispatcher
        while await dispatcher.run_once(self.now):
            pass

    async def plan(self) -> None:
        await Planner(self.database, lambda: self.now).run_once(self.now)

    async def queue(self, visit: Visit, kind: MessageKind, **values: Any) -> PatientMessage:
        async with self.database.begin(visit.organisation_id) as session:
            return await queue_message(session, visit, kind, self.now, **values)

    async def messages(self, visit: Visit) -> list[PatientMessage]:
        async with self.database.read(visit.organisation_id) as session:
            found = await session.scalars(
                select(PatientMessage)
                .where(PatientMessage.visit_id == visit.id)
                .order_by(PatientMessage.occasion)
            )
            return sorted(found, key=lambda one: one.sent_at or one.due_at)

    async def set_phase(self, phase: Phase, pilots: tuple[str, ...] = ()) -> None:
        async with self.database.begin(EVERY_ORGANISATION) as session:
            await session.execute(
                update(Organisation).values(phase=phase, pilot_clinics=list(pilots))
            )


@asynccontextmanager
async def post_office(
    database: Database, keyring: Keyring, settings: Settings
) -> AsyncIterator[PostOffice]:
    """A post office of organisations that are all live."""
    office = PostOffice(database, keyring, delivery_of(settings))
    await office.set_phase(Phase.ATTIVO)
    try:
        yield office
    finally:
        await office.delivery.close()
