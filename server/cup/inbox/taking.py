"""Taking in one message: is it new, is it late, can it be applied; what is kept of it.

Idempotent on the control id and on the content of a booking; ordered by the messages' own time,
not by their arrival. Writes through :class:`~server.cup.inbox.work.Work` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, assert_never

from sqlalchemy import select

from server.cup.booking import (
    Booking,
    BookingEvent,
    Fault,
    Field,
    FieldError,
    Merge,
    Message,
    Notice,
    Reason,
)
from server.cup.inbox.apply import (
    Applied,
    Effect,
    Said,
    assign_known,
    create_visit,
    update_visit,
)
from server.cup.inbox.envelope import booking_code_of, clean, control_id_of
from server.cup.inbox.fold import difference, fold, is_other_person, is_silent, without
from server.cup.inbox.merge import apply_merge
from server.cup.inbox.people import People
from server.cup.inbox.receipt import Receipt
from server.cup.inbox.remap import remap
from server.cup.inbox.work import Work
from server.models import AppointmentStatus, InboxMessage, MessageState, Visit, VisitState, new_id
from server.sealed import open_message, seal_message
from server.sources import settings_of

_FOLDED: Final = (MessageState.APPLIED, MessageState.UNCHANGED, MessageState.SUPERSEDED)
_ORDER_TIME: Final = "%Y%m%d%H%M%S%f"
_WARNINGS_CHARACTERS: Final = 255


class Taking:
    """The messages of one transaction, one after the other."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._people = People(work)

    async def take(self, message: Message) -> Receipt:
        """Keep a message and do what it says, if it is new and can be done."""
        work = self._work
        digest = await work.digest(_kind_of(message), message.content)
        control_id = control_id_of(message)
        known = work.messages.get(control_id) if control_id else None
        if known is not None and known.content_digest == digest:
            return await self._repeat(message, known)
        if known is not None and known.state is MessageState.QUARANTINED:
            known.state, known.control_id, known.decided_at = (
                MessageState.DISCARDED, None, work.now,
            )  # fmt: skip
            known = None
        row = await self._keep(message, digest, None if known is not None else control_id)
        if known is not None:
            fault = Fault(Field.CONTROL_ID, Reason.CONTROL_ID_REUSED, _path(message))
            return self._quarantine(row, fault)
        return await self._settle(message, row)

    async def take_again(self, message: Message, row: InboxMessage) -> Receipt:
        """Try a kept message once more, mapped afresh; its place in the order stays."""
        row.content_digest = await self._work.digest(_kind_of(message), message.content)
        row.booking_code = booking_code_of(message)
        row.event = clean(message.event)[:16]
        return await self._settle(message, row)

    async def keep_broken(self, message: Message) -> Receipt:
        """Keep a message that could not be applied for a reason of our own."""
        digest = await self._work.digest(_kind_of(message), message.content)
        control_id = control_id_of(message)
        known = self._work.messages.get(control_id) if control_id else None
        if known is not None:
            known.repeats += 1
            return self._receipt(known, is_repeat=True)
        row = await self._keep(message, digest, control_id)
        return self._quarantine(row, Fault(Field.MESSAGE, Reason.UNREADABLE))

    # ---- what is kept ------------------------------------------------------------------

    async def _keep(self, message: Message, digest: str, control_id: str | None) -> InboxMessage:
        work = self._work
        row = InboxMessage(
            id=new_id(),
            organisation_id=work.organisation,
            source_id=work.source.id,
            connector=message.connector,
            control_id=control_id,
            content_digest=digest,
            booking_code=booking_code_of(message),
            event=clean(message.event)[:16],
            message_order=clean(message.order.key),
            state=MessageState.APPLIED,
            reason="",
            field="",
            warnings="",
            line=message.line,
            repeats=0,
            received_at=work.now,
            decided_at=work.now,
        )
        await seal_message(work.keyring, work.session, row, message.raw)
        work.add(row)
        if control_id:
            work.messages[control_id] = row
        return row

    async def _repeat(self, message: Message, row: InboxMessage) -> Receipt:
        """The same answer again; what waited in quarantine is tried again."""
        row.repeats += 1
        if row.state is MessageState.QUARANTINED and not isinstance(message.body, Fault):
            return await self._settle(message, row)
        visit = self._work.visits.get(row.booking_code)
        is_assigned = visit is not None and assign_known(self._work, visit)
        fault = message.body if isinstance(message.body, Fault) else None
        return self._receipt(
            row,
            visit,
            fault=fault,
            is_repeat=True,
            effect=Effect.UPDATED if is_assigned else Effect.UNCHANGED,
        )

    def _quarantine(self, row: InboxMessage, fault: Fault) -> Receipt:
        row.state = MessageState.QUARANTINED
        row.reason, row.field = fault.reason.value, clean(fault.path or fault.field)[:64]
        row.decided_at = self._work.now
        waiting = self._work.pending.setdefault(row.booking_code, [])
        if row not in waiting:
            waiting.append(row)
        return self._receipt(row, fault=fault)

    def _accept(
        self,
        row: InboxMessage,
        state: MessageState,
        notices: Sequence[Notice],
        applied: Applied | None,
    ) -> Receipt:
        row.state, row.reason, row.field = state, "", ""
        row.decided_at = self._work.now
        words = [str(notice) for notice in dict.fromkeys(notices)]
        while len(" ".join(words)) > _WARNINGS_CHARACTERS:
            words.pop()
        row.warnings = " ".join(words)
        visit = applied.visit if applied else None
        if visit is not None:
            self._work.refer(row, visit)
        effect = applied.effect if applied else Effect.UNCHANGED
        return self._receipt(row, visit, notices=notices, effect=effect)

    def _receipt(
        self,
        row: InboxMessage,
        visit: Visit | None = None,
        *,
        fault: Fault | None = None,
        notices: Sequence[Notice] = (),
        is_repeat: bool = False,
        effect: Effect = Effect.UNCHANGED,
    ) -> Receipt:
        if fault is None and row.state is MessageState.QUARANTINED:
            fault = Fault(Field.MESSAGE, Reason(row.reason), row.field)
        return Receipt(
            message_id=row.id,
            state=row.state,
            fault=fault,
            notices=tuple(dict.fromkeys(notices)),
            visit_id=visit.id if visit else row.visit_id,
            is_repeat=is_repeat,
            effect=effect,
            booking_code=row.booking_code,
            is_to_assign=visit is not None and _is_to_assign(visit),
        )

    # ---- what it does ------------------------------------------------------------------

    async def _settle(self, message: Message, row: InboxMessage) -> Receipt:
        match message.body:
            case Fault() as fault:
                return self._quarantine(row, fault)
            case Merge() as merge:
                is_new = await apply_merge(
                    self._work, self._people, merge, row.message_order, row.id
                )
                state = MessageState.APPLIED if is_new else MessageState.UNCHANGED
                return self._accept(row, state, message.notices, None)
            case Booking() as booking:
                try:
                    return await self._apply(message, row, booking)
                except FieldError as error:
                    path = message.paths.get(error.field, "")
                    return self._quarantine(row, Fault(error.field, error.reason, path))
            case _:
                assert_never(message.body)

    async def _apply(self, message: Message, row: InboxMessage, booking: Booking) -> Receipt:
        """:raises FieldError: it is for somebody else, or its booking is not here yet."""
        work = self._work
        if work.is_foreign(booking):
            raise FieldError(Field.ORGANISATION, Reason.OTHER_ORGANISATION)
        order = row.message_order
        sent_at = datetime.strptime(order.partition("|")[0], _ORDER_TIME).replace(tzinfo=UTC)
        said = Said(booking, order, sent_at, row.content_digest)
        visit = work.visits.get(booking.booking_code)
        if visit is None:
            applied = await create_visit(work, self._people, said)
            receipt = self._accept(row, MessageState.APPLIED, message.notices, applied)
            await self._apply_waiting(booking.booking_code)
            return receipt
        appointment = visit.appointment
        if order < appointment.message_order:
            return await self._apply_late(message, row, visit, said)
        if appointment.import_digest == row.content_digest:
            await self._people.confirm(
                appointment.patient, booking.identity, {appointment.message_order}, order
            )
            appointment.message_order = order
            effect = Effect.UPDATED if assign_known(work, visit) else Effect.UNCHANGED
            applied = Applied(effect, visit, [])
            return self._accept(row, MessageState.UNCHANGED, message.notices, applied)
        applied = await update_visit(work, self._people, visit, said)
        notices = (*message.notices, *applied.notices)
        return self._accept(row, MessageState.APPLIED, notices, applied)

    async def _apply_waiting(self, booking_code: str) -> None:
        """A cancellation without a time came before its booking: its turn is now."""
        waiting = self._work.pending.pop(booking_code, [])
        for row in sorted(waiting, key=lambda each: each.message_order):
            if row.state is not MessageState.QUARANTINED or row.reason != Reason.MISSING:
                continue
            for message in await self._read_again(row):
                body = message.body
                if isinstance(body, Booking) and body.event is not BookingEvent.BOOKED:
                    await self._work.look_up([body])
                    await self.take_again(message, row)

    async def _apply_late(
        self, message: Message, row: InboxMessage, visit: Visit, said: Said
    ) -> Receipt:
        """Newer messages have spoken: only what none of them said is still worth something."""
        history = await self._load_history(said.booking.booking_code, row)
        canonical = [(order, await self._name_people(each)) for order, each in history]
        late = (said.order, await self._name_people(said.booking))
        missed = None
        if canonical:
            before = fold(booking for _, booking in sorted(canonical, key=_by_order))
            after = fold(booking for _, booking in sorted([*canonical, late], key=_by_order))
            missed = difference(before, after)
            if not is_other_person(late[1], after):
                again = without(said.booking.identity, missed.identity)
                orders = {order for order, _ in history}
                await self._people.confirm(visit.appointment.patient, again, orders, said.order)
        if missed is None or is_silent(missed):
            applied = Applied(Effect.UNCHANGED, visit, [])
            return self._accept(row, MessageState.SUPERSEDED, message.notices, applied)
        keys = said.booking.patient_keys if missed.patient_keys else ()
        missed = replace(missed, patient_keys=keys)
        said = replace(said, booking=missed, is_newest=False)
        applied = await update_visit(self._work, self._people, visit, said)
        notices = (*message.notices, *applied.notices)
        return self._accept(row, MessageState.APPLIED, notices, applied)

    async def _load_history(
        self, booking_code: str, late: InboxMessage
    ) -> list[tuple[str, Booking]]:
        """What the other messages of a booking have said so far, by their order."""
        work = self._work
        await work.flush()
        rows = await work.session.scalars(
            select(InboxMessage)
            .where(InboxMessage.source_id == work.source.id)
            .where(InboxMessage.booking_code == booking_code)
            .where(InboxMessage.state.in_(_FOLDED))
            .where(InboxMessage.id != late.id)
        )
        history = [
            (row.message_order, message.body)
            for row in list(rows)
            for message in await self._read_again(row)
            if isinstance(message.body, Booking) and message.body.booking_code == booking_code
        ]
        await work.look_up([body for _, body in history])
        return history

    async def _read_again(self, row: InboxMessage) -> list[Message]:
        work = self._work
        raw = await open_message(work.keyring, work.session, row)
        return remap(row.connector, raw, settings_of(work.source), row.received_at)

    async def _name_people(self, booking: Booking) -> Booking:
        """The same with our patients in place of the source's numbers: two numbers that a merge
        has made one are one."""
        people = self._work.people
        indexes = [await self._work.key_index(key) for key in booking.patient_keys]
        ids = [people[index].id for index in indexes if index in people]
        return replace(booking, patient_keys=tuple(f"patient|{each}" for each in ids[:1]))


def _kind_of(message: Message) -> str:
    return message.body.event if isinstance(message.body, Booking) else message.event


def _path(message: Message) -> str:
    return message.paths.get(Field.CONTROL_ID, "")


def _by_order(each: tuple[str, Booking]) -> str:
    return each[0]


def _is_to_assign(visit: Visit) -> bool:
    appointment = visit.appointment
    is_open = visit.state not in {VisitState.CANCELLED, VisitState.ENDED}
    return is_open and (
        appointment.clinician_id is None and appointment.status is AppointmentStatus.BOOKED
    )
