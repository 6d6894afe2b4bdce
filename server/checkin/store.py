"""The records of the check-in: answers, consents, and what they make of the visit's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor
from server.checkin.texts import ConsentText
from server.consents import load_latest_consents
from server.db import count_changed
from server.errors import Conflict, NotFound
from server.keyring import Keyring
from server.models import (
    Appointment,
    CheckIn,
    Consent,
    ConsentKind,
    EventKind,
    Organisation,
    Visit,
    VisitState,
)
from server.outbox import tell_cup
from server.sealed import Answers, Identity, open_answers, open_identity, seal_answers


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one patient stands with the check-in of one visit."""

    organisation: Organisation
    visit: Visit
    check_in: CheckIn | None
    answers: Answers
    given: frozenset[ConsentKind]
    """The consents whose last answer is yes."""
    is_refused: bool
    """Whether the last answer to a consent is no."""

    @property
    def has_consents(self) -> bool:
        return self.given == frozenset(ConsentKind)

    @property
    def is_complete(self) -> bool:
        return self.check_in is not None and self.has_consents and bool(self.answers.address)

    @property
    def next_step(self) -> str:
        """The first step that is not done; ``ready`` after the last."""
        tested = (self.answers.camera, self.answers.microphone, self.answers.loudspeaker)
        if self.check_in is None:
            return "who"
        if not self.has_consents:
            return "consents"
        if not any(tested):
            return "devices"
        return "ready" if self.answers.address else "place"


async def load_progress(session: AsyncSession, keyring: Keyring, actor: Actor) -> Progress:
    """Everything the check-in pages show of a patient's visit, but the identity."""
    visit = await session.scalar(
        select(Visit)
        .where(Visit.id == actor.visit_id)
        .options(
            joinedload(Visit.appointment).options(
                joinedload(Appointment.patient), joinedload(Appointment.clinician)
            )
        )
    )
    if visit is None:
        raise NotFound
    check_in = await session.get(CheckIn, visit.id)
    latest = await load_latest_consents(session, visit.id)
    return Progress(
        organisation=await session.get_one(Organisation, actor.organisation),
        visit=visit,
        check_in=check_in,
        answers=await open_answers(keyring, session, check_in),
        given=frozenset(kind for kind, consent in latest.items() if consent.is_given),
        is_refused=any(not consent.is_given for consent in latest.values()),
    )


async def load_identity(session: AsyncSession, keyring: Keyring, progress: Progress) -> Identity:
    return await open_identity(keyring, session, progress.visit.appointment.patient)


async def save_answers(
    session: AsyncSession,
    keyring: Keyring,
    actor: Actor,
    now: datetime,
    change: Callable[[Answers], Answers],
    facts: dict[str, Fact],
) -> None:
    """Save one step and, when nothing required is missing any more, complete the check-in.

    :raises Conflict: another tab saved at the same moment.
    """
    progress = await load_progress(session, keyring, actor)
    seen = progress.check_in
    draft = CheckIn(
        organisation_id=actor.organisation,
        visit_id=actor.visit_id,
        version=seen.version + 1 if seen else 1,
        updated_at=now,
    )
    await seal_answers(keyring, session, draft, change(progress.answers))
    if seen is None:
        session.add(draft)
        try:
            await session.flush()
        except IntegrityError as error:
            raise Conflict("check-in was made at the same moment") from error
    else:
        await _replace(session, seen, draft)
    await append(session, actor.organisation, entry_of(actor, now, Act.CHECK_IN_SAVED, facts))
    await complete_if_ready(session, keyring, actor, now)


async def _replace(session: AsyncSession, seen: CheckIn, draft: CheckIn) -> None:
    replaced = await session.scalar(
        update(CheckIn)
        .where(CheckIn.visit_id == seen.visit_id)
        .where(CheckIn.version == seen.version)
        .values(
            sealed_answers=draft.sealed_answers,
            version=draft.version,
            updated_at=draft.updated_at,
        )
        .returning(CheckIn.visit_id)
        .execution_options(synchronize_session=False)
    )
    if replaced is None:
        raise Conflict("check-in was saved at the same moment")
    session.expire(seen)
    await session.refresh(seen)


async def complete_if_ready(
    session: AsyncSession, keyring: Keyring, actor: Actor, now: datetime
) -> None:
    """``booked → checked_in`` once both consents and the address are there; CUP is told."""
    progress = await load_progress(session, keyring, actor)
    check_in = progress.check_in
    if check_in is None or check_in.completed_at is not None or not progress.is_complete:
        return
    check_in.completed_at = now
    change = (
        update(Visit)
        .where(Visit.id == actor.visit_id)
        .where(Visit.state == VisitState.BOOKED)
        .values(state=VisitState.CHECKED_IN)
    )
    if await count_changed(session, change):
        await tell_cup(session, progress.visit, EventKind.CHECKED_IN, now)
    await append(session, actor.organisation, entry_of(actor, now, Act.CHECK_IN_COMPLETED))


async def save_consents(
    session: AsyncSession, actor: Actor, now: datetime, texts: list[ConsentText], *, act: Act
) -> None:
    """Write an answer to each text: yes for :attr:`Act.CONSENT_GIVEN`, else no. An answer that
    says again the same about the same text is not written twice."""
    is_given = act is Act.CONSENT_GIVEN
    latest = await load_latest_consents(session, actor.visit_id)
    for text in texts:
        known = latest.get(text.kind)
        if known and known.is_given == is_given and known.text_hash == text.hash:
            continue
        session.add(
            Consent(
                organisation_id=actor.organisation,
                visit_id=actor.visit_id,
                kind=text.kind,
                is_given=is_given,
                text_version=text.version,
                text_hash=text.hash,
                language=text.language,
                answered_at=now,
            )
        )
        facts: dict[str, Fact] = {
            "kind": text.kind.value,
            "text_version": text.version,
            "text_hash": text.hash,
            "language": text.language,
        }
        await append(session, actor.organisation, entry_of(actor, now, act, facts))


async def leave_waiting_room(session: AsyncSession, actor: Actor) -> None:
    """Without consent nobody waits: the visit goes back before the waiting room. A visit that is
    going on is ended by the clinician."""
    await session.execute(
        update(CheckIn).where(CheckIn.visit_id == actor.visit_id).values(completed_at=None)
    )
    await session.execute(
        update(Visit)
        .where(Visit.id == actor.visit_id)
        .where(Visit.state.in_((VisitState.CHECKED_IN, VisitState.WAITING)))
        .values(state=VisitState.BOOKED, waiting_since=None)
        .execution_options(synchronize_session=False)
    )


def entry_of(actor: Actor, now: datetime, act: Act, facts: dict[str, Fact] | None = None) -> Entry:
    """A line of the session log for an act of this patient."""
    return Entry(now, act, ActorRole.PATIENT, actor.id, actor.visit_id, facts or {})
