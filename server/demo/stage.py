"""Where visits of the past are held: the pages of the real application, at the hour of each.

An application without workers serves on a port of its own; its clock is set before each step, so
the session log, the consents and the signatures tell the day of the visit. Only what two browsers
would say over their sockets is told to the records directly, by the door that the rooms use.
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
from server.auth import SESSION_IDLE
from server.db import EVERY_ORGANISATION, Database
from server.demo.day import Slot
from server.demo.link import HOST
from server.errors import CommandFailed
from server.joinlink import derive_link
from server.keyring import Keyring
from server.models import Appointment, Organisation, Visit
from server.report.keep import load_reports
from server.report.state import find_draft
from server.roomseed import CLINICIAN_SEAT, PATIENT_SEAT, seed_of
from server.sealed import Coding, Section
from server.settings import Settings
from server.waiting import SPOOL_FOLDER, Spool, VisitHooks
from signaling.messages import (
    Away,
    Gone,
    Joined,
    MediaProven,
    ParticipantState,
    Returned,
    Role,
    RoomEvent,
)

Happening = tuple[float, RoomEvent]
"""Minutes from the booked time, and what happens in the room."""
DESK_BROWSER: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36"
)
PATIENT_BROWSERS: Final = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
)
_OURS: Final = {"Sec-Fetch-Site": "same-origin"}
_JSON: Final = {**_OURS, "Accept": "application/json"}
_STAYS_LOGGED_IN: Final = SESSION_IDLE - timedelta(minutes=2)
_SIGNED_AFTER: Final = timedelta(seconds=40)


class Stage:
    """The application of a past day, its clock, and the browsers of one visit at a time."""

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
    async def browser(self, name: str = DESK_BROWSER) -> AsyncIterator[Browser]:
        """Cookies of its own; ``name`` is what it calls itself."""
        jar, headers = aiohttp.CookieJar(unsafe=True), {"User-Agent": name}
        async with aiohttp.ClientSession(cookie_jar=jar, headers=headers) as session:
            yield Browser(session, self.origin)

    async def load_visit(self, booking_code: str) -> Visit:
        async with self.database.read(EVERY_ORGANISATION) as session:
            found = await session.scalars(
                select(Visit)
                .join(Visit.appointment)
                .where(Appointment.booking_code == booking_code)
                .options(joinedload(Visit.appointment))
            )
            return found.one()


@dataclass(frozen=True, slots=True)
class Browser:
    """One person's. Each step raises :class:`CommandFailed` when a page says no."""

    session: aiohttp.ClientSession
    origin: str

    async def get(self, path: str) -> None:
        async with self.session.get(self.origin + path) as answer:
            _require_good(answer)

    async def post(self, path: str, **fields: str) -> None:
        async with self.session.post(
            self.origin + path, data=fields, headers=_OURS, allow_redirects=False
        ) as answer:
            _require_good(answer)

    async def send(self, method: str, path: str, content: Any, **headers: str) -> None:
        async with self.session.request(
            method, self.origin + path, json=content, headers={**_JSON, **headers}
        ) as answer:
            _require_good(answer)

    async def log_in(self, username: str, password: str) -> None:
        await self.post("/login", username=username, password=password)


def _require_good(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        where = f"{answer.method} {answer.url.path.rpartition('/')[2]}"
        raise CommandFailed(f"A past visit was not held: {where} says {answer.status}")


@dataclass(slots=True)
class Scene:
    """One visit with its two browsers."""

    stage: Stage
    slot: Slot
    visit: Visit
    patient: Browser
    doctor: Browser

    @property
    def patient_url(self) -> str:
        return f"/v/{self.visit.locator}"

    @property
    def doctor_url(self) -> str:
        return f"/visits/{self.visit.id}"

    def at(self, minutes: float) -> datetime:
        """Set the clock, in minutes from the booked time."""
        self.stage.now = self.slot.start + timedelta(minutes=minutes)
        return self.stage.now

    async def arrive(
        self, minutes: float, companions: str = "", *, step: float = 2.3, camera: str = "ok"
    ) -> None:
        """Link, consents, devices, place, waiting room; ``step``: minutes for each."""
        company = {"company": "with", "companions": companions} if companions else {}
        address = self.slot.person.address
        steps: tuple[tuple[str, dict[str, str]], ...] = (
            ("check-in/who", {}),
            ("check-in/consents", {"visit": "yes", "tool": "yes"}),
            ("check-in/devices", {"camera": camera, "microphone": "ok", "loudspeaker": "ok"}),
            ("check-in/place", {"address": address, **(company or {"company": "alone"})}),
            ("waiting-room", {}),
        )
        self.at(minutes)
        await self.claim(self.slot.person.birth_date.isoformat())
        for number, (page, fields) in enumerate(steps, start=1):
            self.at(minutes + step * number)
            await self.patient.post(f"{self.patient_url}/{page}", **fields)
        await self.tell((minutes + step * len(steps), join(PATIENT_SEAT)))

    async def claim(self, birth_date: str) -> None:
        """Open the link with a birth date."""
        link = derive_link(await self.join_key(), self.visit.id, self.visit.link_version)
        claim = {"locator": self.visit.locator, "secret": link.fragment, "birth_date": birth_date}
        await self.patient.send("POST", "/api/join", claim)

    async def join_key(self) -> bytes:
        owner = self.visit.organisation_id
        async with self.stage.database.read(owner) as session:
            return await self.stage.keyring.load_secret(session, owner, "join")

    async def admit(self, minutes: float) -> None:
        """The doctor lets the patient in."""
        self.at(minutes)
        by = self.visit.appointment.clinician_id or ""
        await (await self._open_room()).admit(self.visit.id, by, PATIENT_SEAT)

    async def tell(self, *happenings: Happening) -> None:
        """What happens in the room, written before anything else happens."""
        hooks = await self._open_room()
        async with asynccontextmanager(hooks.lifetime)(web.Application()):
            for minutes, event in happenings:
                self.at(minutes)
                hooks.observe(self.visit.id, event)

    async def _open_room(self) -> VisitHooks:
        """The door that the rooms have to the records."""
        spool = Spool(self.stage.settings.data_dir / SPOOL_FOLDER)
        hooks = VisitHooks(self.stage.database, spool, lambda: self.stage.now)
        owner = self.visit.organisation_id
        async with self.stage.database.read(owner) as session:
            organisation = await session.get_one(Organisation, owner)
        hooks.opened(self.visit.id, seed_of(self.visit, organisation))
        return hooks

    async def confirm(self, reason: str = "") -> None:
        """Identity, and that the visit may be held this way (TV-02, TV-03)."""
        await self.doctor.send("POST", f"{self.doctor_url}/identity", {"is_confirmed": True})
        gate = {"ground": "known_disease", "reason": reason}
        await self.doctor.send("POST", f"{self.doctor_url}/eligibility", gate)

    async def save_note(
        self, sections: Mapping[Section, str], codes: Sequence[Coding] = (), *, version: int = 0
    ) -> None:
        """``version``: of the note that was on the screen."""
        plain = [msgspec.to_builtins(code) for code in codes]
        note = {
            "sections": {section.value: text for section, text in sections.items()},
            "question_codes": plain[:1],
            "diagnosis_codes": plain,
        }
        headers = {"If-Match": f'"{version}"'}
        await self.doctor.send("PUT", f"{self.doctor_url}/note", note, **headers)

    async def bring_measures(self, patient: Any, doctor: Any) -> None:
        """Batches of the two pages (:mod:`server.demo.lines`)."""
        await self.patient.send("POST", f"{self.patient_url}/quality", patient)
        await self.doctor.send("POST", f"{self.doctor_url}/quality", doctor)

    async def finish(self, outcome: str, **more: Any) -> None:
        form = {"outcome": outcome, **more}
        await self.doctor.send("POST", f"{self.doctor_url}/finish", form)

    async def sign(self, pin: str) -> None:
        """Open the report and sign it."""
        here = f"{self.doctor_url}/report"
        await self.doctor.get(here)
        async with self.stage.database.read(self.visit.organisation_id) as session:
            draft = find_draft(await load_reports(session, self.visit.id))
        if draft is None:
            raise CommandFailed("A past visit has no report to sign: a bug")
        self.stage.now += _SIGNED_AFTER
        seen = str(draft.content_version)
        await self.doctor.post(f"{here}/sign", report_id=draft.id, seen=seen, pin=pin)


@dataclass(slots=True)
class Doctor:
    """Who holds visits, with a browser that stays logged in as long as a real one."""

    stage: Stage
    browser: Browser
    username: str
    password: str
    pin: str
    is_pin_given: bool = False
    seen_at: datetime | None = None

    async def come(self) -> None:
        """Log in, unless the last log-in is still good."""
        if self.seen_at is None or self.stage.now - self.seen_at > _STAYS_LOGGED_IN:
            await self.browser.log_in(self.username, self.password)
            self.is_pin_given = False
        self.see()

    def see(self) -> None:
        """She has just used a page."""
        self.seen_at = self.stage.now

    async def sign(self, scene: Scene) -> None:
        """The PIN is asked once in a log-in."""
        await scene.sign("" if self.is_pin_given else self.pin)
        self.is_pin_given = True
        self.see()


SecretsOf = Callable[[str], tuple[str, str]]
"""Password and PIN of a clinician, by username."""


def join(seat: str) -> RoomEvent:
    is_patient = seat == PATIENT_SEAT
    state = ParticipantState.WAITING if is_patient else ParticipantState.ADMITTED
    return Joined(participant=seat, role=Role(seat), state=state)


def prove(seat: str, *, video: bool = True) -> RoomEvent:
    other = CLINICIAN_SEAT if seat == PATIENT_SEAT else PATIENT_SEAT
    return MediaProven(participant=seat, of=other, audio=True, video=video)


def drop(seat: str) -> RoomEvent:
    return Away(participant=seat)


def come_back(seat: str) -> RoomEvent:
    return Returned(participant=seat)


def leave(seat: str) -> RoomEvent:
    return Gone(participant=seat)
