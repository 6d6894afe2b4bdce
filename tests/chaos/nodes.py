"""Several nodes of one demonstration, killed and replaced, with synthetic calls on them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil
from sqlalchemy import insert, select

from server.admin import open_database
from server.db import EVERY_ORGANISATION, Base
from server.demo.day import MAIN_BOOKING
from server.demo.nodes import SHARED_SETTINGS
from server.keyring import Keyring, load_keyring
from server.models import Appointment, Organisation, Visit, new_id, new_locator
from server.roomseed import CLINICIAN_SEAT, PATIENT_SEAT, seed_of
from server.settings import Settings, load_settings
from server.supervisor import Child
from signaling.messages import Role
from signaling.seed import RoomSeed
from signaling.tickets import NONCE_BYTES, issue_ticket
from tests.browser.actors import Demo, start_accanto, stop
from tests.chaos.numbered import Count, Seat, count

_EXIT_SECONDS: Final = 30.0
"""After SIGTERM; as promised."""
_UNDER_WAY_SECONDS: Final = 15.0
"""A signal that has not come by then is lost."""


@dataclass
class Nodes:
    """Processes that serve one port, the oldest first."""

    demo: Demo
    settings: Settings
    pids: list[int]
    _children: list[Child] = field(default_factory=list)
    _others: list[asyncio.subprocess.Process] = field(default_factory=list)

    def kill(self, place: int) -> None:
        """With -9."""
        os.kill(self.pids.pop(place), signal.SIGKILL)

    async def drain_oldest(self) -> None:
        """As a deploy does; returns when it is gone.

        :raises TimeoutError: it is not, though it promised.
        """
        pid = self.pids.pop(0)
        os.kill(pid, signal.SIGTERM)
        async with asyncio.timeout(_EXIT_SECONDS):
            while _is_alive(pid):
                await asyncio.sleep(0.1)

    async def add(self) -> None:
        """One more, when it is ready."""
        shared = {name: getattr(self.settings, name) for name in SHARED_SETTINGS}
        data = ["--data", str(self.settings.data_dir), "--shared", json.dumps(shared)]
        child = await Child.start([sys.executable, "-m", "server.demo.node", *data, "--port", "0"])
        self._children.append(child)
        if not await child.is_ready():
            raise RuntimeError("a node does not start")
        self.pids.append(child.pid)

    def keep(self, process: asyncio.subprocess.Process) -> None:
        """End this one with the nodes."""
        self._others.append(process)

    async def close(self) -> None:
        for child in self._children:
            child.send(signal.SIGKILL)
            await child.wait()
        for process in self._others:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@asynccontextmanager
async def running_nodes(folder: Path, number: int) -> AsyncIterator[Nodes]:
    """``accanto demo --nodes``, whose nodes may then be killed and replaced."""
    process, line = await start_accanto(
        "demo", "--json", "--port", "0", "--nodes", str(number), "--data", str(folder / "data"),
        log=folder / "demo.log",
    )  # fmt: skip
    facts = json.loads(line)
    nodes = Nodes(Demo(process, facts), load_settings(folder / "data"), facts["node_pids"])
    try:
        yield nodes
    finally:
        await nodes.close()
        await stop(process)


@dataclass
class Crowd:
    """Synthetic calls, each in a visit of its own."""

    pairs: list[tuple[Seat, Seat]]

    @property
    def seats(self) -> list[Seat]:
        return [seat for pair in self.pairs for seat in pair]

    async def settle(self, within_seconds: float = 20.0) -> None:
        """Wait until everybody is in the room.

        :raises TimeoutError: somebody is not.
        """
        async with asyncio.timeout(within_seconds):
            while not all(seat.is_together for seat in self.seats):
                await asyncio.sleep(0.05)

    async def wait_for_signals(self) -> None:
        """Wait until everybody has heard something since the last audit.

        :raises TimeoutError: somebody has not.
        """
        async with asyncio.timeout(_UNDER_WAY_SECONDS):
            while not all(seat.heard for seat in self.seats):
                await asyncio.sleep(0.02)

    def longest_silence_ms(self, since: float) -> float:
        """The longest time in which somebody heard nothing, from a moment until now."""
        now = time.monotonic()
        return 1000 * max(
            later - sooner
            for seat in self.seats
            for sooner, later in pairwise([since, *(at for at, _ in seat.heard if at > since), now])
        )

    async def audit(self) -> Count:
        """What became of all signals since the last time; who speaks falls silent for it."""
        for seat in self.seats:
            seat.is_silent = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_UNDER_WAY_SECONDS):
                while self._is_under_way():
                    await asyncio.sleep(0.05)
        counted = count(self.pairs)
        for seat in self.seats:
            seat.is_silent = False
        return counted

    def _is_under_way(self) -> bool:
        ways = [way for one, other in self.pairs for way in ((one, other), (other, one))]
        return any(
            not sender.is_acknowledged or len(hearer.heard) < sender.sent for sender, hearer in ways
        )


@asynccontextmanager
async def running_crowd(
    nodes: Nodes, calls: int, signal_every_seconds: float
) -> AsyncIterator[Crowd]:
    """That many calls over the nodes, everybody in the room."""
    visits, seed = await _make_visits(nodes.settings, calls)
    keyring = load_keyring(nodes.settings.data_dir)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        def seat(visit_id: str, participant: str, partner: str, role: Role) -> Seat:
            return Seat(
                session,
                nodes.demo["base_url"],
                partner,
                lambda: _issue(keyring, visit_id, participant, role, seed),
                signal_every_seconds,
            )

        crowd = Crowd(
            [
                (
                    seat(visit_id, PATIENT_SEAT, CLINICIAN_SEAT, Role.PATIENT),
                    seat(visit_id, CLINICIAN_SEAT, PATIENT_SEAT, Role.CLINICIAN),
                )
                for visit_id in visits
            ]
        )
        tasks = [asyncio.create_task(one.live()) for one in crowd.seats]
        try:
            await crowd.settle()
            yield crowd
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            for end in ends:
                if isinstance(end, Exception):
                    raise end


async def _make_visits(settings: Settings, calls: int) -> tuple[list[str], RoomSeed]:
    """Copies of the demonstration's main visit, with what a room asks for."""
    async with (
        open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        booking = (
            await session.scalars(
                select(Appointment).where(Appointment.booking_code == MAIN_BOOKING)
            )
        ).one()
        visit = (
            await session.scalars(select(Visit).where(Visit.appointment_id == booking.id))
        ).one()
        organisation = await session.get_one(Organisation, visit.organisation_id)
        appointments = [
            _columns(booking) | {"id": new_id(), "booking_code": f"COPIA-{number:04}"}
            for number in range(calls)
        ]
        visits = [
            _columns(visit)
            | {"id": new_id(), "locator": new_locator(), "appointment_id": appointment["id"]}
            for appointment in appointments
        ]
        await session.execute(insert(Appointment), appointments)
        await session.execute(insert(Visit), visits)
        return [one["id"] for one in visits], seed_of(visit, organisation)


def _columns(row: Base) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


def _issue(keyring: Keyring, visit_id: str, participant: str, role: Role, seed: RoomSeed) -> str:
    return issue_ticket(
        keyring.derive("socket-tickets"),
        room=visit_id,
        participant=participant,
        role=role,
        now=datetime.now(UTC),
        nonce=secrets.token_bytes(NONCE_BYTES),
        seed=seed,
    )
