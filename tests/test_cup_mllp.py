"""MLLP over real sockets: what is answered, what is kept, and who is let in."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import select

from server.cup.hl7v2 import mllp
from server.cup.hl7v2.frames import END, START, Framer, wrap
from server.cup.hl7v2.mllp import Entrance
from server.cup.hl7v2.out import parse_answer
from server.cup.inbox.intake import Inbox
from server.cup.outbox.outgoing import OutgoingEvent, Verdict
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring
from server.models import (
    Appointment,
    Connector,
    EventKind,
    InboxMessage,
    MessageState,
    Source,
    Visit,
    VisitState,
    new_id,
)
from server.services import CLOCK, DATABASE, KEYRING
from server.sources import Listener, Outgoing, SourceSettings, write_settings
from tests.certificates import Authority, Certificate
from tests.conftest import Cast, Team

SAMPLES = Path(__file__).parents[2] / "shared/samples/hl7v2"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
LOOPBACK = Listener()

OpenEntrance = Callable[..., Awaitable[Entrance]]


def siu(number: int, *, event: str = "S12", code: str | None = None, extra: str = "") -> bytes:
    lines = (
        f"MSH|^~\\&|CUP|AUSL|ACCANTO|X|20261120101500||SIU^{event}|M-{number}|P|2.5"
        "||||||UNICODE UTF-8",
        f"SCH|{f'C-{number}' if code is None else code}",
        "TQ1|||||||20261201093000",
        f"PID|1||{number}^^^A^PI||Nicolò^Anna{extra}",
        "AIP|1|A|NESSUNO^Medico^Sconosciuto",
    )
    return ("\r".join(lines) + "\r").encode()


class Client:
    """One connection of a booking centre."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._framer = Framer()
        self._answers: list[bytes] = []

    async def answer(self) -> str:
        """``AA MSG00012``; empty when the server has hung up."""
        while not self._answers:
            data = await self.reader.read(65_536)
            if not data:
                return ""
            self._answers += self._framer.feed(data)
        answer = parse_answer(self._answers.pop(0))
        return f"{answer.code} {answer.control_id}"

    async def ask(self, message: bytes) -> str:
        self.writer.write(wrap(message))
        return await self.answer()

    async def hang_up(self) -> None:
        """End, and wait until the server has ended too."""
        self.writer.write_eof()
        await self.reader.read()
        self.writer.close()


@asynccontextmanager
async def connected(entrance: Entrance, **options: object) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        entrance.port,
        **options,  # type: ignore[arg-type]
    )
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def add_source(database: Database, team: Team, settings: SourceSettings) -> Source:
    source = Source(id=new_id(), organisation_id=team.organisation.id, code=f"cup-{new_id()}")
    write_settings(source, settings)
    async with database.begin(team.organisation.id) as session:
        session.add(source)
    return source


@pytest.fixture
async def open_entrance(
    database: Database, keyring: Keyring, cast: Cast
) -> AsyncIterator[OpenEntrance]:
    entrances: list[Entrance] = []

    async def open_one(listener: Listener = LOOPBACK) -> Entrance:
        source = await add_source(database, cast.toscana, SourceSettings(listener=listener))
        entrance = Entrance(source, listener, Inbox(database, keyring), lambda: NOW)
        entrances.append(entrance)
        await entrance.open()
        return entrance

    yield open_one
    for entrance in entrances:
        await entrance.close()


async def load_messages(database: Database) -> list[InboxMessage]:
    async with database.read(EVERY_ORGANISATION) as session:
        statement = select(InboxMessage).order_by(InboxMessage.received_at, InboxMessage.control_id)
        return list(await session.scalars(statement))


async def load_visits(database: Database) -> dict[str, VisitState]:
    async with database.read(EVERY_ORGANISATION) as session:
        statement = select(Appointment.booking_code, Visit.state).join(Visit.appointment)
        return dict((await session.execute(statement)).all())


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the samples are not in {SAMPLES}")
async def test_the_samples_are_taken_in_their_order(
    database: Database, open_entrance: OpenEntrance
) -> None:
    names = ("S12", "S13", "S14", "S15", "S26")
    async with connected(await open_entrance()) as client:
        answers = [
            await client.ask((SAMPLES / f"SIU-{name}-01.hl7").read_bytes()) for name in names
        ]

    assert answers == [f"AA MSG000{name[1:]}" for name in names]
    assert await load_visits(database) == {"12345": VisitState.ENDED}


async def test_pipelined_messages_are_answered_in_their_order(
    database: Database, open_entrance: OpenEntrance
) -> None:
    async with connected(await open_entrance()) as client:
        client.writer.write(b"".join(wrap(siu(number)) for number in range(1, 101)))
        answers = [await client.answer() for _ in range(100)]

    assert answers == [f"AA M-{number}" for number in range(1, 101)]
    assert len(await load_visits(database)) == 100


async def test_an_unknown_clinician_is_no_reason_to_refuse(
    database: Database, open_entrance: OpenEntrance
) -> None:
    async with connected(await open_entrance()) as client:
        answer = await client.ask(siu(1))

    assert answer == "AA M-1"
    assert await load_visits(database) == {"C-1": VisitState.BOOKED}


async def test_a_repeat_is_answered_alike(database: Database, open_entrance: OpenEntrance) -> None:
    async with connected(await open_entrance()) as client:
        answers = [await client.ask(siu(1)), await client.ask(siu(1))]

    assert answers == ["AA M-1", "AA M-1"]
    assert len(await load_messages(database)) == 1


@pytest.mark.parametrize(
    ("message", "answer", "reason"),
    [
        (siu(1).replace(b"SIU^S12", b"ORU^R01"), "AR M-1", "not_a_booking"),
        (siu(1).replace(b"Nicol\xc3\xb2", b"Nicol\xf2"), "AR M-1", "wrong_character_set"),
        (siu(1, code=""), "AE M-1", "missing"),
        (b"\x00\x01garbage", "AR ", "unreadable"),
        (siu(1) + b"NTE|||" + b"x" * 2 * 1024 * 1024, "AR M-1", "too_large"),
    ],
    ids=["no booking", "character set", "no booking code", "garbage", "2 MiB"],
)
async def test_a_bad_message_is_refused_kept_and_the_next_is_taken(
    database: Database,
    open_entrance: OpenEntrance,
    message: bytes,
    answer: str,
    reason: str,
) -> None:
    async with connected(await open_entrance()) as client:
        first = await client.ask(message)
        second = await client.ask(siu(2))

    assert (first.strip(), second) == (answer.strip(), "AA M-2")
    kept = {row.control_id or "": row for row in await load_messages(database)}
    bad = kept[answer.partition(" ")[2]]
    assert (bad.state, bad.reason) == (MessageState.QUARANTINED, reason)
    assert await load_visits(database) == {"C-2": VisitState.BOOKED}


async def test_a_frame_cut_by_the_end_of_the_connection_is_kept(
    database: Database, open_entrance: OpenEntrance
) -> None:
    async with connected(await open_entrance()) as client:
        client.writer.write(START + siu(1)[:-40])
        await client.hang_up()

    (message,) = await load_messages(database)
    assert (message.state, message.reason) == (MessageState.QUARANTINED, "unreadable")
    assert await load_visits(database) == {}


async def test_a_cut_frame_sent_again_whole_is_taken(
    database: Database, open_entrance: OpenEntrance
) -> None:
    async with connected(await open_entrance()) as client:
        client.writer.write(START + siu(1)[:-40] + wrap(siu(1)))
        answers = [await client.answer(), await client.answer()]

    assert answers == ["AE M-1", "AA M-1"]
    assert await load_visits(database) == {"C-1": VisitState.BOOKED}


async def test_nothing_is_answered_when_nothing_could_be_stored(
    database: Database, open_entrance: OpenEntrance, caplog: pytest.LogCaptureFixture
) -> None:
    entrance = await open_entrance()
    entrance.intake.source = Source(
        id=entrance.intake.source.id, organisation_id="gone", code="gone", settings="{}"
    )
    async with connected(entrance) as client:
        answer = await client.ask(siu(1))

    assert answer == ""
    assert "messages are not stored" in caplog.text
    assert "Nicol" not in caplog.text
    assert await load_messages(database) == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Certificate:
    return authority.issue("accanto")


@pytest.fixture(scope="module")
def theirs(authority: Authority) -> Certificate:
    return authority.issue("cup")


async def test_a_pinned_certificate_is_let_in(
    open_entrance: OpenEntrance, ours: Certificate, theirs: Certificate
) -> None:
    entrance = await open_entrance(Listener(tls=ours.trusting(theirs)))

    async with connected(entrance, ssl=theirs.client_context()) as client:
        assert await client.ask(siu(1)) == "AA M-1"


async def test_a_certificate_of_another_source_is_not_let_in(
    database: Database,
    open_entrance: OpenEntrance,
    authority: Authority,
    ours: Certificate,
    theirs: Certificate,
) -> None:
    entrance = await open_entrance(Listener(tls=ours.trusting(theirs)))
    context = authority.issue("other-cup").client_context()

    answer = ""
    try:
        async with connected(entrance, ssl=context) as client:
            answer = await client.ask(siu(1))
    except OSError:
        pass

    assert answer == ""
    assert await load_messages(database) == []


async def test_who_has_no_certificate_of_the_authority_is_not_let_in(
    database: Database, open_entrance: OpenEntrance, ours: Certificate, theirs: Certificate,
    tmp_path: Path,
) -> None:  # fmt: skip
    entrance = await open_entrance(Listener(tls=ours.trusting(theirs)))
    stranger = Authority(tmp_path, "stranger").issue("cup").client_context()
    stranger.load_verify_locations(ours.authority)
    nobody = ssl.create_default_context(cafile=ours.authority)
    nobody.check_hostname = False

    for options in ({"ssl": stranger}, {"ssl": nobody}, {}):
        answer = ""
        try:
            async with connected(entrance, **options) as client:
                answer = await client.ask(siu(1))
        except OSError:
            pass
        assert answer == ""
    assert await load_messages(database) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cup.example.it"])  # noqa: S104
async def test_plain_tcp_beyond_loopback_is_refused(open_entrance: OpenEntrance, host: str) -> None:
    with pytest.raises(CommandFailed, match="loopback only"):
        await open_entrance(Listener(host=host))


async def test_tls_without_a_pinned_certificate_or_without_files_is_refused(
    open_entrance: OpenEntrance, ours: Certificate, tmp_path: Path
) -> None:
    with pytest.raises(CommandFailed, match="pinned is empty"):
        await open_entrance(Listener(tls=ours.trusting()))
    ghost = Certificate(tmp_path / "no.crt", tmp_path / "no.key", tmp_path / "no.pem", "00")
    with pytest.raises(CommandFailed, match="TLS files"):
        await open_entrance(Listener(tls=ghost.trusting(ours)))


@asynccontextmanager
async def running(database: Database, keyring: Keyring) -> AsyncIterator[dict[str, int]]:
    """The entrances of an application that runs."""
    app = web.Application()
    app[DATABASE], app[KEYRING], app[CLOCK] = database, keyring, lambda: NOW
    lifetime = asynccontextmanager(mllp.lifetime)(app)
    async with lifetime:
        yield app[mllp.MLLP_PORTS]


async def test_each_source_has_its_entrance_and_a_wrong_one_stays_closed(
    database: Database, keyring: Keyring, cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    good = await add_source(database, cast.toscana, SourceSettings(listener=LOOPBACK))
    other = await add_source(database, cast.emilia, SourceSettings(listener=LOOPBACK))
    bad = await add_source(
        database, cast.emilia, SourceSettings(listener=Listener(host="192.0.2.1"))
    )
    await add_source(database, cast.emilia, SourceSettings())

    with caplog.at_level(logging.ERROR):
        async with running(database, keyring) as ports:
            assert set(ports) == {good.id, other.id}
            reader, writer = await asyncio.open_connection("127.0.0.1", ports[other.id])
            assert await Client(reader, writer).ask(siu(1)) == "AA M-1"
            writer.close()

    assert bad.code in caplog.text
    assert "loopback only" in caplog.text
    (message,) = await load_messages(database)
    assert message.organisation_id == cast.emilia.organisation.id


async def test_a_paused_source_is_closed_and_opened_again(
    database: Database, keyring: Keyring, cast: Cast
) -> None:
    source = await add_source(database, cast.toscana, SourceSettings(listener=LOOPBACK))
    ports: dict[str, int] = {}
    entrances = mllp.Entrances(database, Inbox(database, keyring), lambda: NOW, ports)

    await entrances.refresh()
    assert set(ports) == {source.id}
    port = ports[source.id]
    await _pause(database, source, is_paused=True)
    await entrances.refresh()
    assert ports == {}
    with pytest.raises(OSError, match="onnect"):
        await asyncio.open_connection("127.0.0.1", port)
    await _pause(database, source, is_paused=False)
    await entrances.refresh()
    assert set(ports) == {source.id}
    await entrances.close()


async def _pause(database: Database, source: Source, *, is_paused: bool) -> None:
    async with database.begin(source.organisation_id) as session:
        (await session.get_one(Source, source.id)).is_paused = is_paused


class BookingCentre:
    """A real MLLP server that keeps what it gets and answers as it is told."""

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self.received: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frame = await reader.readuntil(END)
        self.received.append(frame[1:-2])
        control_id = frame.split(b"|")[9].decode()
        if self._answer:
            text = f"MSH|^~\\&|CUP|||||||X|P|2.5\rMSA|{self._answer}|{control_id}\r"
            writer.write(wrap(text.encode()))
            await writer.drain()
        writer.close()
        await writer.wait_closed()


def ended_event() -> OutgoingEvent:
    start = datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    return OutgoingEvent(
        number=1, control_id="8KX0M2R5T7W9Y1A3", kind=EventKind.ENDED,
        facts={"outcome": "completed"}, booking_code="C-1", start=start,
        end=start + timedelta(minutes=30), sent_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "verdict"), [("AA", Verdict.DELIVERED), ("AE", Verdict.REFUSED)]
)
async def test_an_event_is_sent_and_the_answer_read_back(answer: str, verdict: Verdict) -> None:
    centre = BookingCentre(answer)
    server = await asyncio.start_server(centre, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async with server:
        outgoing = Outgoing(connector=Connector.HL7V2, address=address)
        assert await mllp.send(ended_event(), outgoing, "") is verdict

    assert b"|Complete\r" in centre.received[0]


async def test_silence_is_no_answer() -> None:
    server = await asyncio.start_server(BookingCentre(""), "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async with server:
        with pytest.raises(OSError, match="no answer"):
            await mllp.send(ended_event(), Outgoing(connector=Connector.HL7V2, address=address), "")


async def test_events_go_to_the_pinned_booking_centre_only(
    authority: Authority, ours: Certificate, theirs: Certificate
) -> None:
    centre = BookingCentre("AA")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(theirs.certificate, theirs.private_key)
    server = await asyncio.start_server(centre, "127.0.0.1", 0, ssl=context)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def outgoing(pinned: Certificate) -> Outgoing:
        return Outgoing(connector=Connector.HL7V2, address=address, tls=ours.trusting(pinned))

    async with server:
        assert await mllp.send(ended_event(), outgoing(theirs), "") is Verdict.DELIVERED
        with pytest.raises(OSError, match="not pinned"):
            await mllp.send(ended_event(), outgoing(authority.issue("impostor")), "")

    assert len(centre.received) == 1


async def test_nothing_is_sent_in_plain_beyond_loopback() -> None:
    outgoing = Outgoing(connector=Connector.HL7V2, address="cup.example.it:2575")

    with pytest.raises(CommandFailed, match="loopback only"):
        await mllp.send(ended_event(), outgoing, "")
