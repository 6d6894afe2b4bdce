"""Which patient a message is about, and what it says of her.

A person is recognised by the codice fiscale inside an organisation, else by the source's own
number; without either nobody can be recognised and a booking keeps its own patient. Two rows that
turn out to be one person become one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import joinedload

from server.audit import Act
from server.cup.booking import Booking, Merge
from server.cup.inbox.fold import Orders, merge_identity, orders_of, read_orders, write_orders
from server.cup.inbox.work import Work, make_identifier
from server.models import Appointment, DataKey, Patient, PatientIdentifier, Visit, new_id
from server.sealed import Identity, open_identity, seal_identity


@dataclass(frozen=True, slots=True)
class Placement:
    """The patient of a booking; ``is_other``: not who it was before."""

    patient: Patient
    is_other: bool


class People:
    """The patients that one transaction touches."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def place(
        self, before: Patient | None, booking: Booking, order: str, *, is_newest: bool
    ) -> Placement:
        """Find or make the patient of a booking and learn what it says of her."""
        work, identity = self._work, booking.identity
        code = identity.codice_fiscale
        index = await work.person_index(code) if code else None
        indexes = [await work.key_index(key) for key in booking.patient_keys]
        by_code = work.people.get(index) if index else None
        by_key = next((work.people[each] for each in indexes if each in work.people), None)
        patient = await self._choose(before, by_code, by_key, booking, is_newest=is_newest)
        if patient is None:
            patient = await self._make(identity, order)
        else:
            await self.learn(patient, identity, orders_of(identity, order))
        if index:
            work.people[index] = patient
            if patient.codice_fiscale_index != index:
                await self.keep_alias(index, patient)
        for each in indexes:
            await self.identify(each, patient, is_newest=is_newest)
        return Placement(patient, before is not None and before is not patient)

    async def _choose(
        self,
        before: Patient | None,
        by_code: Patient | None,
        by_key: Patient | None,
        booking: Booking,
        *,
        is_newest: bool,
    ) -> Patient | None:
        """None: somebody new. A row that only waited for its code is taken in by the other."""
        code = booking.identity.codice_fiscale
        if by_code is not None:
            patient = by_code
            for row in dict.fromkeys((before, by_key)):
                if row is not None and row is not patient and await self._fits(row, booking):
                    await self.absorb(row, patient)
            return patient
        if code:
            for row in (before, by_key):
                if row is not None and await self._fits(row, booking, is_known=row is by_key):
                    return row
            return None
        if by_key is None or before is None or by_key is before:
            return by_key or before
        if by_key.codice_fiscale_index is None and await self._fits(by_key, booking):
            await self.absorb(by_key, before)
            return before
        if before.codice_fiscale_index is None and await self._fits(before, booking):
            await self.absorb(before, by_key)
            return by_key
        return by_key if is_newest else before

    async def _fits(self, row: Patient, booking: Booking, *, is_known: bool = False) -> bool:
        """Whether a row may be the person of a booking with a codice fiscale it has not: it has
        none, or the source's number says it is she (``is_known``) and the birth date agrees."""
        known = await open_identity(self._work.keyring, self._work.session, row)
        said = booking.identity
        if row.codice_fiscale_index is not None:
            return is_known and said.birth_date is not None and known.birth_date == said.birth_date
        if known.birth_date is not None and said.birth_date is not None:
            return known.birth_date == said.birth_date
        names = {known.family_name.casefold(), said.family_name.casefold()} - {""}
        return len(names) < 2

    async def _make(self, identity: Identity, order: str) -> Patient:
        work = self._work
        index = None
        if identity.codice_fiscale:
            index = await work.person_index(identity.codice_fiscale)
        patient = Patient(
            id=new_id(),
            organisation_id=work.organisation,
            codice_fiscale_index=index,
            identity_version=1,
            identity_orders=write_orders(orders_of(identity, order)),
        )
        await work.keyring.make_key(work.session, work.organisation, f"patient:{patient.id}")
        await seal_identity(work.keyring, work.session, patient, identity)
        work.session.add(patient)
        return patient

    async def learn(self, patient: Patient, said: Identity, said_orders: Orders) -> None:
        """What the newest message says of each field is what is known."""
        work = self._work
        known = await open_identity(work.keyring, work.session, patient)
        orders = read_orders(patient.identity_orders)
        merged, merged_orders = merge_identity(known, orders, said, said_orders)
        if merged_orders != orders:
            patient.identity_orders = write_orders(merged_orders)
        if merged != known:
            patient.identity_version += 1
            await seal_identity(work.keyring, work.session, patient, merged)
        if merged.codice_fiscale and merged.codice_fiscale != known.codice_fiscale:
            await self._recode(patient, merged.codice_fiscale)

    async def confirm(
        self, patient: Patient, said: Identity, known: Collection[str], order: str
    ) -> None:
        """A message says again what those of the orders ``known`` have said: what a person has
        corrected since stays, what another booking has said in between does not."""
        orders = read_orders(patient.identity_orders)
        own = {
            name: order
            for name in orders_of(said, order)
            if orders.get(name) in known and orders[name] < order
        }
        if own:
            patient.identity_orders = write_orders(orders | own)
        others = orders_of(said, order).keys() - own.keys()
        if others:
            rest = {name: getattr(said, name) for name in others}
            await self.learn(patient, Identity(**rest), dict.fromkeys(others, order))

    async def _recode(self, patient: Patient, codice_fiscale: str) -> None:
        """The codice fiscale is new: the old one keeps leading here."""
        index = await self._work.person_index(codice_fiscale)
        if patient.codice_fiscale_index is not None:
            await self.keep_alias(patient.codice_fiscale_index, patient)
        patient.codice_fiscale_index = index
        self._work.people[index] = patient

    async def identify(self, index: str, patient: Patient, *, is_newest: bool = True) -> None:
        """Remember that a source's number leads to a patient; the newest message decides."""
        work = self._work
        known = work.people.get(index)
        if known is None:
            work.add(make_identifier(work, index, patient))
        elif known is patient or not is_newest:
            return
        else:
            await work.flush()
            await work.session.execute(
                update(PatientIdentifier)
                .where(PatientIdentifier.source_id == work.source.id)
                .where(PatientIdentifier.identifier_index == index)
                .values(patient_id=patient.id)
                .execution_options(synchronize_session=False)
            )
        work.people[index] = patient

    async def keep_alias(self, index: str, patient: Patient) -> bool:
        """A codice fiscale that is not the patient's own leads to her; false when it did."""
        work = self._work
        await work.flush()
        known = await work.session.scalar(
            select(PatientIdentifier.id)
            .where(PatientIdentifier.source_id == work.source.id)
            .where(PatientIdentifier.identifier_index == index)
        )
        if known is None:
            work.add(make_identifier(work, index, patient))
        work.people[index] = patient
        return known is None

    async def absorb(self, retired: Patient, survivor: Patient) -> list[Visit]:
        """Make one of two rows: visits, numbers and what is known move; links stay.

        Returns the visits that have moved.
        """
        work, session = self._work, self._work.session
        await work.flush()
        found = await session.scalars(
            select(Visit)
            .join(Visit.appointment)
            .where(Appointment.patient_id == retired.id)
            .options(joinedload(Visit.appointment).joinedload(Appointment.clinic))
        )
        moved = list(found)
        known = await open_identity(work.keyring, session, retired)
        orders = read_orders(retired.identity_orders)
        index, retired.codice_fiscale_index = retired.codice_fiscale_index, None
        await session.flush()
        await self.learn(survivor, known, orders)
        if index is not None and survivor.codice_fiscale_index != index:
            await self.keep_alias(index, survivor)
        for visit in moved:
            visit.appointment.patient = survivor
            facts = {"retired": retired.id, "survivor": survivor.id}
            work.log(visit, Act.PATIENTS_MERGED, dict(facts))
        await session.execute(
            update(PatientIdentifier)
            .where(PatientIdentifier.patient_id == retired.id)
            .values(patient_id=survivor.id)
            .execution_options(synchronize_session=False)
        )
        for each, patient in work.people.items():
            if patient is retired:
                work.people[each] = survivor
        await session.flush()
        await session.delete(retired)
        await session.execute(delete(DataKey).where(DataKey.owner == f"patient:{retired.id}"))
        return moved

    async def find_by(self, keys: tuple[str, ...], codice_fiscale: str) -> Patient | None:
        """Who a merge names."""
        work = self._work
        indexes = [await work.key_index(key) for key in keys]
        if codice_fiscale:
            indexes.append(await work.person_index(codice_fiscale))
        return next((work.people[each] for each in indexes if each in work.people), None)

    async def unite(self, merge: Merge, order: str) -> tuple[Patient, Patient | None]:
        """Give who survives a merge, made when neither is known, and who is retired in it."""
        survivor = await self.find_by(merge.patient_keys, merge.identity.codice_fiscale)
        retired = await self.find_by(merge.retired_keys, merge.retired_codice_fiscale)
        if survivor is None:
            survivor, retired = retired, None
        if survivor is None:
            survivor = await self._make(merge.identity, order)
        return survivor, None if retired is survivor else retired
