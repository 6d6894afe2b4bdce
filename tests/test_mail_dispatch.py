"""Sending: each message once, only while it is true, and nothing of it at rest.

The mail server and the SMS gateway are real servers on loopback.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select, text, update

from server.check import check_installation
from server.db import Database, OrganisationId
from server.joinlink import derive_device_code, derive_link
from server.keyring import Keyring
from server.mail.dispatch import Dispatcher
from server.mail.render import Renderer
from server.mail.setup import delivery_of
from server.models import (
    Appointment,
    AppointmentStatus,
    Channel,
    DispatchState,
    LogEntry,
    MessageKind,
    Patient,
    PatientMessage,
    Phase,
    Visit,
    VisitState,
)
from server.sealed import Identity, seal_identity
from server.settings import SmtpSecurity
from tests.conftest import ROSA, Cast, MakeVisit
from tests.post import (
    BASE_URL,
    MAIL_FROM,
    Gateway,
    MailServer,
    PostOffice,
    mail_server,
    mail_settings,
    post_office,
    sms_gateway,
)

EMAIL = "rosa@posta.example.org"
NUMBER = "+393331234567"


def rosa(**fields: Any) -> Identity:
    known = {name: getattr(ROSA, name) for name in ROSA.__struct_fields__}
    return Identity(**{**known, "email": EMAIL, "phone": "333 1234567", **fields})


@pytest.fixture
async def box() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with sms_gateway() as running:
        yield running


@pytest.fixture
async def office(
    database: Database, keyring: Keyring, cast: Cast, box: MailServer, gateway: Gateway
) -> AsyncIterator[PostOffice]:
    settings = mail_settings(
        smtp_host="127.0.0.1", smtp_port=box.port, sms_url=gateway.url, sms_token="gettone"
    )
    async with post_office(database, keyring, settings) as running:
        yield running


@pytest.fixture
async def visit(make_visit: MakeVisit, cast: Cast, office: PostOffice) -> Visit:
    """In three weeks, of a patient with e-mail and telephone; what the import queued is gone."""
    return await booked(office, make_visit, cast)


async def booked(
    office: PostOffice,
    make_visit: MakeVisit,
    cast: Cast,
    *,
    days: float = 21,
    identity: Identity | None = None,
) -> Visit:
    start = office.now + timedelta(days=days)
    visit = await make_visit(cast.toscana, start=start, identity=identity or rosa())
    async with office.database.begin(visit.organisation_id) as session:
        await session.execute(text("DELETE FROM patient_message"))
    return visit


async def change(office: PostOffice, visit: Visit, row: type[Any], **values: Any) -> None:
    key = {Visit: visit.id, Appointment: visit.appointment_id}[row]
    async with office.database.begin(visit.organisation_id) as session:
        await session.execute(update(row).where(row.id == key).values(**values))


async def invite(office: PostOffice, visit: Visit) -> PatientMessage:
    """The invitation, sent."""
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await office.send_due()
    [message] = await office.messages(visit)
    assert message.state is DispatchState.SENT
    return message


async def only(office: PostOffice, visit: Visit, kind: MessageKind) -> PatientMessage:
    [found] = [one for one in await office.messages(visit) if one.kind is kind]
    return found


# ---- both channels -----------------------------------------------------------------------


async def test_an_invitation_arrives_once_and_is_logged(
    office: PostOffice, visit: Visit, box: MailServer, gateway: Gateway
) -> None:
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await office.queue(visit, MessageKind.INVITATION, occasion="1")

    await office.send_due()
    await office.send_due()

    [mail] = box.messages
    [message] = await office.messages(visit)
    assert mail["To"] == EMAIL
    assert f"/v/{visit.locator}#" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert [part.get_content_type() for part in mail.iter_attachments()] == ["text/calendar"]
    assert (message.state, message.channel, message.attempts) == ("sent", Channel.EMAIL, 1)
    assert message.sent_at == office.now
    assert gateway.requests == []
    assert await logged(office, visit) == [
        '"action":"message.sent"...{"channel":"email","kind":"invitation"}'
    ]


async def logged(office: PostOffice, visit: Visit) -> list[str]:
    """The lines about messages: the act and its facts."""
    async with office.database.read(visit.organisation_id) as session:
        entries = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        return [
            entry.split(",")[0][1:] + "..." + entry.split('"facts":')[1].split(',"node"')[0]
            for entry in entries
            if '"action":"message.' in entry
        ]


@pytest.mark.parametrize("kind", list(MessageKind))
async def test_who_has_only_a_telephone_gets_everything(
    office: PostOffice,
    make_visit: MakeVisit,
    cast: Cast,
    box: MailServer,
    gateway: Gateway,
    kind: MessageKind,
) -> None:
    visit = await booked(office, make_visit, cast, identity=rosa(email=""))
    await invite(office, visit)
    gateway.requests.clear()
    office.now += timedelta(days=1)
    await make_true(office, visit, kind)

    await office.send_due()

    [request] = gateway.requests
    assert request["to"] == NUMBER
    assert "visita" in request["text"]
    assert set(gateway.tokens) == {"Bearer gettone"}
    assert box.messages == []


async def make_true(office: PostOffice, visit: Visit, kind: MessageKind) -> None:
    """Queue a message of this kind and make the records what it says."""
    parameters: dict[str, str] = {}
    match kind:
        case MessageKind.CANCELLED:
            await change(office, visit, Appointment, status=AppointmentStatus.CANCELLED)
            await change(office, visit, Visit, state=VisitState.CANCELLED, link_version=2)
        case MessageKind.LATE:
            await change(office, visit, Visit, late_minutes=15)
        case MessageKind.REPORT:
            await end(office, visit)
        case MessageKind.REPORT_CODE:
            await end(office, visit)
            parameters = {"issued_at": office.now.isoformat()}
        case MessageKind.DEVICE_CODE:
            parameters = {"issued_at": office.now.isoformat()}
            await change(office, visit, Visit, device_code_issued_at=office.now)
        case MessageKind.REMINDER:
            parameters = {"start": visit.appointment.start.isoformat()}
        case _:
            pass
    await office.queue(visit, kind, occasion="other", parameters=parameters)


async def test_a_code_goes_to_the_telephone_first(
    office: PostOffice, visit: Visit, keyring: Keyring, box: MailServer, gateway: Gateway
) -> None:
    await make_true(office, visit, MessageKind.DEVICE_CODE)

    await office.send_due()

    async with office.database.read(visit.organisation_id) as session:
        key = await keyring.load_secret(session, visit.organisation_id, "join")
    [request] = gateway.requests
    assert request["text"].startswith(derive_device_code(key, visit.id, office.now))
    assert request["id"] == (await only(office, visit, MessageKind.DEVICE_CODE)).id
    assert box.messages == []


async def test_who_cannot_be_reached_is_shown_to_the_desk_and_tried_when_she_can(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, keyring: Keyring, box: MailServer
) -> None:
    visit = await booked(office, make_visit, cast, identity=rosa(email="", phone=""))
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await office.send_due()
    [before] = await office.messages(visit)
    await office.plan()
    await office.send_due()
    [still] = await office.messages(visit)
    async with office.database.begin(visit.organisation_id) as session:
        patient = await session.get_one(Patient, visit.appointment.patient_id)
        patient.identity_version += 1
        await seal_identity(keyring, session, patient, rosa())

    await office.plan()
    await office.send_due()

    assert (before.state, before.reason) == (DispatchState.UNREACHABLE, "no_contact")
    assert still.state is DispatchState.UNREACHABLE
    assert (await only(office, visit, MessageKind.INVITATION)).state is DispatchState.SENT
    assert len(box.messages) == 1
    assert [line.split("...")[0] for line in await logged(office, visit)] == [
        '"action":"message.failed"',
        '"action":"message.sent"',
    ]


# ---- the other side says no --------------------------------------------------------------


async def test_a_refused_address_leads_to_the_telephone(
    office: PostOffice, visit: Visit, box: MailServer, gateway: Gateway
) -> None:
    box.refused[EMAIL] = "550 5.1.1 no such user"
    await office.queue(visit, MessageKind.INVITATION, occasion="1")

    await office.send_due()

    [message] = await office.messages(visit)
    assert (message.state, message.channel) == (DispatchState.SENT, Channel.SMS)
    assert len(gateway.requests) == 1


async def test_refused_everywhere_is_failed_with_its_reason(
    office: PostOffice, visit: Visit, box: MailServer, gateway: Gateway
) -> None:
    box.refused[EMAIL] = "550 5.1.1 no such user"
    gateway.status = 422
    await office.queue(visit, MessageKind.INVITATION, occasion="1")

    await office.send_due()
    office.now += timedelta(days=2)
    await office.send_due()

    [message] = await office.messages(visit)
    assert (message.state, message.reason) == (DispatchState.FAILED, "recipient_refused")
    assert (box.attempts, len(gateway.requests)) == (1, 1)


@pytest.mark.parametrize("answer", ["451 4.3.0 later", "421 4.3.2 closing"])
async def test_a_passing_trouble_is_tried_again_later(
    office: PostOffice, visit: Visit, box: MailServer, gateway: Gateway, answer: str
) -> None:
    box.answer = answer
    await office.queue(visit, MessageKind.INVITATION, occasion="1")

    await office.send_due()
    [waiting] = await office.messages(visit)
    office.now += timedelta(seconds=59)
    await office.send_due()
    tried_early = box.attempts
    box.answer = "250 OK"
    office.now += timedelta(seconds=1)
    await office.send_due()

    [message] = await office.messages(visit)
    assert (waiting.state, waiting.attempts) == (DispatchState.QUEUED, 1)
    assert tried_early == 1
    assert (message.state, message.attempts) == (DispatchState.SENT, 2)
    assert gateway.requests == []
    assert len(box.messages) == 1


async def test_it_gives_up_one_day_and_says_so(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, gateway: Gateway
) -> None:
    visit = await booked(office, make_visit, cast, identity=rosa(email=""))
    gateway.status = 503
    await office.queue(visit, MessageKind.INVITATION, occasion="1")

    for _ in range(20):
        await office.send_due()
        office.now += timedelta(hours=12)

    [message] = await office.messages(visit)
    assert (message.state, message.reason) == (DispatchState.FAILED, "status_503")
    assert len(gateway.requests) == 8
    assert len(await logged(office, visit)) == 1


@pytest.mark.parametrize(("status", "state"), [(401, "queued"), (400, "failed"), (302, "queued")])
async def test_only_what_a_gateway_says_of_the_number_is_final(
    office: PostOffice,
    make_visit: MakeVisit,
    cast: Cast,
    gateway: Gateway,
    status: int,
    state: str,
) -> None:
    visit = await booked(office, make_visit, cast, identity=rosa(email=""))
    gateway.status = status
    await office.queue(visit, MessageKind.INVITATION, occasion="1")

    await office.send_due()

    assert (await only(office, visit, MessageKind.INVITATION)).state == state


async def test_nobody_listens_and_nothing_is_lost(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit, box: MailServer
) -> None:
    closed = mail_settings(smtp_host="127.0.0.1", smtp_port=9)
    async with post_office(database, keyring, closed) as office:
        visit = await booked(office, make_visit, cast)
        await office.queue(visit, MessageKind.INVITATION, occasion="1")
        await office.send_due()
        [message] = await office.messages(visit)
        assert (message.state, message.reason) == (DispatchState.QUEUED, "no_answer")

        office.delivery = delivery_of(mail_settings(smtp_host="127.0.0.1", smtp_port=box.port))
        office.now += timedelta(minutes=1)
        await office.send_due()

    assert len(box.messages) == 1


async def test_without_a_transport_messages_wait(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    async with post_office(database, keyring, mail_settings()) as office:
        visit = await booked(office, make_visit, cast)
        await office.queue(visit, MessageKind.INVITATION, occasion="1")

        await office.send_due()

        [message] = await office.messages(visit)
    assert (message.state, message.reason, message.attempts) == ("queued", "no_transport", 0)


# ---- only what is still true -------------------------------------------------------------


async def cancel(office: PostOffice, visit: Visit) -> None:
    await change(office, visit, Appointment, status=AppointmentStatus.CANCELLED)
    await change(office, visit, Visit, state=VisitState.CANCELLED, link_version=2)


async def move(office: PostOffice, visit: Visit) -> None:
    start = visit.appointment.start + timedelta(days=1)
    await change(office, visit, Appointment, start=start, end=start + timedelta(minutes=30))


async def end(office: PostOffice, visit: Visit) -> None:
    await change(office, visit, Visit, state=VisitState.ENDED)


async def begin(office: PostOffice, visit: Visit) -> None:
    await change(office, visit, Visit, state=VisitState.IN_VISIT)


async def ask_to_cancel(office: PostOffice, visit: Visit) -> None:
    await change(office, visit, Appointment, cancel_asked_at=office.now)


async def forget_delay(office: PostOffice, visit: Visit) -> None:
    await change(office, visit, Visit, late_minutes=0)


async def issue_another(office: PostOffice, visit: Visit) -> None:
    issued_at = office.now + timedelta(seconds=40)
    await change(office, visit, Visit, device_code_issued_at=issued_at)


async def wait_long(office: PostOffice, visit: Visit) -> None:
    office.now += timedelta(minutes=10)


async def book_again(office: PostOffice, visit: Visit) -> None:
    await change(office, visit, Appointment, status=AppointmentStatus.BOOKED)
    await change(office, visit, Visit, state=VisitState.BOOKED)


@pytest.mark.parametrize(
    ("kind", "meanwhile", "reason"),
    [
        (MessageKind.REMINDER, cancel, "cancelled"),
        (MessageKind.REMINDER, move, "moved"),
        (MessageKind.REMINDER, end, "over"),
        (MessageKind.REMINDER, begin, "begun"),
        (MessageKind.REMINDER, ask_to_cancel, "cancel_asked"),
        (MessageKind.MOVED, cancel, "cancelled"),
        (MessageKind.LATE, forget_delay, "not_late"),
        (MessageKind.LATE, end, "over"),
        (MessageKind.DEVICE_CODE, issue_another, "replaced"),
        (MessageKind.DEVICE_CODE, wait_long, "expired"),
        (MessageKind.DEVICE_CODE, cancel, "cancelled"),
        (MessageKind.CANCELLED, book_again, "booked_again"),
    ],
)
async def test_what_is_no_longer_true_is_dropped(
    office: PostOffice,
    visit: Visit,
    box: MailServer,
    gateway: Gateway,
    kind: MessageKind,
    meanwhile: Callable[[PostOffice, Visit], Any],
    reason: str,
) -> None:
    await invite(office, visit)
    office.now += timedelta(days=1)
    await make_true(office, visit, kind)
    await meanwhile(office, visit)

    await office.send_due()

    message = await only(office, visit, kind)
    assert (message.state, message.reason) == (DispatchState.DROPPED, reason)
    assert len(box.messages) + len(gateway.requests) == 1


async def test_an_invitation_to_a_cancelled_visit_does_not_leave(
    office: PostOffice, visit: Visit, box: MailServer
) -> None:
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await cancel(office, visit)
    await office.queue(visit, MessageKind.CANCELLED, occasion="2")

    await office.send_due()

    reasons = {one.kind: one.reason for one in await office.messages(visit)}
    assert reasons == {MessageKind.INVITATION: "cancelled", MessageKind.CANCELLED: "never_told"}
    assert box.messages == []


async def test_a_move_is_no_news_to_who_was_invited_since(
    office: PostOffice, visit: Visit, box: MailServer
) -> None:
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await move(office, visit)
    await office.queue(visit, MessageKind.MOVED, occasion="first")
    await office.send_due()
    office.now += timedelta(hours=1)
    await move(office, visit)
    await office.queue(visit, MessageKind.MOVED, occasion="second")

    await office.send_due()

    states = {one.occasion: one.state for one in await office.messages(visit)}
    assert states == {"1": "sent", "first": "dropped", "second": "sent"}
    assert len(box.messages) == 2


async def test_the_phase_is_asked_again(office: PostOffice, visit: Visit, box: MailServer) -> None:
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await office.set_phase(Phase.COLLAUDO)
    await office.send_due()
    withheld = (await only(office, visit, MessageKind.INVITATION)).state

    await office.set_phase(Phase.ATTIVO)
    await office.plan()
    await office.send_due()

    assert withheld is DispatchState.WITHHELD
    assert len(box.messages) == 1


async def test_a_patient_who_cannot_enter_is_not_invited_yet(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    visit = await booked(office, make_visit, cast, identity=rosa(birth_date=None))
    await office.queue(visit, MessageKind.INVITATION, occasion="1")

    await office.send_due()

    message = await only(office, visit, MessageKind.INVITATION)
    assert (message.state, message.reason) == (DispatchState.QUEUED, "to_complete")
    assert box.messages == []


# ---- twice, never; lost, never -----------------------------------------------------------


async def test_two_servers_send_it_once(
    office: PostOffice, visit: Visit, box: MailServer, gateway: Gateway
) -> None:
    for number in range(12):
        await office.queue(visit, MessageKind.INVITATION, occasion=str(number))

    while any(await asyncio.gather(*(office.dispatcher.run_once(office.now) for _ in range(4)))):
        pass

    ids = [mail["Message-ID"] for mail in box.messages]
    assert len(ids) == len(set(ids)) == 12


async def test_a_server_that_dies_while_sending_sends_it_again_under_the_same_id(
    office: PostOffice, visit: Visit, box: MailServer
) -> None:
    box.hold = asyncio.Event()
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    dying = asyncio.create_task(office.dispatcher.run_once(office.now))
    await box.has_data.wait()
    dying.cancel()
    await asyncio.wait({dying})
    box.hold.set()

    await office.send_due()
    [claimed] = await office.messages(visit)
    office.now += timedelta(minutes=3)
    await office.send_due()

    [message] = await office.messages(visit)
    assert claimed.state is DispatchState.QUEUED
    assert message.state is DispatchState.SENT
    assert {mail["Message-ID"] for mail in box.messages} == {f"<{message.id}@azienda.example.it>"}


async def test_a_broken_message_does_not_hold_up_the_others(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    broken = await booked(office, make_visit, cast)
    other = rosa(family_name="Sani", codice_fiscale="")
    good = await booked(office, make_visit, cast, identity=other)
    async with office.database.begin(broken.organisation_id) as session:
        await session.execute(
            update(Patient)
            .where(Patient.id == broken.appointment.patient_id)
            .values(sealed_identity=b"TV1\x01" + bytes(80))
        )
    for number in range(10):
        await office.queue(broken, MessageKind.INVITATION, occasion=str(number))
    office.now += timedelta(seconds=1)
    await office.queue(good, MessageKind.INVITATION, occasion="1")

    for _ in range(4):
        await office.dispatcher.run_once(office.now)

    assert len(box.messages) == 1
    assert {one.reason for one in await office.messages(broken)} == {"internal"}


async def test_the_sender_runs_with_the_application_and_ends_with_it(
    office: PostOffice, visit: Visit, box: MailServer
) -> None:
    dispatcher = Dispatcher(
        office.database,
        office.keyring,
        Renderer(BASE_URL, MAIL_FROM),
        office.delivery,
        lambda: office.now,
    )
    box.hold = asyncio.Event()
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    lifetime = dispatcher.lifetime(web.Application())

    await anext(lifetime)
    await box.has_data.wait()
    box.hold.set()
    with pytest.raises(StopAsyncIteration):
        await anext(lifetime)

    assert (await only(office, visit, MessageKind.INVITATION)).state is DispatchState.SENT


# ---- nothing at rest ---------------------------------------------------------------------


async def test_no_link_code_name_or_address_is_at_rest(
    office: PostOffice,
    visit: Visit,
    keyring: Keyring,
    box: MailServer,
    gateway: Gateway,
    data_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    box.refused[EMAIL] = f"550 5.1.1 {EMAIL} Bertolucci unknown"
    await office.queue(visit, MessageKind.INVITATION, occasion="1")
    await office.send_due()
    await make_true(office, visit, MessageKind.DEVICE_CODE)
    gateway.status = 503
    await office.send_due()

    async with office.database.read(visit.organisation_id) as session:
        key = await keyring.load_secret(session, visit.organisation_id, "join")
    link, code = derive_link(key, visit.id, 1), derive_device_code(key, visit.id, office.now)
    secrets = [link.secret, link.code, EMAIL, NUMBER, "333 1234567", "Bertolucci", "gettone"]
    at_rest = await everything_at_rest(office.database, data_dir)
    assert [word for word in secrets if word.encode() in at_rest] == []
    rows = await office.messages(visit)
    assert not any(code in f"{row.parameters}{row.reason}{row.occasion}" for row in rows)
    of_the_test_server = "mail.log"
    said = "\n".join(
        f"{record.getMessage()} {record.exc_text or ''}"
        for record in caplog.records
        if record.name != of_the_test_server
    )
    assert "SMS gateway: status 503" in said
    assert [word for word in [*secrets, code] if word in said] == []


async def everything_at_rest(database: Database, data_dir: Path) -> bytes:
    """The bytes of the database files, or of every row where there are no files of ours."""
    if database.engine.dialect.name == "sqlite":
        return b"".join(path.read_bytes() for path in data_dir.glob("accanto.db*"))
    async with database.read(OrganisationId("*")) as session:
        tables = await session.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        )
        rows = [
            str(row)
            for table in tables.all()
            for row in (await session.execute(text(f'SELECT t.*::text FROM "{table}" t'))).all()  # noqa: S608
        ]
    return "\n".join(rows).encode()


# ---- TLS and log-in ----------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, made for this test; trusted by whoever is told so."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.it")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    key_file, cert_file = tmp_path / "key.pem", tmp_path / "cert.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return cert_file, key_file


@pytest.mark.parametrize("is_trusted", [True, False])
@pytest.mark.parametrize("security", [SmtpSecurity.STARTTLS, SmtpSecurity.TLS])
async def test_the_certificate_of_the_mail_server_is_checked(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    security: SmtpSecurity,
    *,
    is_trusted: bool,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    where = {"starttls" if security is SmtpSecurity.STARTTLS else "tls": context}

    async with mail_server(**where) as box:
        settings = mail_settings(smtp_host="127.0.0.1", smtp_port=box.port, smtp_security=security)
        async with post_office(database, keyring, settings) as office:
            visit = await booked(office, make_visit, cast)
            await office.queue(visit, MessageKind.INVITATION, occasion="1")
            await office.send_due()
            message = await only(office, visit, MessageKind.INVITATION)

    assert message.state == ("sent" if is_trusted else "queued")
    assert len(box.messages) == is_trusted


async def test_a_mail_server_without_starttls_gets_nothing(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit, box: MailServer
) -> None:
    settings = mail_settings(
        smtp_host="127.0.0.1", smtp_port=box.port, smtp_security=SmtpSecurity.STARTTLS
    )
    async with post_office(database, keyring, settings) as office:
        visit = await booked(office, make_visit, cast)
        await office.queue(visit, MessageKind.INVITATION, occasion="1")
        await office.send_due()

        assert (await only(office, visit, MessageKind.INVITATION)).state is DispatchState.QUEUED
    assert box.attempts == 0


@pytest.mark.parametrize(("password", "state"), [("giusta", "sent"), ("sbagliata", "queued")])
async def test_it_logs_in_at_the_mail_server(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    password: str,
    state: str,
) -> None:
    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        is_right = (data.login, data.password) == (b"accanto", b"giusta")
        return AuthResult(success=is_right, handled=is_right)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    async with mail_server(starttls=context, authenticator=check, auth_required=True) as box:
        settings = mail_settings(
            smtp_host="127.0.0.1",
            smtp_port=box.port,
            smtp_security=SmtpSecurity.STARTTLS,
            smtp_username="accanto",
            smtp_password=password,
        )
        async with post_office(database, keyring, settings) as office:
            visit = await booked(office, make_visit, cast)
            await office.queue(visit, MessageKind.INVITATION, occasion="1")
            await office.send_due()
            message = await only(office, visit, MessageKind.INVITATION)

    assert message.state == state
    assert message.reason == ("" if state == "sent" else "login_refused")
    assert password not in repr(settings)


# ---- accanto check -----------------------------------------------------------------------


async def test_check_says_whether_messages_can_leave(
    tmp_path: Path, box: MailServer, gateway: Gateway
) -> None:
    here = {"data_dir": tmp_path, "smtp_host": "127.0.0.1", "smtp_port": box.port}
    cases = [
        ({"data_dir": tmp_path}, "warning No mail server and no SMS gateway"),
        (here, "good The mail server 127.0.0.1 answers"),
        (here, "warning No SMS gateway: patients without"),
        ({**here, "sms_url": gateway.url}, "good SMS leave through 127.0.0.1"),
        ({**here, "smtp_port": 9}, "bad The mail server 127.0.0.1 cannot be used"),
        ({**here, "mail_from": ""}, "bad A mail server is set without the address"),
        ({**here, "smtp_host": "posta.example.it"}, "bad The mail server posta.example.it is spok"),
        ({"data_dir": tmp_path, "sms_url": gateway.url}, "warning No mail server: patients"),
    ]

    for values, beginning in cases:
        found = await check_installation(mail_settings(**values), datetime.now(UTC))

        said = [f"{one.level} {one.text}" for one in found]
        assert any(line.startswith(beginning) for line in said), (beginning, said)
