"""Phases: what leaves an organisation and what does not, proved at the ends of the wires: a real
SMTP server, a real MLLP listener and a real HTTP gateway that count every connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.admin import add_organisation
from server.cup.outbox.delivery import make_senders, run_once
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.mail.delivery import Delivery
from server.mail.dispatch import Dispatcher
from server.mail.planner import Planner
from server.mail.queue import queue_message
from server.mail.render import Renderer
from server.mail.setup import delivery_of
from server.models import (
    DispatchState,
    EventKind,
    EventState,
    LogEntry,
    MessageKind,
    Organisation,
    OutboxEvent,
    PatientMessage,
    Phase,
    Visit,
)
from server.outbox import tell_cup
from server.phases import change_phase, load_history, may_leave
from server.sealed import Identity
from server.settings import Settings, SmtpSecurity
from server.waiting import SPOOL_FOLDER, Spool, VisitHooks
from tests.conftest import ROSA, Cast, MakeVisit
from tests.cups import BookingCentre, lead_events, load_events, open_centre, set_phase
from tests.visitors import Site, open_site

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
REACHABLE = msgspec.structs.replace(ROSA, email="rosa@example.it")
BY_TELEPHONE = Identity(
    family_name="Neri",
    given_name="Ugo",
    birth_date=date(1950, 2, 1),
    sex="M",
    phone="+390559876543",
)
TOLD = {kind: {} for kind in EventKind} | {EventKind.ENDED: {"outcome": "completed"}}


# ---- the rule --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "clinic", "is_free"),
    [
        (Phase.COLLAUDO, "CARD-01", False),
        (Phase.COLLAUDO, "", False),
        (Phase.SPERIMENTALE, "CARD-01", True),
        (Phase.SPERIMENTALE, "NEUR-02", False),
        (Phase.SPERIMENTALE, "", False),
        (Phase.ATTIVO, "NEUR-02", True),
        (Phase.ATTIVO, "", True),
    ],
)
def test_what_may_leave(phase: Phase, clinic: str, *, is_free: bool) -> None:
    organisation = Organisation(phase=phase, pilot_clinics=["CARD-01"])

    assert may_leave(organisation, clinic) is is_free


async def test_a_new_organisation_is_in_collaudo(database: Database, keyring: Keyring) -> None:
    organisation = Organisation(code="nuova", name="Azienda nuova", desk_phone="055 1")
    async with database.begin(EVERY_ORGANISATION) as session:
        await add_organisation(session, keyring, organisation)

    assert organisation.phase is Phase.COLLAUDO


async def test_each_change_is_a_line_of_the_history_and_of_the_log(
    database: Database, cast: Cast
) -> None:
    organisation, by = cast.toscana.organisation.id, cast.toscana.administrator.id
    pilots = (["CARD-01", "ANGI-03", "CARD-01"], [])
    for hour, (phase, clinics) in enumerate(
        zip((Phase.SPERIMENTALE, Phase.ATTIVO), pilots, strict=True)
    ):
        async with database.begin(organisation) as session:
            row = await session.get_one(Organisation, organisation)
            at = NOW + timedelta(hours=hour)
            await change_phase(session, row, phase, clinics, by=by if hour else "", now=at)

    async with database.read(organisation) as session:
        history = await load_history(session, organisation)
        entries = list(
            await session.scalars(select(LogEntry.entry).where(LogEntry.entry.contains("phase.")))
        )
    assert [(line.phase, line.pilot_clinics, line.changed_by) for line in history] == [
        (Phase.ATTIVO, [], by),
        (Phase.SPERIMENTALE, ["ANGI-03", "CARD-01"], ""),
    ]
    assert [msgspec.json.decode(entry)["role"] for entry in entries] == ["system", "administrator"]
    async with database.read(cast.emilia.organisation.id) as session:
        assert await load_history(session, organisation) == []


# ---- the ends of the wires -------------------------------------------------------------


@dataclass
class PostOffice:
    """A real SMTP server and a real SMS gateway, and all that reached them."""

    smtp_port: int = 0
    sms_url: str = ""
    connections: int = 0
    recipients: list[str] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: object, envelope: Envelope
    ) -> str:
        self.recipients += envelope.rcpt_tos
        return "250 taken"

    async def take_sms(self, request: web.Request) -> web.Response:
        self.connections += 1
        self.recipients.append(str((await request.json())["to"]))
        return web.json_response({}, status=202)

    def serve_smtp(self) -> SMTP:
        self.connections += 1
        return SMTP(self, hostname="post.example.it")


@asynccontextmanager
async def open_post_office() -> AsyncIterator[PostOffice]:
    office = PostOffice()
    server = await asyncio.get_running_loop().create_server(office.serve_smtp, "127.0.0.1", 0)
    office.smtp_port = server.sockets[0].getsockname()[1]
    app = web.Application()
    app.router.add_post("/sms", office.take_sms)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    gateway = web.TCPSite(runner, "127.0.0.1", 0)
    await gateway.start()
    office.sms_url = f"{gateway.name}/sms"
    try:
        yield office
    finally:
        await runner.cleanup()
        server.close()
        await server.wait_closed()


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside, CUP and the post office, and the parts of ours that send to them."""

    database: Database
    keyring: Keyring
    settings: Settings
    centre: BookingCentre
    office: PostOffice
    delivery: Delivery

    async def send_messages(self, now: datetime) -> None:
        """Plan and send what patients should hear by this hour."""
        await Planner(self.database, lambda: now).run_once(now)
        renderer = Renderer("https://visite.example.it", "visite@example.it")
        post = Dispatcher(self.database, self.keyring, renderer, self.delivery, lambda: now)
        while await post.run_once(now):
            pass

    async def send_all(self, now: datetime) -> None:
        await self.send_messages(now)
        await run_once(self.database, self.keyring, now, make_senders(self.settings.data_dir))

    async def rows(self) -> tuple[list[OutboxEvent], list[PatientMessage]]:
        async with self.database.read(EVERY_ORGANISATION) as session:
            messages = list(await session.scalars(select(PatientMessage)))
        return await load_events(self.database), messages


@pytest.fixture
async def world(
    database: Database, keyring: Keyring, database_url: str, data_dir: Path
) -> AsyncIterator[World]:
    async with open_centre() as centre, open_post_office() as office:
        settings = Settings(
            data_dir=data_dir,
            database_url=database_url,
            smtp_host="127.0.0.1",
            smtp_port=office.smtp_port,
            smtp_security=SmtpSecurity.NONE,
            mail_from="visite@example.it",
            sms_url=office.sms_url,
        )
        delivery = delivery_of(settings)
        yield World(database, keyring, settings, centre, office, delivery)
        await delivery.close()


async def load_whole(session: AsyncSession, visit: Visit) -> Visit:
    return await session.get_one(Visit, visit.id, options=[joinedload(Visit.appointment)])


async def live_through(world: World, cast: Cast, make_visit: MakeVisit, phase: Phase) -> None:
    """Two whole lives by the real pages of an application that sends by itself: both booked and
    invited, one confirmed, held and ended, the other reminded and asked to be cancelled."""
    organisation = cast.toscana.organisation.id
    await set_phase(world.database, organisation, phase)
    later = datetime.now(UTC) + timedelta(days=9)
    held = await make_visit(cast.toscana, identity=REACHABLE)
    cancelled = await make_visit(cast.toscana, identity=BY_TELEPHONE, start=later)
    await lead_events(world.database, held, world.centre.address, phase=phase)
    settings = world.settings.model_dump(include={"smtp_host", "smtp_port", "smtp_security"})
    settings |= world.settings.model_dump(include={"mail_from", "sms_url"})
    folder, url = world.settings.data_dir, world.settings.database_url
    async with open_site(world.database, url, folder, **settings) as site:
        await queue_every_kind(world, held, cancelled)
        await hold(world, site, cast, held)
        for days in (1, 4, 8):
            await world.send_messages(datetime.now(UTC) + timedelta(days=days))
        patient = await site.patient(cancelled)
        start = cancelled.appointment.start.isoformat()
        await patient.post(f"/v/{cancelled.locator}/booking/cancel", start=start, reason="Febbre")
        await world.send_messages(datetime.now(UTC) + timedelta(days=30))
        async with asyncio.timeout(20):
            while any(event.state is EventState.QUEUED for event in (await world.rows())[0]):
                await asyncio.sleep(0.02)


async def queue_every_kind(world: World, *visits: Visit) -> None:
    now = datetime.now(UTC)
    for kind in MessageKind:
        for visit in visits:
            async with world.database.begin(visit.organisation_id) as session:
                whole = await load_whole(session, visit)
                facts = {"start": visit.appointment.start.isoformat(), "minutes": 10}
                await queue_message(session, whole, kind, now, occasion="x", parameters=facts)
    await world.send_messages(now)


async def hold(world: World, site: Site, cast: Cast, visit: Visit) -> None:
    patient = await site.patient(visit)
    here = f"/v/{visit.locator}"
    await patient.post(f"{here}/booking/confirm", start=visit.appointment.start.isoformat())
    await patient.post(f"{here}/check-in/who")
    await patient.post(f"{here}/check-in/consents", visit="yes", tool="yes")
    await patient.post(f"{here}/check-in/place", address="Via Roma 1")
    await patient.post(f"{here}/waiting-room")
    spool = Spool(world.settings.data_dir / SPOOL_FOLDER)
    hooks = VisitHooks(world.database, spool, lambda: datetime.now(UTC))
    hooks.opened(visit.id, await hooks.load(visit.id))
    await hooks.admit(visit.id, visit.appointment.clinician_id or "", "patient")
    clinician = await site.staff(cast.toscana.clinician)
    body = {"outcome": "converted_to_in_person", "reason": "exam_needed"}
    reply = await clinician.send("POST", f"/visits/{visit.id}/finish", body)
    assert reply.status == 200


LIFE = [
    EventKind.CONFIRMED,
    EventKind.CHECKED_IN,
    EventKind.BEGUN,
    EventKind.ENDED,
    EventKind.REBOOKING_ASKED,
    EventKind.CANCEL_ASKED,
]


async def test_in_collaudo_not_one_byte_leaves(
    world: World, cast: Cast, make_visit: MakeVisit
) -> None:
    await live_through(world, cast, make_visit, Phase.COLLAUDO)

    events, messages = await world.rows()
    assert [event.kind for event in events] == LIFE
    assert {event.state for event in events} == {EventState.WITHHELD}
    assert {message.kind for message in messages} == set(MessageKind)
    assert not [message for message in messages if message.state is DispatchState.SENT]
    assert (world.centre.connections, world.centre.taken_bytes) == (0, 0)
    assert (world.office.connections, world.office.recipients) == (0, [])


async def test_the_same_lives_reach_everybody_in_attivo(
    world: World, cast: Cast, make_visit: MakeVisit
) -> None:
    """So that the silence above is the phase's doing."""
    await live_through(world, cast, make_visit, Phase.ATTIVO)

    events, messages = await world.rows()
    assert [event.kind for event in events] == LIFE
    assert {event.state for event in events} == {EventState.DELIVERED}
    assert world.centre.control_ids == [event.id for event in events]
    sent = {message.kind for message in messages if message.state is DispatchState.SENT}
    assert {MessageKind.INVITATION, MessageKind.REMINDER} <= sent
    assert {"rosa@example.it", "+390559876543"} <= set(world.office.recipients)


async def test_in_sperimentale_only_the_pilot_clinic_is_heard(
    world: World, cast: Cast, make_visit: MakeVisit
) -> None:
    pilot = await make_visit(cast.toscana, identity=REACHABLE)
    other = await make_visit(cast.toscana, identity=BY_TELEPHONE)
    async with world.database.begin(pilot.organisation_id) as session:
        (await load_whole(session, other)).appointment.clinic_id = None
    await lead_events(
        world.database,
        pilot,
        world.centre.address,
        phase=Phase.SPERIMENTALE,
        pilot_clinics=("CARD-01",),
    )

    now = datetime.now(UTC)
    for visit in (pilot, other):
        async with world.database.begin(visit.organisation_id) as session:
            whole = await load_whole(session, visit)
            await queue_message(session, whole, MessageKind.INVITATION, now, occasion="1")
            for kind, facts in TOLD.items():
                await tell_cup(session, whole, kind, now, facts)
    await world.send_all(now)

    events, messages = await world.rows()
    heard = [event for event in events if event.kind is not EventKind.RECTIFIED]
    sent = [event for event in heard if event.visit_id == pilot.id]
    assert world.centre.control_ids == [event.id for event in sent]
    assert {event.state for event in heard if event not in sent} == {EventState.WITHHELD}
    assert other.appointment.booking_code not in str(world.centre.messages)
    assert world.office.recipients == ["rosa@example.it"]
    assert {message.state for message in messages if message.visit_id == other.id} == {
        DispatchState.WITHHELD
    }


async def test_the_order_to_stop_stops_what_was_queued(
    world: World, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, identity=REACHABLE)
    await lead_events(world.database, visit, world.centre.address, phase=Phase.ATTIVO)
    now = datetime.now(UTC)
    async with world.database.begin(visit.organisation_id) as session:
        whole = await load_whole(session, visit)
        await queue_message(session, whole, MessageKind.INVITATION, now, occasion="1")
        await tell_cup(session, whole, EventKind.CONFIRMED, now)
        row = await session.get_one(Organisation, visit.organisation_id)
        await change_phase(session, row, Phase.COLLAUDO, [], by="", now=now)

    await world.send_all(now)

    assert (world.centre.connections, world.office.connections) == (0, 0)
    async with world.database.begin(visit.organisation_id) as session:
        row = await session.get_one(Organisation, visit.organisation_id)
        await change_phase(session, row, Phase.ATTIVO, [], by="", now=now)
    await world.send_all(now)

    events, _ = await world.rows()
    assert [event.state for event in events] == [EventState.WITHHELD]
    assert world.centre.connections == 0
    assert "rosa@example.it" in world.office.recipients
