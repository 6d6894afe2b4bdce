"""Everything that is kept of a person, opened and named; files go to the caller one by one."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from recordings.store import SealedFolder
from recordings.vault import SealBroken
from server.db import Base
from server.keyring import Keyring, Shredded
from server.models import (
    Appointment,
    Attachment,
    CallInterval,
    CallOutage,
    CheckIn,
    Connector,
    Consent,
    Device,
    InboxMessage,
    LineTest,
    LogEntry,
    Note,
    Patient,
    PatientMessage,
    Rating,
    Report,
    Submission,
    User,
    Visit,
)
from server.sealed import (
    open_answers,
    open_attachment_words,
    open_details,
    open_eligibility,
    open_justification,
    open_message,
    open_note,
    open_rating_words,
    open_report_cda,
    open_report_content,
    open_report_pdf,
    read_attachment,
)
from server.subjects.content import (
    Answered,
    Browser,
    Document,
    Done,
    KeptFile,
    Measured,
    Rated,
    Received,
    SavedNote,
    Tested,
    Told,
    VisitCopy,
)

KeepFile = Callable[[str, bytes], None]
"""Takes the name in the zip and the content."""
_PATIENT: Final = "patient"
_MESSAGE_ENDINGS: Final[Mapping[Connector, str]] = {
    Connector.FHIR: "json", Connector.HL7V2: "hl7", Connector.CSV: "csv",
}  # fmt: skip


async def load_visits(session: AsyncSession, patient: Patient) -> Sequence[Visit]:
    """Her visits, the oldest first, with appointment, clinic and clinician."""
    of_visit = joinedload(Visit.appointment)
    found = await session.scalars(
        select(Visit)
        .join(Visit.appointment)
        .where(Appointment.patient_id == patient.id)
        .options(
            of_visit.joinedload(Appointment.clinic), of_visit.joinedload(Appointment.clinician)
        )
        .order_by(Appointment.start, Visit.id)
    )
    return found.all()


class VisitGatherer:
    """Gathers one visit; ``folder`` is where its files go in the zip."""

    def __init__(
        self,
        keyring: Keyring,
        session: AsyncSession,
        store: SealedFolder,
        visit: Visit,
        folder: str,
        keep: KeepFile,
    ) -> None:
        self._keyring = keyring
        self._session = session
        self._store = store
        self._visit = visit
        self._folder = folder
        self._keep_file = keep

    async def gather(self) -> VisitCopy:
        """All of it. What was sealed with a destroyed key is left out.

        :raises SealBroken: a record was altered.
        """
        bare = await self._gather_plain()
        try:
            return msgspec.structs.replace(bare, **await self._gather_sealed())
        except Shredded:
            return msgspec.structs.replace(bare, is_erased=True)

    async def _gather_plain(self) -> VisitCopy:
        visit, appointment = self._visit, self._visit.appointment
        return VisitCopy(
            id=visit.id,
            booking_code=appointment.booking_code,
            start=appointment.start,
            end=appointment.end,
            clinic=appointment.clinic.name if appointment.clinic else "",
            clinician=appointment.clinician.display_name if appointment.clinician else "",
            state=visit.state,
            outcome=visit.outcome or "",
            outcome_reason=visit.outcome_reason,
            priority=appointment.priority,
            is_erased=appointment.is_erased,
            suitability=visit.suitability or "",
            consents=[_answered(row) for row in await self._load(Consent, Consent.answered_at)],
            messages=[
                _told(row) for row in await self._load(PatientMessage, PatientMessage.created_at)
            ],
            browsers=[
                Browser(opened_at=row.claimed_at, ended_at=row.ended_at)
                for row in await self._load(Device, Device.claimed_at)
            ],
            tests=[_tested(row) for row in await self._load(LineTest, LineTest.taken_at)],
            measured=await self._measure(),
            log=await self._read_log(),
        )

    async def _gather_sealed(self) -> dict[str, Any]:
        keyring, session, visit = self._keyring, self._session, self._visit
        check_in = await session.get(CheckIn, visit.id)
        return {
            "details": await open_details(keyring, session, visit.appointment),
            "answers": await open_answers(keyring, session, check_in),
            "eligibility": await open_eligibility(keyring, session, visit),
            "justification": await open_justification(keyring, session, visit),
            "notes": await self._read_notes(),
            "documents": await self._read_documents(),
            "files": await self._read_files(),
            "ratings": await self._read_ratings(),
            "received": await self._read_received(),
        }

    async def _load(self, table: type[Base], order: Any) -> Sequence[Any]:
        of_visit = table.__table__.c.visit_id == self._visit.id
        return (await self._session.scalars(select(table).where(of_visit).order_by(order))).all()

    async def _name(self, user_id: str) -> str:
        user = await self._session.get(User, user_id)
        return user.display_name if user else ""

    def _keep(self, name: str, content: bytes) -> list[str]:
        """The name in the zip, alone in a list; empty without content."""
        if not content:
            return []
        path = f"{self._folder}/{name}"
        self._keep_file(path, content)
        return [path]

    async def _measure(self) -> Measured | None:
        of_visit = select(func.count()).where(CallInterval.visit_id == self._visit.id)
        intervals = await self._session.scalar(of_visit) or 0
        rows = await self._load(CallOutage, CallOutage.began_at)
        outages = [(row.began_at, row.seconds, row.cause) for row in rows if row.seat == _PATIENT]
        return Measured(intervals=intervals, outages=outages) if intervals or outages else None

    async def _read_log(self) -> list[Done]:
        rows = await self._load(LogEntry, LogEntry.id)
        return [_done(json.loads(row.entry)) for row in rows if row.entry]

    async def _read_notes(self) -> list[SavedNote]:
        return [
            SavedNote(
                version=row.version,
                saved_at=row.saved_at,
                author=await self._name(row.author_id),
                content=await open_note(self._keyring, self._session, row),
            )
            for row in await self._load(Note, Note.version)
        ]

    async def _read_documents(self) -> list[Document]:
        reports = await self._load(Report, Report.created_at)
        ids = [row.id for row in reports]
        submitted = await self._session.scalars(
            select(Submission).where(Submission.report_id.in_(ids))
        )
        states = {row.report_id: row.state.value for row in submitted}
        return [
            await self._read_document(number, row, states.get(row.id, ""))
            for number, row in enumerate(reports, 1)
        ]

    async def _read_document(self, number: int, report: Report, sent: str) -> Document:
        keyring, session = self._keyring, self._session
        name = f"{report.kind.value}-{number}"
        files = self._keep(f"{name}.pdf", await open_report_pdf(keyring, session, report))
        files += self._keep(f"{name}.xml", await open_report_cda(keyring, session, report))
        if report.signed_at is None:
            content = await open_report_content(keyring, session, report)
            files += self._keep(f"{name}-draft.json", content)
        return Document(
            kind=report.kind,
            version=report.version,
            is_signed=report.signed_at is not None,
            is_obscured=report.is_obscured,
            created_at=report.created_at,
            signed_at=report.signed_at,
            delivered_at=report.delivered_at,
            first_read_at=report.first_read_at,
            author=await self._name(report.author_id),
            files=files,
            pdf_sha256=report.pdf_sha256,
            sent_to_fse=sent,
        )

    async def _read_files(self) -> list[KeptFile]:
        rows = await self._load(Attachment, Attachment.received_at)
        return [await self._read_file(number, row) for number, row in enumerate(rows, 1)]

    async def _read_file(self, number: int, row: Attachment) -> KeptFile:
        """A content that is lost or altered is said, and does not stop the rest."""
        try:
            content = await read_attachment(self._keyring, self._session, self._store, row)
        except Shredded:
            raise
        except SealBroken:
            content = b""
        ending = mimetypes.guess_extension(row.media_type) or ""
        return KeptFile(
            kind=row.kind,
            media_type=row.media_type,
            received_at=row.received_at,
            consented_at=row.consented_at,
            words=await open_attachment_words(self._keyring, self._session, row),
            file="".join(self._keep(f"file-{number}{ending}", content)),
        )

    async def _read_ratings(self) -> list[Rated]:
        return [
            Rated(
                visit=row.visit_score or "",
                line=row.line_score or "",
                words=await open_rating_words(self._keyring, self._session, row),
                rated_at=row.rated_at,
            )
            for row in await self._load(Rating, Rating.rated_at)
            if row.seat == _PATIENT
        ]

    async def _read_received(self) -> list[Received]:
        rows = await self._load(InboxMessage, InboxMessage.received_at)
        return [await self._read_message(number, row) for number, row in enumerate(rows, 1)]

    async def _read_message(self, number: int, row: InboxMessage) -> Received:
        """A month of messages may have come to its term before the visit."""
        try:
            content = await open_message(self._keyring, self._session, row)
        except Shredded:
            content = b""
        name = f"cup-{number}.{_MESSAGE_ENDINGS[row.connector]}"
        return Received(
            event=row.event,
            state=row.state,
            received_at=row.received_at,
            file="".join(self._keep(name, content)),
        )


def _answered(row: Consent) -> Answered:
    return Answered(
        kind=row.kind,
        is_given=row.is_given,
        text_version=row.text_version,
        text_sha256=row.text_hash,
        language=row.language,
        answered_at=row.answered_at,
    )


def _told(row: PatientMessage) -> Told:
    return Told(
        kind=row.kind,
        state=row.state,
        channel=row.channel or "",
        queued_at=row.created_at,
        sent_at=row.sent_at,
    )


def _tested(row: LineTest) -> Tested:
    return Tested(
        taken_at=row.taken_at,
        browser=row.browser,
        steps=msgspec.Raw(row.steps.encode()),
        problems=msgspec.Raw(row.problems.encode()),
    )


def _done(entry: dict[str, Any]) -> Done:
    return Done(
        at=datetime.fromisoformat(entry["at"]),
        action=entry.get("action") or entry["act"],
        role=entry["role"],
        reason=entry.get("reason", ""),
    )
