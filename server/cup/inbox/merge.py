"""Applying a patient merge (ADT A40): visits, numbers and history of one person move to the other.

Join links stay as they are; a patient gets a new invitation only where her birth date, which opens
the link, or her contact has changed.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.audit import Act
from server.cup.booking import Merge
from server.cup.inbox.apply import is_begun, issue_link
from server.cup.inbox.fold import orders_of
from server.cup.inbox.people import People
from server.cup.inbox.work import Work
from server.models import Appointment, AppointmentStatus, Patient, Visit
from server.sealed import Identity, open_identity


async def apply_merge(
    work: Work, people: People, merge: Merge, order: str, message_id: str
) -> bool:
    """Make one patient of two; false when they were one and nothing new is said."""
    survivor, retired = await people.unite(merge, order)
    before: dict[str, Identity] = {}
    version = survivor.identity_version
    await work.flush()
    for patient in filter(None, (survivor, retired)):
        known = await open_identity(work.keyring, work.session, patient)
        before |= dict.fromkeys([visit.id for visit in await load_visits_of(work, patient)], known)
    if retired is not None:
        await people.absorb(retired, survivor)
        if not before:
            facts = {"retired": retired.id, "survivor": survivor.id}
            work.log(None, Act.PATIENTS_MERGED, dict(facts))
    await people.learn(survivor, merge.identity, orders_of(merge.identity, order))
    is_new_number = await _keep_numbers(work, people, merge, survivor)
    after = await open_identity(work.keyring, work.session, survivor)
    for visit in await load_visits_of(work, survivor):
        if visit.id in before and how_to_reach(before[visit.id]) != how_to_reach(after):
            invite_again(work, visit, message_id)
    return retired is not None or is_new_number or survivor.identity_version != version


async def _keep_numbers(work: Work, people: People, merge: Merge, survivor: Patient) -> bool:
    """Every number of both leads to the survivor from now on."""
    indexes = [await work.key_index(key) for key in (*merge.patient_keys, *merge.retired_keys)]
    is_new = any(work.people.get(index) is not survivor for index in indexes)
    for index in indexes:
        await people.identify(index, survivor)
    for code in filter(None, (merge.retired_codice_fiscale, merge.identity.codice_fiscale)):
        index = await work.person_index(code)
        if index != survivor.codice_fiscale_index:
            is_new |= await people.keep_alias(index, survivor)
    return is_new


def invite_again(work: Work, visit: Visit, message_id: str) -> None:
    """A visit still to come: birth date or contact have changed. ``message_id``: what said so."""
    is_booked = visit.appointment.status is AppointmentStatus.BOOKED
    if is_booked and not is_begun(visit):
        issue_link(work, visit, f"/{message_id}")


def how_to_reach(identity: Identity) -> tuple[object, ...]:
    """What opens the link and where it is sent."""
    return identity.birth_date, identity.phone, identity.email


async def load_visits_of(work: Work, patient: Patient) -> list[Visit]:
    """All her visits, with appointment and clinic."""
    found = await work.session.scalars(
        select(Visit)
        .join(Visit.appointment)
        .where(Appointment.patient_id == patient.id)
        .options(joinedload(Visit.appointment).joinedload(Appointment.clinic))
    )
    visits = list(found)
    for visit in visits:
        work.note_clinic(visit.appointment)
    return visits
