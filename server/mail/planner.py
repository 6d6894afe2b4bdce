"""What has to be said without anybody causing it: invitations that are missing, reminders.

An invitation is missing after the phase let messages leave, or after the desk completed a patient
or corrected a contact. Reminders are planned ahead of their time, and planned anew when a visit
moves or an organisation changes its rules; whether each is still true is asked when it is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count
from typing import Final, TypeVar

from aiohttp import web
from sqlalchemy import Row, Select, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, joinedload

from server.db import EVERY_ORGANISATION, Database, count_changed
from server.mail.calendar import NoticeRules, Reminder, planning_horizon, reminder_times, rules_of
from server.mail.queue import queue_message
from server.models import (
    Appointment,
    AppointmentStatus,
    Clinic,
    DispatchState,
    MessageKind,
    Organisation,
    Patient,
    PatientMessage,
    Phase,
    Visit,
    VisitState,
)

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 10.0
_REMIND_EVERY: Final = 60
"""Turns, so ten minutes."""
_CHUNK: Final = 100
_EXPECTED: Final = (VisitState.BOOKED, VisitState.CHECKED_IN, VisitState.WAITING)
_STOPPED: Final = (DispatchState.WITHHELD, DispatchState.UNREACHABLE, DispatchState.FAILED)
_T = TypeVar("_T")


class Planner:
    """Plans for one installation. ``server.app`` gives it its parts and its lifetime."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Plan while the application runs."""
        task = asyncio.create_task(self._run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def run_once(self, now: datetime, *, is_reminding: bool = True) -> None:
        """Look at every organisation that lets messages leave. Reminders are days away and cost
        most: they need not be looked at each time."""
        async with self._database.read(EVERY_ORGANISATION) as session:
            live = await session.scalars(
                select(Organisation).where(Organisation.phase != Phase.COLLAUDO)
            )
            organisations = live.all()
        for organisation in organisations:
            await self._invite(organisation, now)
            await self._revive(organisation, now)
            if is_reminding:
                await self._remind(organisation, now)

    async def _run(self) -> None:
        for turn in count():
            try:
                await self.run_once(self._clock(), is_reminding=turn % _REMIND_EVERY == 0)
            except Exception:
                logger.exception("messages to patients are not planned: it is tried again")
            await asyncio.sleep(_POLL_SECONDS)

    # ---- invitations -----------------------------------------------------------------------

    async def _invite(self, organisation: Organisation, now: datetime) -> None:
        """Queue the first invitation of every visit that has none and whose patient can enter."""
        is_invited = exists().where(
            PatientMessage.visit_id == Visit.id, PatientMessage.kind == MessageKind.INVITATION
        )
        missing = (
            _expected_visits(organisation, now)
            .join(Appointment.patient)
            .where(Patient.is_to_complete.is_(False))
            .where(~is_invited)
        )
        async with self._database.read(organisation.id) as session:
            found = (await session.scalars(missing)).all()
        for chunk in _chunks(found):
            async with self._database.begin(organisation.id) as session:
                still = missing.where(Visit.id.in_(chunk))
                visits = await session.scalars(
                    select(Visit)
                    .where(Visit.id.in_(still))
                    .options(joinedload(Visit.appointment))
                    .order_by(Visit.id)
                )
                for visit in visits.all():
                    occasion = str(visit.link_version)
                    await queue_message(
                        session, visit, MessageKind.INVITATION, now, occasion=occasion
                    )

    async def _revive(self, organisation: Organisation, now: datetime) -> None:
        """Queue again an invitation that the phase withheld, or whose contact was corrected."""
        newer = aliased(PatientMessage)
        is_replaced = exists().where(
            newer.visit_id == PatientMessage.visit_id,
            newer.kind == MessageKind.INVITATION,
            newer.created_at > PatientMessage.created_at,
        )
        stopped = (
            select(PatientMessage, Patient.identity_version)
            .join(Visit, Visit.id == PatientMessage.visit_id)
            .join(Visit.appointment)
            .join(Appointment.patient)
            .where(PatientMessage.kind == MessageKind.INVITATION)
            .where(PatientMessage.state.in_(_STOPPED))
            .where(PatientMessage.visit_id.in_(_expected_visits(organisation, now)))
            .where(~is_replaced)
        )
        async with self._database.read(organisation.id) as session:
            found = (await session.execute(stopped)).all()
        ready = [message for message, version in found if _may_be_tried_again(message, version)]
        for chunk in _chunks(ready):
            async with self._database.begin(organisation.id) as session:
                for message in chunk:
                    await _queue_again(session, message, due_at=now, parameters="{}")

    # ---- reminders -------------------------------------------------------------------------

    async def _remind(self, organisation: Organisation, now: datetime) -> None:
        """Make the planned reminders of the coming visits those that the rules say."""
        rules = rules_of(organisation)
        coming = (
            _expected_visits(organisation, now)
            .where(Appointment.start <= now + planning_horizon(rules))
            .subquery()
        )
        told_at = func.max(func.coalesce(PatientMessage.sent_at, PatientMessage.due_at))
        invited = (
            select(Visit.id, Appointment.start, told_at)
            .join(Visit.appointment)
            .join(PatientMessage, PatientMessage.visit_id == Visit.id)
            .where(Visit.id.in_(select(coming.c.id)))
            .where(PatientMessage.kind == MessageKind.INVITATION)
            .where(PatientMessage.state.in_((DispatchState.QUEUED, DispatchState.SENT)))
            .group_by(Visit.id, Appointment.start)
        )
        async with self._database.read(organisation.id) as session:
            rows = (await session.execute(invited)).all()
        for chunk in _chunks(rows):
            await self._remind_some(organisation, chunk, rules, now)

    async def _remind_some(
        self,
        organisation: Organisation,
        rows: Sequence[Row[str, datetime, datetime]],
        rules: NoticeRules,
        now: datetime,
    ) -> None:
        wanted = {
            (visit_id, _occasion(start, one)): (start, one)
            for visit_id, start, told_at in rows
            for one in reminder_times(start, told_at, rules)
            if one.at > now
        }
        async with self._database.read(organisation.id) as session:
            planned = {
                (message.visit_id, message.occasion): message
                for message in await session.scalars(
                    select(PatientMessage)
                    .where(PatientMessage.kind == MessageKind.REMINDER)
                    .where(PatientMessage.visit_id.in_([row[0] for row in rows]))
                )
            }
        if all(_is_as_planned(wanted.get(key), one, now) for key, one in planned.items()) and (
            wanted.keys() <= planned.keys()
        ):
            return
        async with self._database.begin(organisation.id) as session:
            for key, message in planned.items():
                if not _is_as_planned(wanted.get(key), message, now):
                    await _replan(session, message, wanted.get(key))
            for visit_id, occasion in wanted.keys() - planned.keys():
                start, one = wanted[visit_id, occasion]
                await _queue_reminder(session, visit_id, start, one, occasion, now)


def _expected_visits(organisation: Organisation, now: datetime) -> Select[str]:
    """The ids of the visits to come that messages may leave for, the next first."""
    found = (
        select(Visit.id)
        .join(Visit.appointment)
        .where(Visit.state.in_(_EXPECTED))
        .where(Appointment.status == AppointmentStatus.BOOKED)
        .where(Appointment.start > now)
    )
    if organisation.phase is Phase.SPERIMENTALE:
        pilots = select(Clinic.id).where(Clinic.code.in_(organisation.pilot_clinics))
        found = found.where(Appointment.clinic_id.in_(pilots))
    return found


def _may_be_tried_again(message: PatientMessage, identity_version: int) -> bool:
    if message.state is DispatchState.WITHHELD:
        return True
    seen = json.loads(message.parameters).get("identity_version")
    return seen is not None and seen != identity_version


def _occasion(start: datetime, reminder: Reminder) -> str:
    return f"{reminder.kind}:{start:%Y-%m-%dT%H:%MZ}"


def _parameters(start: datetime, reminder: Reminder) -> dict[str, str]:
    return {"start": start.isoformat(), "until": reminder.until.isoformat()}


def _is_as_planned(
    wanted: tuple[datetime, Reminder] | None, message: PatientMessage, now: datetime
) -> bool:
    """Whether a planned reminder can stay: what was tried, or is due now, is left to the sender."""
    is_queued = message.state is DispatchState.QUEUED
    if message.state in {DispatchState.SENT, DispatchState.FAILED, DispatchState.UNREACHABLE}:
        return True
    if is_queued and (message.attempts or message.due_at <= now):
        return True
    return is_queued and wanted[1].at == message.due_at if wanted is not None else not is_queued


async def _replan(
    session: AsyncSession, message: PatientMessage, wanted: tuple[datetime, Reminder] | None
) -> None:
    if wanted is not None:
        parameters = json.dumps(_parameters(*wanted), sort_keys=True)
        await _queue_again(session, message, due_at=wanted[1].at, parameters=parameters)
        return
    await count_changed(
        session,
        update(PatientMessage)
        .where(PatientMessage.id == message.id)
        .where(PatientMessage.state == DispatchState.QUEUED)
        .values(state=DispatchState.DROPPED, reason="replanned"),
    )


async def _queue_again(
    session: AsyncSession, message: PatientMessage, *, due_at: datetime, parameters: str
) -> None:
    """Unless somebody else has done something with it since it was read."""
    await count_changed(
        session,
        update(PatientMessage)
        .where(PatientMessage.id == message.id)
        .where(PatientMessage.state == message.state)
        .where(PatientMessage.attempts == message.attempts)
        .values(
            state=DispatchState.QUEUED,
            reason="",
            attempts=0,
            due_at=due_at,
            parameters=parameters,
        ),
    )


async def _queue_reminder(
    session: AsyncSession,
    visit_id: str,
    start: datetime,
    reminder: Reminder,
    occasion: str,
    now: datetime,
) -> None:
    visit = await session.get_one(Visit, visit_id, options=[joinedload(Visit.appointment)])
    await queue_message(
        session,
        visit,
        MessageKind.REMINDER,
        now,
        occasion=occasion,
        due_at=reminder.at,
        parameters=_parameters(start, reminder),
    )


def _chunks(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for place in range(0, len(rows), _CHUNK):
        yield rows[place : place + _CHUNK]
