"""The poller at a real FHIR server: pages, its cursor across restarts, and where it never goes."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from sqlalchemy import select

from server.cup.fhir.outward import AddressRefused, AnswerRefused
from server.cup.fhir.poll import Poller, PollFailed
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import Appointment, InboxMessage, MessageState, Source
from server.sealed import seal_outgoing_token
from server.sources import Poller as PollerSettings
from server.sources import SourceSettings, write_settings
from tests.conftest import Cast
from tests.fhirserver import FhirServer, serve_fhir

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "urn:oid:2.16.840.1.113883.2.9.4.3.2", "value": "BRTRSO44E57D612M"}],
    "name": [{"family": "Bartolini", "given": ["Rosa"]}],
}
ROLE = {
    "resourceType": "PractitionerRole",
    "id": "r1",
    "identifier": [{"value": "clinician-ausl-toscana"}],
}


def appointment(number: int, updated: str, **change: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": f"a{number}",
        "meta": {"lastUpdated": updated},
        "identifier": [{"value": f"TC-{number}"}],
        "status": "booked",
        "start": f"2026-12-01T{8 + number:02}:30:00+01:00",
        "participant": [
            {"actor": {"reference": "Patient/p1"}, "status": "accepted"},
            {"actor": {"reference": "PractitionerRole/r1"}, "status": "accepted"},
        ],
        **change,
    }


def minute(number: int) -> str:
    return f"2026-11-20T10:{number:02}:00.000+01:00"


@pytest.fixture
async def fhir_server() -> AsyncIterator[FhirServer]:
    async with serve_fhir() as server:
        server.put(PATIENT, ROLE)
        server.put(*(appointment(number, minute(number)) for number in range(1, 6)))
        yield server


@dataclass(frozen=True, slots=True)
class Polling:
    """A source that polls, and what has become of it."""

    database: Database
    keyring: Keyring
    source_id: str

    def poller(self, resolver: AbstractResolver | None = None) -> Poller:
        return Poller(self.database, self.keyring, lambda: datetime.now(UTC), resolver)

    async def source(self) -> Source:
        async with self.database.read(EVERY_ORGANISATION) as session:
            return await session.get_one(Source, self.source_id)

    async def run(self, resolver: AbstractResolver | None = None) -> int:
        return await self.poller(resolver).run_once(await self.source())

    async def point_at(self, url: str) -> None:
        async with self.database.begin(EVERY_ORGANISATION) as session:
            source = await session.get_one(Source, self.source_id)
            write_settings(source, SourceSettings(poller=PollerSettings(url=url, every_seconds=5)))

    async def codes(self) -> list[str]:
        async with self.database.read(EVERY_ORGANISATION) as session:
            return sorted(await session.scalars(select(Appointment.booking_code)))

    async def states(self) -> list[MessageState]:
        async with self.database.read(EVERY_ORGANISATION) as session:
            return list(await session.scalars(select(InboxMessage.state)))


@pytest.fixture
async def polling(
    database: Database, keyring: Keyring, cast: Cast, fhir_server: FhirServer
) -> Polling:
    async with database.begin(cast.toscana.organisation.id) as session:
        source = Source(organisation_id=cast.toscana.organisation.id, code="cup-poll")
        session.add(source)
        await session.flush()
        await seal_outgoing_token(keyring, session, source, "geheim")
    found = Polling(database, keyring, source.id)
    await found.point_at(fhir_server.url)
    return found


async def test_every_page_is_taken_in_and_the_cursor_moves_on(
    polling: Polling, fhir_server: FhirServer
) -> None:
    assert await polling.run() == 5
    assert (await polling.source()).poll_cursor == f"gt{minute(5)}"

    fhir_server.put(appointment(6, minute(6)), appointment(1, minute(7), status="cancelled"))
    assert await polling.run() == 2
    assert await polling.run() == 0

    assert await polling.codes() == [f"TC-{number}" for number in range(1, 7)]
    assert set(await polling.states()) == {MessageState.APPLIED}
    first = fhir_server.asked[0]
    assert first.headers["Authorization"] == "Bearer geheim"
    assert ("_sort", "_lastUpdated") in first.query
    assert ("_include", "Appointment:patient") in first.query
    assert not any(name == "_lastUpdated" for name, _ in first.query)
    assert ("_lastUpdated", f"gt{minute(5)}") in fhir_server.asked[3].query


async def test_after_a_restart_in_the_middle_nothing_is_missed_and_nothing_is_twice(
    polling: Polling, fhir_server: FhirServer
) -> None:
    """The second page begins with the instant at which the first one ended."""
    fhir_server.put(appointment(3, minute(2)))

    async def die(request: web.Request) -> web.StreamResponse:
        if "start" in request.query:
            return web.Response(status=503)
        fhir_server.answer = None
        response = await fhir_server.handle(request)
        fhir_server.answer = die
        return response

    fhir_server.answer = die
    with pytest.raises(PollFailed, match="status_503"):
        await polling.run()
    assert (await polling.source()).poll_cursor == f"ge{minute(2)}"

    fhir_server.answer = None
    await polling.run()

    assert await polling.codes() == [f"TC-{number}" for number in range(1, 6)]
    assert (await polling.states()).count(MessageState.APPLIED) == 5


async def test_what_the_server_does_not_include_is_fetched(
    polling: Polling, fhir_server: FhirServer
) -> None:
    fhir_server.is_including = False

    await polling.run()

    assert set(await polling.states()) == {MessageState.APPLIED}
    async with polling.database.read(EVERY_ORGANISATION) as session:
        found = (await session.scalars(select(Appointment))).first()
    assert found is not None
    assert found.clinician_id is not None


async def test_pages_out_of_order_move_the_cursor_only_at_the_end(
    polling: Polling, fhir_server: FhirServer
) -> None:
    pages = [[5, 1], [4, 2]]

    async def shuffle(request: web.Request) -> web.Response:
        page = int(request.query.get("start", "0"))
        link = [{"relation": "next", "url": f"{fhir_server.url}/Appointment?start=1"}]
        return web.json_response(
            {
                "resourceType": "Bundle",
                "type": "searchset",
                "link": [] if page else link,
                "entry": [
                    {"resource": each}
                    for each in (PATIENT, *(appointment(n, minute(n)) for n in pages[page]))
                ],
            }
        )

    fhir_server.answer = shuffle
    await polling.run()

    assert (await polling.source()).poll_cursor == f"gt{minute(5)}"
    assert await polling.codes() == ["TC-1", "TC-2", "TC-4", "TC-5"]


async def test_wishes_are_passed_over(polling: Polling, fhir_server: FhirServer) -> None:
    fhir_server.put(appointment(6, minute(6), status="proposed"))

    assert await polling.run() == 5
    assert (await polling.source()).poll_cursor == f"gt{minute(6)}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "unreadable"),
        (b'{"resourceType":"Patient"}', "not_a_bundle"),
        (b'{"resourceType":"Bundle","resourceType":"Bundle"}', "unreadable"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested_too_deep"),
        (
            b'{"resourceType":"Bundle","link":'
            b'[{"relation":"next","url":"http://127.0.0.1:1/fhir/Appointment"}]}',
            "other_origin",
        ),
    ],
)
async def test_an_answer_of_no_use_stops_the_run(
    polling: Polling, fhir_server: FhirServer, content: bytes, reason: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=content)

    fhir_server.answer = answer

    with pytest.raises(PollFailed, match=reason):
        await polling.run()
    assert (await polling.source()).poll_cursor == ""


async def test_a_redirect_is_not_followed(polling: Polling, fhir_server: FhirServer) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/latest/meta-data"})

    fhir_server.answer = answer

    with pytest.raises(PollFailed, match="status_302"):
        await polling.run()
    assert [asked.path for asked in fhir_server.asked] == ["/fhir/Appointment"]


@pytest.mark.parametrize("kind", ["large", "compressed"])
async def test_bombs_are_not_read(polling: Polling, fhir_server: FhirServer, kind: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if kind == "compressed":
            body = gzip.compress(b" " * 10_000_000)
            return web.Response(body=body, headers={"Content-Encoding": "gzip"})
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b" " * 65_536)
        return response

    fhir_server.answer = answer

    with pytest.raises(AnswerRefused, match=kind):
        await polling.run()


class Names(AbstractResolver):
    """A name service in strange hands: each question gets the next answer."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = list(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self._addresses.pop(0)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00:ec2::254", "::"],
)
async def test_a_name_that_turns_inward_leads_nowhere(
    polling: Polling, fhir_server: FhirServer, address: str
) -> None:
    port = fhir_server.origin.rpartition(":")[2]
    await polling.point_at(f"https://cup.example.it:{port}/fhir")

    with pytest.raises(AddressRefused):
        await polling.run(Names(address))
    assert fhir_server.asked == []


async def test_each_connection_looks_at_its_own_address(
    polling: Polling, fhir_server: FhirServer
) -> None:
    """A name that was good at the first page is not trusted at the second."""
    port = fhir_server.origin.rpartition(":")[2]
    await polling.point_at(f"http://localhost:{port}/fhir")

    async def answer(request: web.Request) -> web.StreamResponse:
        fhir_server.answer = None
        response = await fhir_server.handle(request)
        fhir_server.answer = answer
        response.headers["Connection"] = "close"
        response.force_close()
        return response

    fhir_server.answer = answer
    with pytest.raises(AddressRefused):
        await polling.run(Names("127.0.0.1", "169.254.169.254"))
    assert len([asked for asked in fhir_server.asked if "start" in dict(asked.query)]) == 0


async def test_a_source_without_a_poller_asks_nobody(
    polling: Polling, fhir_server: FhirServer
) -> None:
    async with polling.database.begin(EVERY_ORGANISATION) as session:
        write_settings(await session.get_one(Source, polling.source_id), SourceSettings())

    assert await polling.run() == 0
    assert fhir_server.asked == []


async def test_the_owner_task_does_not_die_of_a_failure(
    polling: Polling, fhir_server: FhirServer
) -> None:
    asked = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.set()
        return web.Response(status=500)

    fhir_server.answer = answer
    task = asyncio.create_task(polling.poller().run())
    await asyncio.wait_for(asked.wait(), 10)

    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
