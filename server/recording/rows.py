"""The rows of a recording: the ask, the answers, the end; each with its line in the session log.

Room and rows say the same because every act is written here first. At most one recording of a
visit is *live*: asked, on or failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor
from server.caseload import load_visit_of
from server.db import OrganisationId
from server.errors import Conflict, NotFound
from server.models import (
    Organisation,
    Recording,
    RecordingAnswer,
    RecordingConsent,
    RecordingPurpose,
    RecordingState,
    RecordingTrack,
    Visit,
    VisitState,
    new_id,
)
from server.recording.texts import RecordingText
from server.roomseed import CLINICIAN_SEAT, PATIENT_SEAT

LIVE: Final = (RecordingState.ASKED, RecordingState.ON, RecordingState.FAILED)
STOPPED: Final = "stopped"
REFUSED: Final = "refused"
_SEATS: Final = frozenset({PATIENT_SEAT, CLINICIAN_SEAT})
_ACTS: Final = {
    RecordingAnswer.ACCEPTED: Act.RECORDING_ACCEPTED,
    RecordingAnswer.REFUSED: Act.RECORDING_REFUSED,
    RecordingAnswer.STOPPED: Act.RECORDING_STOPPED,
}


def seat_of(actor: Actor) -> str:
    return PATIENT_SEAT if actor.role is ActorRole.PATIENT else CLINICIAN_SEAT


async def load_visit(session: AsyncSession, actor: Actor, visit_id: str) -> Visit:
    """The visit of this person; ``visit_id`` counts for clinicians only.

    :raises NotFound: there is none, or it is not theirs.
    """
    if actor.role is not ActorRole.PATIENT:
        return await load_visit_of(session, actor.id, visit_id)
    visit = await session.get(Visit, actor.visit_id)
    if visit is None:
        raise NotFound
    return visit


async def hold_visit(session: AsyncSession, actor: Actor, visit_id: str) -> Visit:
    """As :func:`load_visit`; nobody else changes its recordings in this transaction."""
    visit = await load_visit(session, actor, visit_id)
    await session.execute(select(Visit.id).where(Visit.id == visit.id).with_for_update())
    return visit


def allowed_purposes(organisation: Organisation) -> list[RecordingPurpose]:
    """What may be recorded for; nothing while the switch is off."""
    if not organisation.is_recording_allowed:
        return []
    return [one for one in RecordingPurpose if one in organisation.recording_purposes]


async def load_recording(session: AsyncSession, visit: Visit, ask: str) -> Recording:
    """:raises Conflict: no ask of this visit."""
    recording = await session.get(Recording, ask)
    if recording is None or recording.visit_id != visit.id:
        raise Conflict("there is no such ask")
    return recording


async def add_ask(
    session: AsyncSession,
    actor: Actor,
    visit: Visit,
    purpose: RecordingPurpose,
    text: RecordingText,
    now: datetime,
) -> Recording:
    """Keep the ask of a clinician, who agrees by asking.

    :raises Conflict: the patient is not in the visit, or a recording is live.
    """
    if visit.state is not VisitState.IN_VISIT:
        raise Conflict("the patient is not in the visit")
    if await session.scalar(
        select(Recording.id).where(Recording.visit_id == visit.id, Recording.state.in_(LIVE))
    ):
        raise Conflict("a recording is live")
    recording = Recording(
        id=new_id(),
        organisation_id=actor.organisation,
        visit_id=visit.id,
        purpose=purpose,
        text_version=text.version,
        text_hash=text.hash,
        asked_by=actor.id,
        asked_at=now,
        state=RecordingState.ASKED,
        end_reason="",
        is_copied=False,
    )
    session.add(recording)
    await session.flush()
    _add_consent(session, actor, recording, RecordingAnswer.ACCEPTED, text.hash, now)
    facts = _text_facts(text) | {"purpose": purpose.value}
    await _append_by(session, actor, recording, Act.RECORDING_ASKED, now, facts)
    return recording


async def add_answer(
    session: AsyncSession,
    actor: Actor,
    recording: Recording,
    answer: RecordingAnswer,
    text: RecordingText | None,
    now: datetime,
) -> None:
    """Keep what somebody says to a live recording; it begins, or it ends.

    :raises Conflict: it is over.
    """
    if recording.state not in LIVE:
        raise Conflict("the recording is over")
    text_hash = text.hash if text is not None else recording.text_hash
    _add_consent(session, actor, recording, answer, text_hash, now)
    await _append_by(session, actor, recording, _ACTS[answer], now, _text_facts(text))
    if answer is RecordingAnswer.ACCEPTED:
        await _begin_if_all_agree(session, recording, now)
    elif answer is RecordingAnswer.REFUSED and recording.began_at is None:
        await end_recording(session, recording, RecordingState.REFUSED, REFUSED, now)
    else:
        await end_recording(session, recording, RecordingState.ENDED, STOPPED, now)


async def end_recording(
    session: AsyncSession, recording: Recording, state: RecordingState, reason: str, now: datetime
) -> None:
    """It is over; what is on tapes is still to be taken into the store."""
    recording.state, recording.ended_at, recording.end_reason = state, now, reason
    if recording.began_at is not None:
        await append_own(session, recording, Act.RECORDING_ENDED, now, {"reason": reason})


async def mark_failure(
    session: AsyncSession, recording: Recording, reason: str, now: datetime
) -> None:
    """Nothing is being written."""
    recording.state = RecordingState.FAILED
    await append_own(session, recording, Act.RECORDING_FAILED, now, {"reason": reason})


async def mark_recovery(session: AsyncSession, recording: Recording, now: datetime) -> None:
    """What had failed works again."""
    has_begun = recording.began_at is not None
    recording.state = RecordingState.ON if has_begun else RecordingState.ASKED
    await append_own(session, recording, Act.RECORDING_RESUMED, now)


async def load_tracks(session: AsyncSession, recording_id: str) -> Sequence[RecordingTrack]:
    """In the order of their beginning."""
    found = await session.scalars(
        select(RecordingTrack)
        .where(RecordingTrack.recording_id == recording_id)
        .order_by(RecordingTrack.participant, RecordingTrack.part)
    )
    return found.all()


async def append_own(
    session: AsyncSession,
    recording: Recording,
    act: Act,
    now: datetime,
    facts: dict[str, Fact] | None = None,
) -> None:
    """A line of what happened to the recording without anybody's doing."""
    told = {"recording": recording.id} | (facts or {})
    entry = Entry(now, act, ActorRole.SYSTEM, "", recording.visit_id, told)
    await append(session, OrganisationId(recording.organisation_id), entry)


async def _begin_if_all_agree(session: AsyncSession, recording: Recording, now: datetime) -> None:
    await session.flush()
    agreed = await session.scalars(
        select(RecordingConsent.participant)
        .where(RecordingConsent.recording_id == recording.id)
        .where(RecordingConsent.answer == RecordingAnswer.ACCEPTED)
    )
    if recording.began_at is None and set(agreed) >= _SEATS:
        recording.began_at = now
        if recording.state is RecordingState.ASKED:
            recording.state = RecordingState.ON
        await append_own(session, recording, Act.RECORDING_BEGAN, now)


def _add_consent(
    session: AsyncSession,
    actor: Actor,
    recording: Recording,
    answer: RecordingAnswer,
    text_hash: str,
    now: datetime,
) -> None:
    session.add(
        RecordingConsent(
            organisation_id=actor.organisation,
            recording_id=recording.id,
            participant=seat_of(actor),
            answer=answer,
            text_version=recording.text_version,
            text_hash=text_hash,
            at=now,
        )
    )


def _text_facts(text: RecordingText | None) -> dict[str, Fact]:
    if text is None:
        return {}
    return {"text_version": text.version, "text_hash": text.hash, "language": text.language}


async def _append_by(
    session: AsyncSession,
    actor: Actor,
    recording: Recording,
    act: Act,
    now: datetime,
    facts: dict[str, Fact],
) -> None:
    told = {"recording": recording.id} | facts
    entry = Entry(now, act, actor.role, actor.id, recording.visit_id, told)
    await append(session, actor.organisation, entry)
