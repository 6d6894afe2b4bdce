"""What the clinician sees of the patient and the booking: the card at the top of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.caseload import age_on
from server.i18n import ROME
from server.keyring import Keyring
from server.models import CheckIn, Consent, ConsentKind, Organisation, Visit
from server.sealed import (
    Answers,
    Details,
    Eligibility,
    Identity,
    open_answers,
    open_details,
    open_eligibility,
    open_identity,
    warm_keys,
)


class ConsentStatus(StrEnum):
    NOT_ANSWERED = "not_answered"
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class ConsentAnswer:
    """Where one consent stands, and since when."""

    status: ConsentStatus = ConsentStatus.NOT_ANSWERED
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What the clinician sees of the patient and the booking."""

    identity: Identity
    age: int | None
    details: Details
    answers: Answers
    consents: dict[ConsentKind, ConsentAnswer]
    eligibility: Eligibility | None
    desk_phone: str


def consent_answer(consents: Sequence[Consent]) -> ConsentAnswer:
    """Where one consent stands after all its answers, oldest first."""
    if not consents:
        return ConsentAnswer()
    last = consents[-1]
    if last.is_given:
        return ConsentAnswer(ConsentStatus.GIVEN, last.answered_at)
    was_given = any(consent.is_given for consent in consents)
    status = ConsentStatus.WITHDRAWN if was_given else ConsentStatus.REFUSED
    return ConsentAnswer(status, last.answered_at)


async def load_card(keyring: Keyring, session: AsyncSession, visit: Visit, now: datetime) -> Card:
    """Open what is sealed for one visit."""
    appointment = visit.appointment
    await warm_keys(keyring, session, [visit])
    identity = await open_identity(keyring, session, appointment.patient)
    check_in = await session.get(CheckIn, visit.id)
    found = await session.scalars(
        select(Consent).where(Consent.visit_id == visit.id).order_by(Consent.answered_at)
    )
    consents = found.all()
    organisation = await session.get_one(Organisation, visit.organisation_id)
    today = now.astimezone(ROME).date()
    return Card(
        identity=identity,
        age=age_on(today, identity.birth_date) if identity.birth_date else None,
        details=await open_details(keyring, session, appointment),
        answers=await open_answers(keyring, session, check_in),
        consents={
            kind: consent_answer([row for row in consents if row.kind is kind])
            for kind in ConsentKind
        },
        eligibility=await open_eligibility(keyring, session, visit),
        desk_phone=organisation.desk_phone,
    )
