"""The visits of yesterday: held through the pages of the real application, at their hours.

An application without workers serves on a port of its own; its clock is set before each step, so
the session log, the consents and the signatures tell yesterday. Only what two browsers would say
over their sockets is told to the records directly, by the door that the rooms use.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.app import create_app
from server.db import EVERY_ORGANISATION, Database
from server.demo.cases import Case
from server.demo.day import Slot
from server.demo.link import HOST
from server.demo.people import Staff
from server.errors import CommandFailed
from server.joinlink import derive_link, derive_report_code
from server.keyring import Keyring
from server.line.measured import Path, Rung
from server.models import Appointment, Direction, Organisation, ReportCode, Visit
from server.report.keep import load_reports
from server.report.state import find_current, find_draft
from server.roomseed import CLINICIAN_SEAT, PATIENT_SEAT, seed_of
from server.sealed import Section
from server.settings import Settings
from server.waiting import SPOOL_FOLDER, Spool, VisitHooks
from signaling.messages import (
    Gone,
    Joined,
    MediaProven,
    ParticipantState,
    Role,
    RoomEvent,
)

_MEASURES: Final = 95
"""Of ten seconds each."""
_WEAK: Final = range(40, 46)
_OURS: Final = {"Sec-Fetch-Site": "same-origin"}
_JSON: Final = {**_OURS, "Accept": "application/json"}


class Stage:
    """The application of yesterday, its clock, and the browsers of one visit at a time."""

    def __init__(
        self, settings: Settings, database: Database, keyring: Keyring, now: datetime
    ) -> None:
        self.settings = settings
        self.database = database
        self.keyring = keyring
        self.now = now
        self.origin = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve until the block ends."""
        listener = socket.create_server((HOST, 0))
        self.origin = f"http://{HOST}:{listener.getsockname()[1]}"
        app = create_app(
            self.settings, own_url=self.origin, clock=lambda: self.now, has_workers=False
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[_Browser]:
        """Cookies of its own."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            yield _Browser(session, self.origin)


@dataclass(frozen=True, slots=True)
class _Browser:
    session: aiohttp.ClientSession
    origin: str

    async def get(self, path: str) -> None:
        async with self.session.get(self.origin + path) as answer:
            _require_good(answer)

    async def post(self, path: str, **fields: str) -> None:
        async with self.session.post(self.origin + path, data=fields, headers=_OURS) as answer:
            _require_good(answer)

    async def send(self, method: str, path: str, content: Any, **headers: str) -> None:
        async with self.session.request(
            method, self.origin + path, json=content, headers={**_JSON, **headers}
        ) as answer:
            _require_good(answer)


def _require_good(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        where = f"{answer.method} {answer.url.path.rpartition('/')[2]}"
        raise CommandFailed(f"A visit of yesterday was not held: {where} says {answer.status}")


@dataclass(slots=True)
class _Scene:
    """One visit with its two browsers. ``password`` and ``pin`` are the doctor's."""

    stage: Stage
    slot: Slot
    case: Case
    visit: Visit
    patient: _Browser
    doctor: _Browser
    password: str
    pin: str

    @property
    def patient_url(self) -> str:
        return f"/v/{self.visit.locator}"

    @property
    def doctor_url(self) -> str:
        return f"/visits/{self.visit.id}"

    def at(self, minutes: float) -> None:
        """Set the clock, in minutes from the booked time."""
        self.stage.now = self.slot.start + timedelta(minutes=minutes)

    async def arrive(self) -> None:
        """Link, consents, devices, place, waiting room."""
        case = self.case
        companions = {"company": "with", "companions": case.companions}
        company = companions if case.companions else {"company": "alone"}
        steps: tuple[tuple[str, dict[str, str]], ...] = (
            ("check-in/who", {}),
            ("check-in/consents", {"visit": "yes", "tool": "yes"}),
            ("check-in/devices", {"camera": "ok", "microphone": "ok", "loudspeaker": "ok"}),
            ("check-in/place", {"address": case.person.address, **company}),
            ("waiting-room", {}),
        )
        self.at(-20)
        await self._claim()
        for number, (page, fields) in enumerate(steps, start=1):
            self.at(-20 + 2.3 * number)
            await self.patient.post(f"{self.patient_url}/{page}", **fields)
        await self._tell(_join, PATIENT_SEAT)

    async def _claim(self) -> None:
        claim = {
            "locator": self.visit.locator,
            "secret": derive_link(
                await self._join_key(), self.visit.id, self.visit.link_version
            ).fragment,
            "birth_date": self.case.person.birth_date.isoformat(),
        }
        await self.patient.send("POST", "/api/join", claim)

    async def _join_key(self) -> bytes:
        owner = self.visit.organisation_id
        async with self.stage.database.read(owner) as session:
            return await self.stage.keyring.load_secret(session, owner, "join")

    async def meet(self) -> None:
        """From the log-in of the doctor to the end of the visit."""
        case, here = self.case, self.doctor_url
        self.at(-2)
        username = case.clinician.username
        await self.doctor.post("/login", username=username, password=self.password)
        await self.doctor.get(here)
        await self._tell(_join, CLINICIAN_SEAT)
        self.at(0.4)
        await (await self._open_room()).admit(
            self.visit.id, self.visit.appointment.clinician_id or "", PATIENT_SEAT
        )
        self.at(0.6)
        await self._tell(_prove, PATIENT_SEAT, CLINICIAN_SEAT)
        await self.doctor.send("POST", f"{here}/identity", {"is_confirmed": True})
        reason = "Primo contatto concordato con il medico curante" if case.is_first_visit else ""
        gate = {"ground": "known_disease", "reason": reason}
        await self.doctor.send("POST", f"{here}/eligibility", gate)
        self.at(11.7)
        await self._save_note(case.sections, version=0)
        self.at(17.1)
        await self._tell(_leave, PATIENT_SEAT, CLINICIAN_SEAT)
        measured = {"intervals": _measure(self.slot.start), "outages": []}
        await self.patient.send("POST", f"{self.patient_url}/quality", measured)
        await self.doctor.send("POST", f"{here}/quality", measured)
        self.at(17.4)
        present = ["patient", "caregiver"] if case.companions else ["patient"]
        finish = {"outcome": "completed", "suitability": "suitable", "present": present}
        await self.doctor.send("POST", f"{here}/finish", finish)

    async def _open_room(self) -> VisitHooks:
        """The door that the rooms have to the records."""
        spool = Spool(self.stage.settings.data_dir / SPOOL_FOLDER)
        hooks = VisitHooks(self.stage.database, spool, lambda: self.stage.now)
        owner = self.visit.organisation_id
        async with self.stage.database.read(owner) as session:
            organisation = await session.get_one(Organisation, owner)
        hooks.opened(self.visit.id, seed_of(self.visit, organisation))
        return hooks

    async def _tell(self, what: Callable[[str], RoomEvent], *seats: str) -> None:
        """What happens in the room, written before anything else happens."""
        hooks = await self._open_room()
        async with asynccontextmanager(hooks.lifetime)(web.Application()):
            for seat in seats:
                hooks.observe(self.visit.id, what(seat))

    async def _save_note(self, sections: Mapping[Section, str], *, version: int) -> None:
        codes = [msgspec.to_builtins(code) for code in self.case.codes]
        note = {
            "sections": {section.value: text for section, text in sections.items()},
            "question_codes": codes[:1],
            "diagnosis_codes": codes,
        }
        headers = {"If-Match": f'"{version}"'}
        await self.doctor.send("PUT", f"{self.doctor_url}/note", note, **headers)

    async def report(self) -> None:
        """Review and sign; then, where the case has one, the correction."""
        self.at(19)
        await self._sign(self.pin)
        if self.case.corrected:
            self.at(22)
            await self._save_note(self.case.corrected, version=1)
            await self.doctor.post(f"{self.doctor_url}/report/correct", reason="clerical")
            self.at(23)
            await self._sign("")

    async def _sign(self, pin: str) -> None:
        here = f"{self.doctor_url}/report"
        await self.doctor.get(here)
        async with self.stage.database.read(self.visit.organisation_id) as session:
            draft = find_draft(await load_reports(session, self.visit.id))
        if draft is None:
            raise CommandFailed("A visit of yesterday has no report to sign: a bug")
        self.stage.now += timedelta(seconds=40)
        seen = str(draft.content_version)
        await self.doctor.post(f"{here}/sign", report_id=draft.id, seen=seen, pin=pin)

    async def read(self) -> None:
        """The patient asks for a code and downloads the report."""
        here = f"{self.patient_url}/reports"
        self.at(27)
        await self.patient.post(f"{here}/code")
        async with self.stage.database.read(self.visit.organisation_id) as session:
            code = await session.get_one(ReportCode, self.visit.id)
            current = find_current(await load_reports(session, self.visit.id))
        digits = derive_report_code(await self._join_key(), self.visit.id, code.issued_at)
        self.at(28)
        await self.patient.post(f"{here}/open", code=digits)
        if current is not None:
            await self.patient.get(f"{here}/{current.id}/pdf")


def _measure(start: datetime) -> list[dict[str, object]]:
    """What a page measured of the other side: good, with a weak picture for a minute."""
    return [
        {
            "direction": Direction.INCOMING.value,
            "began_at": (start + timedelta(seconds=60 + 10 * number)).isoformat(),
            "seconds": 10.0,
            "loss_percent": 0.4,
            "rtt_ms": 46 + number % 7,
            "jitter_ms": 5 + number % 3,
            "concealed_percent": 0.2,
            "frozen_ms": 0,
            "frames_per_second": 2.0 if number in _WEAK else 24.0,
            "kilobits_per_second": 120 if number in _WEAK else 1100,
            "path": Path.DIRECT.value,
            "rung": (Rung.SLOW if number in _WEAK else Rung.SD).value,
            "voice_score": 4.2,
        }
        for number in range(_MEASURES)
    ]


async def hold_past_visits(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    past: Sequence[tuple[Slot, Case]],
    secrets_of: Callable[[Staff], tuple[str, str]],
) -> None:
    """Hold and report the visits of :func:`~server.demo.cases.plan_past`.

    ``secrets_of`` gives password and PIN of a clinician.

    :raises CommandFailed: a page said no: a bug.
    """
    stage = Stage(settings, database, keyring, past[0][0].start)
    async with stage.serve():
        for slot, case in past:
            visit = await _load_visit(database, slot)
            async with stage.browser() as patient, stage.browser() as doctor:
                secrets = secrets_of(case.clinician)
                scene = _Scene(stage, slot, case, visit, patient, doctor, *secrets)
                await scene.arrive()
                await scene.meet()
                await scene.report()
                if case.is_read:
                    await scene.read()


async def _load_visit(database: Database, slot: Slot) -> Visit:
    async with database.read(EVERY_ORGANISATION) as session:
        found = await session.scalars(
            select(Visit)
            .join(Visit.appointment)
            .where(Appointment.booking_code == slot.booking_code)
            .options(joinedload(Visit.appointment))
        )
        return found.one()


def _join(seat: str) -> RoomEvent:
    is_patient = seat == PATIENT_SEAT
    state = ParticipantState.WAITING if is_patient else ParticipantState.ADMITTED
    return Joined(participant=seat, role=Role(seat), state=state)


def _prove(seat: str) -> RoomEvent:
    other = CLINICIAN_SEAT if seat == PATIENT_SEAT else PATIENT_SEAT
    return MediaProven(participant=seat, of=other, audio=True, video=True)


def _leave(seat: str) -> RoomEvent:
    return Gone(participant=seat)
