"""A booking centre for the tests: a real MLLP listener that answers as it is told and counts every
connection and byte, and ways to lead a source's events to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import select

from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.models import Connector, Organisation, OutboxEvent, Phase, Source, Visit
from server.sources import Outgoing, SourceSettings, write_settings

Answer = Callable[[str, str], bytes]
"""From the control id and the message type to the whole answer; empty hangs up."""


def acknowledge(code: str) -> Answer:
    def answer(control_id: str, kind: str) -> bytes:
        name = "SRR" if kind == "SRM" else "ACK"
        return (
            f"MSH|^~\\&|CUP||ACCANTO||20261122100000||{name}|A{control_id}|P|2.5\r"
            f"MSA|{code}|{control_id}\r"
        ).encode()

    return answer


def hang_up(control_id: str, kind: str) -> bytes:
    return b""


@dataclass
class BookingCentre:
    """``answer`` can be changed at any time; while ``is_silent`` nothing is answered at all."""

    port: int = 0
    answer: Answer = field(default_factory=lambda: acknowledge("AA"))
    is_silent: bool = False
    connections: int = 0
    taken_bytes: int = 0
    messages: list[list[str]] = field(default_factory=list)
    """Each message as its segments."""
    has_message: asyncio.Event = field(default_factory=asyncio.Event)
    serving: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def control_ids(self) -> list[str]:
        return [lines[0].split("|")[9] for lines in self.messages]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while frame := await reader.readuntil(b"\x1c\r"):
                self.taken_bytes += len(frame)
                lines = frame.strip(b"\x0b\x1c\r").decode().split("\r")
                self.messages.append(lines)
                self.has_message.set()
                if self.is_silent:
                    continue
                header = lines[0].split("|")
                reply = self.answer(header[9], header[8].split("^")[0])
                if not reply:
                    return
                writer.write(b"\x0b" + reply + b"\x1c\r")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def open_centre() -> AsyncIterator[BookingCentre]:
    centre = BookingCentre()
    server = await asyncio.start_server(centre.accept, "127.0.0.1", 0)
    centre.port = server.sockets[0].getsockname()[1]
    try:
        yield centre
    finally:
        server.close()
        for task in centre.serving:
            task.cancel()
        await asyncio.gather(*centre.serving, return_exceptions=True)
        await server.wait_closed()


async def lead_events(
    database: Database,
    visit: Visit,
    address: str,
    *,
    connector: Connector = Connector.HL7V2,
    phase: Phase = Phase.ATTIVO,
    pilot_clinics: tuple[str, ...] = (),
) -> None:
    """Give the visit's source a way out, and its organisation a phase."""
    words = {"begun": "Started", "checked_in": "Arrived", "confirmed": "Confirmed"}
    outgoing = Outgoing(connector=connector, address=address, words=words)
    async with database.begin(visit.organisation_id) as session:
        source = await session.get_one(Source, visit.appointment.source_id)
        write_settings(source, SourceSettings(outgoing=outgoing))
    await set_phase(database, visit.organisation_id, phase, pilot_clinics)


async def set_phase(
    database: Database,
    organisation: OrganisationId,
    phase: Phase,
    pilot_clinics: tuple[str, ...] = (),
) -> None:
    async with database.begin(organisation) as session:
        row = await session.get_one(Organisation, organisation)
        row.phase, row.pilot_clinics = phase, list(pilot_clinics)


async def load_events(database: Database) -> list[OutboxEvent]:
    """All of them, in their order."""
    async with database.read(EVERY_ORGANISATION) as session:
        found = await session.scalars(select(OutboxEvent).order_by(OutboxEvent.number))
        return list(found)
