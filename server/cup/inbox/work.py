"""What one transaction of the inbox knows and has to write: the rows its messages touch, loaded
for all of them at once, and what is said at the end.

No rule is here: :mod:`server.cup.inbox.apply` and :mod:`server.cup.inbox.merge` decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.cup.booking import Booking, Fault, Merge, Message
from server.cup.inbox.envelope import booking_code_of, control_id_of
from server.cup.inbox.lookup import (
    KNOWN,
    KNOWN_MESSAGES,
    KNOWN_VISITS,
    LOOK_UP,
    clinic_code_of,
    unique,
)
from server.db import OrganisationId
from server.keyring import Keyring
from server.mail.queue import make_message
from server.models import (
    Appointment,
    AppointmentStatus,
    Clinic,
    InboxMessage,
    MessageKind,
    MessageState,
    Organisation,
    Patient,
    PatientIdentifier,
    PatientMessage,
    Source,
    Visit,
    VisitChange,
    VisitChangeKind,
    VisitState,
    new_id,
)
from server.phases import may_leave
from server.sealed import warm_keys


class KnownClinic(NamedTuple):
    id: str
    name: str


class Work:
    """One transaction of one source. ``load`` first, then ``close``, and ``finish`` last of
    all."""

    def __init__(
        self,
        session: AsyncSession,
        keyring: Keyring,
        source: Source,
        organisation: Organisation,
        now: datetime,
    ) -> None:
        self.session = session
        self.keyring = keyring
        self.source = source
        self.now = now
        self._phase_owner = organisation
        self.organisation = OrganisationId(source.organisation_id)
        self.messages: dict[str, InboxMessage] = {}
        """By control id."""
        self.pending: dict[str, list[InboxMessage]] = {}
        """By booking code, what waits in quarantine."""
        self.visits: dict[str, Visit] = {}
        """By booking code."""
        self.people: dict[str, Patient] = {}
        """By the keyed hash of a codice fiscale, or of a source's own number."""
        self.clinicians: dict[str, str] = {}
        self._clinics: dict[str, KnownClinic] = {}
        self._clinic_codes: dict[str, str] = {}
        self.foreign_codes: set[str] = set()
        """Codes of other organisations of this installation."""
        self._own_codes: set[str] = {organisation.code}
        self._new_visits: set[str] = set()
        self._rows: list[object] = []
        self._visits_of: list[tuple[InboxMessage, Visit]] = []
        self._entries: list[Entry] = []
        self._queue: dict[tuple[str, MessageKind, str], Visit] = {}

    # ---- loading -----------------------------------------------------------------------

    async def load(self, messages: Sequence[Message], codes: Iterable[str] = ()) -> None:
        """Load what some messages name, and what is known of bookings by their codes."""
        booking_codes = {booking_code_of(message) for message in messages} | set(codes)
        booking_codes.discard("")
        control_ids = {control_id_of(message) for message in messages}
        named = {"control_ids": list(control_ids - {None}), "booking_codes": list(booking_codes)}
        found = await self.session.execute(KNOWN, {"source": self.source.id, **named})
        ids: dict[str, list[str]] = {}
        for kind, row_id in found:
            ids.setdefault(kind, []).append(row_id)
        await self._load_messages(ids.get("message", []), control_ids)
        await self._load_visits(ids.get("visit", []))
        await self.look_up([message.body for message in messages])

    async def _load_messages(self, ids: list[str], control_ids: set[str | None]) -> None:
        for row in await self.session.scalars(KNOWN_MESSAGES, {"ids": ids}) if ids else ():
            if row.control_id in control_ids:
                self.messages[row.control_id or ""] = row
            if row.state is MessageState.QUARANTINED:
                self.pending.setdefault(row.booking_code, []).append(row)

    async def _load_visits(self, ids: list[str]) -> None:
        if not ids:
            return
        visits = list(await self.session.scalars(KNOWN_VISITS, {"ids": ids}))
        for visit in visits:
            self.visits[visit.appointment.booking_code] = visit
            self.note_clinic(visit.appointment)
        await warm_keys(self.keyring, self.session, visits)

    def note_clinic(self, appointment: Appointment) -> None:
        """Remember the code of an appointment's clinic, loaded with it: phases go by it."""
        if appointment.clinic is not None:
            self._clinic_codes[appointment.clinic.id] = appointment.clinic.code

    async def look_up(self, bodies: Iterable[Booking | Merge | Fault]) -> None:
        """Learn the ids of what messages name: clinicians, clinics, organisations, people."""
        bookings = [body for body in bodies if isinstance(body, Booking)]
        merges = [body for body in bodies if isinstance(body, Merge)]
        named: tuple[Booking | Merge, ...] = (*bookings, *merges)
        people = [body.identity.codice_fiscale for body in named]
        people += [merge.retired_codice_fiscale for merge in merges]
        keys = [key for body in named for key in body.patient_keys]
        keys += [key for merge in merges for key in merge.retired_keys]
        found = await self.session.execute(
            LOOK_UP,
            {
                "organisation": self.organisation,
                "source": self.source.id,
                "clinicians": unique(code for body in bookings for code in body.clinician_codes),
                "clinics": unique(map(clinic_code_of, bookings)),
                "organisations": unique(
                    code for body in bookings for code in body.organisation_codes
                ),
                "people": [await self.person_index(code) for code in unique(people)],
                "keys": [await self.key_index(key) for key in unique(keys)],
            },
        )
        await self._learn([(row[0], row[1], row[2], row[3]) for row in found])

    async def _learn(self, rows: Sequence[tuple[str, str, str, str]]) -> None:
        people: dict[str, str] = {}
        for kind, code, row_id, name in rows:
            if kind == "clinician":
                self.clinicians[code] = row_id
            elif kind == "clinic":
                self._clinics[code] = KnownClinic(row_id, name)
                self._clinic_codes[row_id] = code
            elif kind == "organisation":
                (self._own_codes if row_id == self.organisation else self.foreign_codes).add(code)
            elif kind == "person":
                people[code] = row_id
            else:
                people.setdefault(code, row_id)
        unknown = {index: row_id for index, row_id in people.items() if index not in self.people}
        if unknown:
            found = await self.session.scalars(
                select(Patient).where(Patient.id.in_(set(unknown.values())))
            )
            patients = {patient.id: patient for patient in found}
            self.people |= {index: patients[row_id] for index, row_id in unknown.items()}
            owners = [f"patient:{row_id}" for row_id in patients]
            await self.keyring.warm(self.session, self.organisation, owners)

    # ---- what is known -----------------------------------------------------------------

    async def person_index(self, codice_fiscale: str) -> str:
        return await self.keyring.blind_index(
            self.session, self.organisation, "codice_fiscale", codice_fiscale
        )

    async def key_index(self, key: str) -> str:
        return await self.keyring.blind_index(
            self.session, self.organisation, "patient_key", f"{self.source.id}|{key}"
        )

    async def digest(self, event: str, content: bytes) -> str:
        """Keyed hash of what a message says."""
        hashed = hashlib.sha256(content).hexdigest()
        return await self.keyring.blind_index(
            self.session, self.organisation, "message", f"{event}|{hashed}"
        )

    def is_foreign(self, booking: Booking) -> bool:
        """Whether a booking names another organisation of this installation, and not ours."""
        codes = set(booking.organisation_codes)
        return bool(codes & self.foreign_codes) and not codes & self._own_codes

    # ---- what is to be written ---------------------------------------------------------

    async def clinic_id(self, booking: Booking) -> str | None:
        """The clinic a booking names, made when it is new; none when it names none."""
        code = clinic_code_of(booking)
        if not code:
            return None
        known = self._clinics.get(code)
        if known is None:
            known = KnownClinic(new_id(), booking.clinic_name or code)
            clinic = Clinic(
                id=known.id, organisation_id=self.organisation, code=code, name=known.name
            )
            self.session.add(clinic)
            self._clinic_codes[known.id] = code
        elif booking.clinic_name and booking.clinic_name != known.name:
            known = KnownClinic(known.id, booking.clinic_name)
            change = update(Clinic).where(Clinic.id == known.id).values(name=known.name)
            await self.session.execute(change.execution_options(synchronize_session=False))
        self._clinics[code] = known
        return known.id

    def add(self, row: object) -> None:
        """Store a row that refers to others: after them."""
        self._rows.append(row)

    def refer(self, message: InboxMessage, visit: Visit) -> None:
        """Let a message lead to its visit, which may not be stored yet."""
        self._visits_of.append((message, visit))

    def add_visit(self, visit: Visit) -> None:
        self.session.add(visit)
        self.visits[visit.appointment.booking_code] = visit
        self._new_visits.add(visit.id)

    def is_new(self, visit: Visit) -> bool:
        """Whether this transaction has made it: nobody has heard of it yet."""
        return visit.id in self._new_visits

    def log(self, visit: Visit | None, act: Act, facts: dict[str, Fact] | None = None) -> None:
        visit_id = visit.id if visit else None
        self._entries.append(
            Entry(self.now, act, ActorRole.SYSTEM, visit=visit_id, facts=facts or {})
        )

    def tell_pages(self, visit: Visit, kind: VisitChangeKind) -> None:
        """People with the page of the visit open must hear of a change."""
        if not self.is_new(visit):
            self.add(
                VisitChange(
                    organisation_id=self.organisation,
                    visit_id=visit.id,
                    kind=kind,
                    changed_at=self.now,
                )
            )

    def tell_patient(self, visit: Visit, kind: MessageKind, occasion: str) -> None:
        """Queue a message, if at the end it is still true."""
        self._queue[visit.id, kind, occasion] = visit

    async def flush(self) -> None:
        """Write all rows, those that others refer to first."""
        await self.session.flush()
        for message, visit in self._visits_of:
            message.visit_id = visit.id
        self.session.add_all(self._rows)
        self._rows, self._visits_of = [], []
        await self.session.flush()

    async def close(self) -> None:
        """Write the rest: only now is it known which messages to patients are true."""
        await self._queue_messages()
        await self.flush()

    async def finish(self) -> None:
        """Write the lines of the session log, which stays locked until the commit."""
        if self._entries:
            await append(self.session, self.organisation, *self._entries)
        self._entries = []

    async def _queue_messages(self) -> None:
        known = await self._load_occasions()
        for (visit_id, kind, occasion), visit in self._queue.items():
            if not self._is_still_true(visit, kind):
                continue
            if (visit_id, kind, occasion) in known:
                if kind is not MessageKind.MOVED:
                    continue
                occasion = f"{occasion}/{self.now:%m%d%H%M%S}"
            clinic_code = self._clinic_codes.get(visit.appointment.clinic_id or "", "")
            is_free = may_leave(self._phase_owner, clinic_code)
            self._rows.append(make_message(visit, kind, self.now, is_free, occasion=occasion))
        self._queue = {}

    def _is_still_true(self, visit: Visit, kind: MessageKind) -> bool:
        if kind is MessageKind.CANCELLED:
            return visit.state is VisitState.CANCELLED and not self.is_new(visit)
        is_booked = visit.appointment.status is AppointmentStatus.BOOKED
        if not is_booked or visit.state in {VisitState.CANCELLED, VisitState.ENDED}:
            return False
        return kind is not MessageKind.MOVED or not self.is_new(visit)

    async def _load_occasions(self) -> set[tuple[str, MessageKind, str]]:
        visit_ids = {visit_id for visit_id, _, _ in self._queue} - self._new_visits
        if not visit_ids:
            return set()
        found = await self.session.execute(
            select(PatientMessage.visit_id, PatientMessage.kind, PatientMessage.occasion).where(
                PatientMessage.visit_id.in_(visit_ids)
            )
        )
        return {(row[0], row[1], row[2]) for row in found}


def make_identifier(work: Work, index: str, patient: Patient) -> PatientIdentifier:
    return PatientIdentifier(
        id=new_id(),
        organisation_id=work.organisation,
        source_id=work.source.id,
        identifier_index=index,
        patient_id=patient.id,
    )
