"""Reconciliation: what CUP says it holds, beside what is held here for the same source.

Only compares: nothing of a booking is changed, and what is kept of a comparison are booking codes
and names of fields, never values. Reading CUP's list (a file, a FHIR server) and the nightly run
are :mod:`server.cup.cuplist`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.cup.booking import Booking, BookingEvent, Fault, Field, Merge, Message
from server.cup.csvfile.out import write_rows
from server.cup.texts import ROME
from server.db import Database
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    Difference,
    DifferenceKind,
    Outcome,
    Reconciliation,
    Source,
    Visit,
    new_id,
)
from server.sealed import Details, Identity, open_details, open_identity, warm_keys

_BATCH: Final = 500
_IDENTITY: Final = ("codice_fiscale", "family_name", "given_name", "birth_date", "sex")
"""Who it is; how to reach the person may have been corrected at the desk."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One comparison and what it found."""

    reconciliation: Reconciliation
    differences: tuple[Difference, ...]

    @property
    def is_same(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class Held:
    """A booking as it is held here."""

    visit: Visit
    identity: Identity
    details: Details


async def reconcile(
    database: Database,
    keyring: Keyring,
    source: Source,
    cup_messages: AsyncIterable[Message],
    now: datetime,
) -> Reconciled:
    """Compare and keep the result.

    Of several messages of one booking the newest counts. What is missing in CUP is looked for in
    the days (Europe/Rome) from the first to the last start that CUP names.
    """
    comparison = _Comparison(database, keyring, source)
    batch: list[Message] = []
    async for message in cup_messages:
        batch.append(message)
        if len(batch) == _BATCH:
            await comparison.add(batch)
            batch = []
    await comparison.add(batch)
    await comparison.look_for_missing()
    return await comparison.keep(now)


async def load_differences(session: AsyncSession, reconciliation_id: str) -> list[Difference]:
    """What a comparison found, by booking code."""
    found = await session.scalars(
        select(Difference)
        .where(Difference.reconciliation_id == reconciliation_id)
        .order_by(Difference.booking_code, Difference.id)
    )
    return list(found)


def export_csv(differences: Iterable[Difference]) -> str:
    """The list for a spreadsheet, safe from formulas."""
    rows = ((row.booking_code, row.kind.value, row.fields) for row in differences)
    return write_rows([("codice_prenotazione", "differenza", "campi"), *rows])


def differing_fields(booking: Booking, held: Held) -> list[str]:
    """Names of the fields in which CUP says something else than is held; what it leaves out is
    no difference."""
    status = [] if _has_status(booking.event, held.visit) else [Field.STATUS.value]
    if booking.event is BookingEvent.CANCELLED:
        return status
    appointment = held.visit.appointment
    clinician = appointment.clinician
    clinicians = {appointment.clinician_code, clinician.code if clinician else None}
    clinic_code = appointment.clinic.code if appointment.clinic else ""
    is_first = booking.is_first_visit
    checks = {
        Field.START: booking.start in {None, appointment.start},
        Field.END: booking.end in {None, appointment.end},
        Field.CLINICIAN_CODE: not booking.clinician_codes
        or not clinicians.isdisjoint(booking.clinician_codes),
        Field.CLINIC_CODE: booking.clinic_code in {"", clinic_code},
        Field.PRIORITY: booking.priority in {"", appointment.priority},
        Field.FIRST_VISIT: is_first is None or is_first == appointment.is_first_visit,
    }
    return [
        *status,
        *(field.value for field, is_same in checks.items() if not is_same),
        *_differing_texts(booking.identity, held.identity, _IDENTITY),
        *_differing_texts(booking.details, held.details, Details.__struct_fields__),
    ]


def _has_status(event: BookingEvent, visit: Visit) -> bool:
    is_cancelled = visit.appointment.status is AppointmentStatus.CANCELLED
    match event:
        case BookingEvent.CANCELLED:
            return is_cancelled
        case BookingEvent.NO_SHOW:
            return visit.outcome is Outcome.NO_SHOW_PATIENT
        case BookingEvent.BOOKED:
            return not is_cancelled


def _differing_texts(
    theirs: msgspec.Struct, ours: msgspec.Struct, names: Iterable[str]
) -> Iterable[str]:
    for name in names:
        said = getattr(theirs, name)
        if said and _plain(said) != _plain(getattr(ours, name)):
            yield name


def _plain(value: object) -> str:
    return " ".join(str(value).casefold().split())


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one message of CUP's list came to; no kind: both sides agree."""

    order: str
    is_held: bool
    kind: DifferenceKind | None = None
    fields: Sequence[str] = ()


class _Comparison:
    """One run. Keeps a line for each booking, never a booking itself."""

    def __init__(self, database: Database, keyring: Keyring, source: Source) -> None:
        self._database = database
        self._keyring = keyring
        self._source = source
        self._findings: dict[str, _Finding] = {}
        self._first: datetime | None = None
        self._last: datetime | None = None

    async def add(self, messages: Sequence[Message]) -> None:
        """Compare some messages of CUP's list."""
        codes = {message.booking_code for message in messages}
        async with self._database.read(self._source.organisation_id) as session:
            held = await self._load_held(session, codes)
        for message in messages:
            if isinstance(message.body, Merge):
                continue
            known = self._findings.get(message.booking_code)
            if known is None or known.order <= message.order.key:
                found = _judge(message, held.get(message.booking_code))
                self._findings[message.booking_code] = found
            if isinstance(message.body, Booking) and message.body.start is not None:
                self._widen(message.body.start)

    async def look_for_missing(self) -> None:
        """What is booked here in the same days and CUP does not name."""
        if self._first is None or self._last is None:
            return
        statement = (
            select(Appointment.booking_code)
            .where(Appointment.source_id == self._source.id)
            .where(Appointment.status == AppointmentStatus.BOOKED)
            .where(Appointment.start >= _midnight(self._first, 0))
            .where(Appointment.start < _midnight(self._last, 1))
        )
        async with self._database.read(self._source.organisation_id) as session:
            codes = list(await session.scalars(statement))
        for code in codes:
            if code not in self._findings:
                kind = DifferenceKind.MISSING_IN_CUP
                self._findings[code] = _Finding("", is_held=False, kind=kind)

    async def keep(self, now: datetime) -> Reconciled:
        """Write the result."""
        organisation = self._source.organisation_id
        row = Reconciliation(
            id=new_id(),
            organisation_id=organisation,
            source_id=self._source.id,
            compared_at=now,
            compared=sum(finding.is_held for finding in self._findings.values()),
        )
        differences = [
            Difference(
                organisation_id=organisation,
                reconciliation_id=row.id,
                booking_code=code,
                kind=finding.kind,
                fields=_fit(finding.fields),
            )
            for code, finding in sorted(self._findings.items())
            if finding.kind is not None
        ]
        async with self._database.begin(organisation) as session:
            session.add(row)
            await session.flush()
            session.add_all(differences)
        return Reconciled(row, tuple(differences))

    async def _load_held(self, session: AsyncSession, codes: set[str]) -> Mapping[str, Held]:
        appointment = joinedload(Visit.appointment)
        statement = (
            select(Visit)
            .join(Visit.appointment)
            .where(Appointment.source_id == self._source.id)
            .where(Appointment.booking_code.in_(codes))
            .options(
                appointment.joinedload(Appointment.patient),
                appointment.joinedload(Appointment.clinic),
                appointment.joinedload(Appointment.clinician),
            )
        )
        visits = (await session.scalars(statement)).all()
        await warm_keys(self._keyring, session, visits)
        return {
            visit.appointment.booking_code: Held(
                visit=visit,
                identity=await open_identity(self._keyring, session, visit.appointment.patient),
                details=await open_details(self._keyring, session, visit.appointment),
            )
            for visit in visits
        }

    def _widen(self, start: datetime) -> None:
        self._first = min(self._first or start, start)
        self._last = max(self._last or start, start)


def _judge(message: Message, held: Held | None) -> _Finding:
    """A booking that is cancelled there and unknown here is the same in effect."""
    order, body = message.order.key, message.body
    fields: Sequence[str] = ()
    match body:
        case Fault():
            fields = [body.field.value]
        case Booking() if held is not None:
            fields = differing_fields(body, held)
        case Booking() if body.event is BookingEvent.CANCELLED:
            return _Finding(order, is_held=False)
    if held is None:
        return _Finding(order, False, DifferenceKind.MISSING_HERE, fields)
    return _Finding(order, True, DifferenceKind.DIFFERENT if fields else None, fields)


def _fit(fields: Sequence[str]) -> str:
    """Names that fit the column, whole ones only."""
    text = " ".join(fields)
    return text if len(text) <= 255 else text[:255].rpartition(" ")[0]


def _midnight(moment: datetime, days: int) -> datetime:
    """The start of that day in Europe/Rome, or of one some days later."""
    day = moment.astimezone(ROME).date() + timedelta(days=days)
    return datetime.combine(day, time(), tzinfo=ROME).astimezone(UTC)
