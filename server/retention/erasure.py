"""The end of one record: of a visit, of a recording, of a month of CUP's messages.

Each in one transaction with the line that proves it: what was deleted, the id of the destroyed key
and the SHA-256 of its tombstone (:func:`hash_tombstone`). Sealed bytes that must not be empty are
cut to their header: it names the destroyed key, so whoever opens one is told that it was erased.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import OrganisationId, count_changed
from server.keyring import Keyring, visit_owner
from server.keys.shredding import refuse_held, shred_owner, shred_visit
from server.models import (
    ERASED_BYTES,
    Appointment,
    Attachment,
    CheckIn,
    DataKey,
    FhirAwaited,
    FhirResource,
    InboxMessage,
    LogValue,
    Note,
    PatientIdentifier,
    Rating,
    Recording,
    RecordingConsent,
    RecordingTrack,
    Report,
    ReportCode,
    Submission,
    Visit,
)
from server.sealed import recording_owner


@dataclass(frozen=True, slots=True)
class Month:
    """The messages of one source that share a key; ``until`` is the first moment after."""

    organisation: OrganisationId
    source_id: str
    owner: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Left:
    """Sealed files that are to be deleted once the transaction is committed, by their names."""

    attachments: list[str]
    tracks: list[str]


async def erase_visit(
    keyring: Keyring, session: AsyncSession, visit_id: str, now: datetime
) -> Left:
    """End the record of a visit, its recordings with it.

    :raises Held: a legal hold runs (:mod:`server.keys.shredding`).
    """
    appointment = joinedload(Visit.appointment).joinedload(Appointment.patient)
    visit = await session.get_one(Visit, visit_id, options=[appointment])
    await shred_visit(keyring, session, visit, now)
    files = list(
        await session.scalars(select(Attachment.id).where(Attachment.visit_id == visit_id))
    )
    tracks: list[str] = []
    for recording in await session.scalars(select(Recording).where(Recording.visit_id == visit_id)):
        tracks += await _erase_recording(keyring, session, recording, now)
    facts: dict[str, Fact] = {"kept": "record", "files": len(files)}
    facts |= await _delete_rows(session, visit_id)
    visit.sealed_eligibility = visit.appointment.sealed_justification = None
    await _erase_appointment(keyring, session, visit, now)
    facts["patient"] = await _erase_patient(keyring, session, visit, now)
    await _prove(session, visit.organisation_id, visit_owner(visit_id), facts, now, visit_id)
    return Left(files, tracks)


async def erase_recording(
    keyring: Keyring, session: AsyncSession, recording_id: str, now: datetime
) -> Left:
    """End one recording; that there was one stays in the session log.

    :raises Held: a legal hold of its visit runs.
    """
    recording = await session.get_one(Recording, recording_id)
    await refuse_held(session, recording.visit_id)
    return Left([], await _erase_recording(keyring, session, recording, now))


async def _erase_recording(
    keyring: Keyring, session: AsyncSession, recording: Recording, now: datetime
) -> list[str]:
    """Its rows and its key, where one was made; returns the names of its files."""
    of_it = RecordingTrack.recording_id == recording.id
    tracks = list(await session.scalars(select(RecordingTrack.id).where(of_it)))
    await session.execute(delete(RecordingTrack).where(of_it))
    await session.execute(
        delete(RecordingConsent).where(RecordingConsent.recording_id == recording.id)
    )
    await session.execute(delete(Recording).where(Recording.id == recording.id))
    organisation, owner = OrganisationId(recording.organisation_id), recording_owner(recording.id)
    if await session.scalar(select(DataKey.id).where(DataKey.owner == owner)) is not None:
        await shred_owner(keyring, session, organisation, owner, now)
        facts: dict[str, Fact] = {"kept": "recording", "files": len(tracks)}
        await _prove(session, organisation, owner, facts, now, recording.visit_id)
    return tracks


async def _delete_rows(session: AsyncSession, visit_id: str) -> dict[str, Fact]:
    """What only the destroyed key could open; how many rows of each."""
    of_visit = select(Report.id).where(Report.visit_id == visit_id).scalar_subquery()
    await session.execute(delete(Submission).where(Submission.report_id.in_(of_visit)))
    await session.execute(
        update(Report).where(Report.visit_id == visit_id).values(replaces_id=None)
    )
    await session.execute(delete(ReportCode).where(ReportCode.visit_id == visit_id))
    counted = (("reports", Report), ("notes", Note), ("attachments", Attachment))
    counts: dict[str, Fact] = {
        word: await count_changed(session, delete(table).where(table.visit_id == visit_id))
        for word, table in counted
    }
    await session.execute(
        update(Rating).where(Rating.visit_id == visit_id).values(sealed_words=None)
    )
    for lesser in (CheckIn, LogValue):
        await session.execute(delete(lesser).where(lesser.visit_id == visit_id))
    return counts


async def _erase_appointment(
    keyring: Keyring, session: AsyncSession, visit: Visit, now: datetime
) -> None:
    appointment = visit.appointment
    owner = f"appointment:{appointment.id}"
    await shred_owner(keyring, session, appointment.organisation_id, owner, now)
    appointment.sealed_details = appointment.sealed_details[:ERASED_BYTES]
    await session.flush()
    await _prove(session, visit.organisation_id, owner, {"kept": "record"}, now, visit.id)


async def _erase_patient(
    keyring: Keyring, session: AsyncSession, visit: Visit, now: datetime
) -> bool:
    """End the identity when no appointment of this person is left."""
    patient = visit.appointment.patient
    left = select(Appointment.id).where(
        Appointment.patient_id == patient.id,
        func.length(Appointment.sealed_details) > ERASED_BYTES,
    )
    if await session.scalar(left.limit(1)) is not None:
        return False
    owner = f"patient:{patient.id}"
    await shred_owner(keyring, session, patient.organisation_id, owner, now)
    patient.sealed_identity = patient.sealed_identity[:ERASED_BYTES]
    patient.codice_fiscale_index = None
    patient.identity_orders = "{}"
    await session.execute(
        delete(PatientIdentifier).where(PatientIdentifier.patient_id == patient.id)
    )
    await session.flush()
    await _prove(session, visit.organisation_id, owner, {"kept": "record"}, now, visit.id)
    return True


async def erase_month(keyring: Keyring, session: AsyncSession, month: Month, now: datetime) -> None:
    """End a month of CUP's messages and of what came with them."""
    await shred_owner(keyring, session, month.organisation, month.owner, now)
    messages = select(InboxMessage.id).where(
        InboxMessage.source_id == month.source_id,
        InboxMessage.received_at >= month.since,
        InboxMessage.received_at < month.until,
    )
    resources = select(FhirResource.id).where(
        FhirResource.source_id == month.source_id,
        FhirResource.updated_at >= month.since,
        FhirResource.updated_at < month.until,
    )
    await session.execute(delete(FhirAwaited).where(FhirAwaited.appointment_id.in_(resources)))
    count_of_resources = await count_changed(
        session, delete(FhirResource).where(FhirResource.id.in_(resources))
    )
    await session.execute(
        update(FhirResource).where(FhirResource.message_id.in_(messages)).values(message_id=None)
    )
    count = await count_changed(session, delete(InboxMessage).where(InboxMessage.id.in_(messages)))
    facts: dict[str, Fact] = {
        "kept": "messages", "messages": count, "resources": count_of_resources,
    }  # fmt: skip
    await _prove(session, month.organisation, month.owner, facts, now)


async def _prove(
    session: AsyncSession,
    organisation: OrganisationId,
    owner: str,
    facts: dict[str, Fact],
    now: datetime,
    visit_id: str | None = None,
) -> None:
    of_owner = (DataKey.organisation_id == organisation, DataKey.owner == owner)
    stone = (await session.scalars(select(DataKey).where(*of_owner))).one()
    proof: dict[str, Fact] = {"key": stone.id, "tombstone": hash_tombstone(stone), "owner": owner}
    entry = Entry(now, Act.KEY_SHREDDED, ActorRole.SYSTEM, visit=visit_id, facts=facts | proof)
    await append(session, organisation, entry)


def hash_tombstone(stone: DataKey) -> str:
    """SHA-256 in hex over id, organisation, owner, KEK version and time of a destroyed key, with
    vertical bars between them; what was wrapped is not there any more."""
    at = stone.shredded_at.astimezone(UTC).isoformat() if stone.shredded_at else ""
    parts = (stone.id, stone.organisation_id, stone.owner, str(stone.kek_version), at)
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
