"""Correcting a person's data at her wish (GDPR art. 16), by the rules that hold for CUP's messages.

CUP stays the master of identities: it is told which fields were corrected, never their values, and
what it says later of them counts. Nobody is made one with somebody else here: that is a merge, and
CUP's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.cup.booking import Field
from server.cup.inbox.merge import how_to_reach, invite_again, load_visits_of
from server.cup.inbox.work import Work
from server.cup.values import parse_identity
from server.errors import Conflict, InvalidInput
from server.keyring import Keyring
from server.mail.contacts import find_email, find_phone
from server.models import (
    Appointment,
    EventKind,
    Organisation,
    Patient,
    PatientIdentifier,
    Source,
    Visit,
)
from server.outbox import tell_cup
from server.sealed import Identity, open_identity, seal_identity

FIELDS: Final = (
    Field.FAMILY_NAME, Field.GIVEN_NAME, Field.BIRTH_DATE, Field.SEX, Field.CODICE_FISCALE,
    Field.PHONE, Field.EMAIL, Field.ADDRESS, Field.LANGUAGE,
)  # fmt: skip
"""What can be corrected; each is also the name of a field of :class:`server.sealed.Identity`."""
_TOGETHER: Final = frozenset({Field.BIRTH_DATE, Field.SEX, Field.CODICE_FISCALE})
"""They say something of each other."""
_FIRST_BIRTH: Final = date(1900, 1, 1)


@dataclass(frozen=True, slots=True)
class Rectified:
    """What was changed; ``told``: events for CUP, one for each source of her bookings."""

    fields: tuple[str, ...] = ()
    told: int = 0


def texts_of(identity: Identity) -> dict[Field, str]:
    """The correctable fields as a person would type them; a date in ISO."""
    return {field: str(getattr(identity, field.value) or "") for field in FIELDS}


def correct(known: Identity, said: Mapping[Field, str], today: date) -> Identity:
    """The identity with what was said; texts are read as those of a message.

    :raises InvalidInput: a value cannot be right, alone or beside the others.
    """
    before = texts_of(known)
    wanted = {field for field, text in said.items() if text.strip() != before[field]}
    read, notices = parse_identity({**before, **said}, patient_keys=("here",))
    judged = wanted | (_TOGETHER if wanted & _TOGETHER else set())
    for notice in notices:
        if notice.field in judged:
            raise InvalidInput(notice.field.value, notice.reason.value)
    changes: dict[str, Any] = {field.value: getattr(read, field.value) for field in wanted}
    _check_contact(changes)
    born = changes.get("birth_date", _FIRST_BIRTH)
    if born is None or not _FIRST_BIRTH <= born <= today:
        raise InvalidInput("birth_date", "not_a_date")
    if Field.ADDRESS in wanted:
        changes["residence"] = None
    return msgspec.structs.replace(known, **changes)


def _check_contact(changes: Mapping[str, Any]) -> None:
    for name, find in (("phone", find_phone), ("email", find_email)):
        if changes.get(name) and find(changes[name]) is None:
            raise InvalidInput(name, "not_one_that_can_be_reached")


async def rectify(
    keyring: Keyring,
    session: AsyncSession,
    patient_id: str,
    said: Mapping[Field, str],
    now: datetime,
) -> Rectified:
    """Correct a patient, and tell: the session log, CUP, and the patient where the way to her or
    what opens her link has changed. The caller commits.

    :raises InvalidInput: a value cannot be right.
    :raises Conflict: the codice fiscale is another patient's; or there is no booking of hers.
    """
    found = select(Patient).where(Patient.id == patient_id).with_for_update()
    patient = (await session.scalars(found)).one()
    known = await open_identity(keyring, session, patient)
    corrected = correct(known, said, now.date())
    fields = tuple(
        field.value for field in FIELDS if texts_of(known)[field] != texts_of(corrected)[field]
    )
    if not fields:
        return Rectified()
    work = await _open_work(keyring, session, patient, now)
    if "codice_fiscale" in fields:
        await _recode(work, patient, corrected.codice_fiscale)
    patient.identity_version += 1
    await seal_identity(keyring, session, patient, corrected)
    visits = await load_visits_of(work, patient)
    if how_to_reach(known) != how_to_reach(corrected):
        for visit in visits:
            invite_again(work, visit, f"rectified-{patient.identity_version}")
    await work.close()
    told = await _tell_cup(session, visits, fields, now)
    await append(session, work.organisation, *_entries(patient, visits, fields, now))
    await work.finish()
    return Rectified(fields, told)


async def _open_work(
    keyring: Keyring, session: AsyncSession, patient: Patient, now: datetime
) -> Work:
    source = await session.scalar(
        select(Source)
        .join(Appointment, Appointment.source_id == Source.id)
        .where(Appointment.patient_id == patient.id)
        .order_by(Appointment.start.desc())
        .limit(1)
    )
    if source is None:
        raise Conflict("The patient has no booking")
    body = await session.get_one(Organisation, patient.organisation_id)
    return Work(session, keyring, source, body, now)


async def _recode(work: Work, patient: Patient, codice_fiscale: str) -> None:
    """The wrong code leads here no more: it may be somebody else's."""
    index = await work.person_index(codice_fiscale) if codice_fiscale else None
    aliases = select(PatientIdentifier.patient_id).where(
        PatientIdentifier.organisation_id == work.organisation,
        PatientIdentifier.identifier_index == index,
    )
    others = select(Patient.id).where(
        Patient.organisation_id == work.organisation,
        Patient.id != patient.id,
        or_(Patient.codice_fiscale_index == index, Patient.id.in_(aliases)),
    )
    if index and await work.session.scalar(others.limit(1)) is not None:
        raise Conflict("Another patient has this codice fiscale: CUP must say that they are one")
    patient.codice_fiscale_index = index


async def _tell_cup(
    session: AsyncSession, visits: Iterable[Visit], fields: Sequence[str], now: datetime
) -> int:
    """One event by the newest booking of each source."""
    newest: dict[str, Visit] = {}
    for visit in sorted(visits, key=lambda visit: visit.appointment.start):
        newest[visit.appointment.source_id] = visit
    for visit in newest.values():
        await tell_cup(session, visit, EventKind.RECTIFIED, now, {"fields": " ".join(fields)})
    return len(newest)


def _entries(
    patient: Patient, visits: Iterable[Visit], fields: Sequence[str], now: datetime
) -> list[Entry]:
    """One for each visit: there people look for it."""
    return [
        Entry(
            now,
            Act.PATIENT_RECTIFIED,
            ActorRole.SYSTEM,
            visit=visit.id,
            facts=dict.fromkeys(fields, True),
            object=f"patient:{patient.id}",
            reason="request",
        )
        for visit in visits
    ]
