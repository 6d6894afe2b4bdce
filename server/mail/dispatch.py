"""Sending what is due: claimed, looked at again, rendered, handed over, and written down.

At least once, normally once. A message is claimed by a conditional update that moves its
``due_at`` past the longest delivery, so two servers never send the same one; when a server dies
in the middle the claim runs out and it is sent again, under the same message id.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import Row, case, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.db import EVERY_ORGANISATION, Database, OrganisationId, count_changed
from server.keyring import Keyring
from server.mail.delivery import Delivered, Delivery, DispatchVerdict
from server.mail.letter import Letter, load_letter, why_untrue
from server.mail.render import Renderer, channels_of
from server.models import Channel, DispatchState, MessageKind, PatientMessage
from server.phases import load_may_leave

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0
_AT_ONCE: Final = 8
_CLAIM: Final = timedelta(minutes=3)
"""Longer than the slowest delivery over both channels."""
_WAIT: Final = timedelta(minutes=5)
"""When to look again at what waits for a person: a transport, a birth date."""
_BACKOFF: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720))
_LAST_SECONDS: Final = 10
"""How long the end of the application waits for what is on its way."""
_URGENT: Final = (MessageKind.DEVICE_CODE, MessageKind.REPORT_CODE, MessageKind.LATE)
_URGENT_BACKOFF: Final = (timedelta(seconds=15),) * 40
_FOR_WHO_CAN_ENTER: Final = (MessageKind.INVITATION, MessageKind.REMINDER)


@dataclass(frozen=True, slots=True)
class _Result:
    """What becomes of a message."""

    state: DispatchState
    reason: str = ""
    channel: Channel | None = None
    due_at: datetime | None = None
    is_waiting: bool = False
    """It was not tried: that is no attempt."""


class Dispatcher:
    """Sends for one installation. ``server.app`` gives it its parts and its lifetime."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        renderer: Renderer,
        delivery: Delivery,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._renderer = renderer
        self._delivery = delivery
        self._clock = clock

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Send while the application runs; what is on its way at the end is waited for a while."""
        stopping = asyncio.Event()
        sender = asyncio.create_task(self._run(stopping))
        yield
        stopping.set()
        await asyncio.wait({sender}, timeout=_LAST_SECONDS)
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender
        await self._delivery.close()

    async def run_once(self, now: datetime) -> int:
        """Handle the next few messages that are due, the urgent first; how many it could handle.

        Where no channel is set up they wait as they are, and say so.
        """
        if not self._delivery.channels:
            await self._say_no_transport()
            return 0
        is_urgent = case((PatientMessage.kind.in_(_URGENT), 0), else_=1)
        async with self._database.read(EVERY_ORGANISATION) as session:
            due = await session.execute(
                select(PatientMessage.id, PatientMessage.organisation_id, PatientMessage.attempts)
                .where(PatientMessage.state == DispatchState.QUEUED)
                .where(PatientMessage.due_at <= now)
                .order_by(is_urgent, PatientMessage.due_at, PatientMessage.id)
                .limit(_AT_ONCE)
            )
            rows = due.all()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._handle_one(row, now)) for row in rows]
        return sum(task.result() for task in tasks)

    async def _say_no_transport(self) -> None:
        waiting = (PatientMessage.state == DispatchState.QUEUED, PatientMessage.reason == "")
        async with self._database.read(EVERY_ORGANISATION) as session:
            if await session.scalar(select(PatientMessage.id).where(*waiting).limit(1)) is None:
                return
        async with self._database.begin(EVERY_ORGANISATION) as session:
            change = update(PatientMessage).where(*waiting).values(reason="no_transport")
            await count_changed(session, change)

    async def _run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                while await self.run_once(self._clock()) and not stopping.is_set():
                    pass
            except Exception:
                logger.exception("messages to patients wait: the records cannot be reached")
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _POLL_SECONDS)

    async def _handle_one(self, row: Row[str, OrganisationId, int], now: datetime) -> bool:
        """One broken message must not hold up the others: it goes to the end of the queue."""
        message_id, organisation, attempts = row
        try:
            letter = await self._claim(message_id, organisation, attempts, now)
            if letter is not None:
                result = await self._deliver(letter, attempts + 1, now)
                async with self._database.begin(organisation) as session:
                    await self._write(session, letter, result, now, attempts + 1)
        except Exception:
            logger.exception("message %s was not sent", message_id)
            await self._put_back(message_id, organisation, attempts, now)
            return False
        return True

    async def _put_back(
        self, message_id: str, organisation: OrganisationId, attempts: int, now: datetime
    ) -> None:
        is_over = attempts >= len(_BACKOFF)
        change = (
            update(PatientMessage)
            .where(PatientMessage.id == message_id)
            .where(PatientMessage.state == DispatchState.QUEUED)
            .where(PatientMessage.attempts.in_((attempts, attempts + 1)))
            .values(
                state=DispatchState.FAILED if is_over else DispatchState.QUEUED,
                reason="internal",
                attempts=attempts + 1,
                due_at=now + _WAIT,
            )
        )
        try:
            async with self._database.begin(organisation) as session:
                await count_changed(session, change)
        except SQLAlchemyError:
            logger.exception("message %s was not put back", message_id)

    async def _claim(
        self, message_id: str, organisation: OrganisationId, attempts: int, now: datetime
    ) -> Letter | None:
        """Take a message for this server and look at it again; ``None`` when there is nothing to
        send: somebody else has it, or it is decided already."""
        claim = (
            update(PatientMessage)
            .where(PatientMessage.id == message_id)
            .where(PatientMessage.state == DispatchState.QUEUED)
            .where(PatientMessage.attempts == attempts)
            .where(PatientMessage.due_at <= now)
            .values(attempts=attempts + 1, due_at=now + _CLAIM)
        )
        async with self._database.begin(organisation) as session:
            if not await count_changed(session, claim):
                return None
            message = await session.get_one(PatientMessage, message_id)
            letter = await load_letter(session, self._keyring, message)
            result = await self._look_again(session, letter, now)
            if result is None:
                return letter
            await self._write(session, letter, result, now, attempts + 1)
        return None

    async def _look_again(
        self, session: AsyncSession, letter: Letter, now: datetime
    ) -> _Result | None:
        """What keeps a message from leaving now; ``None``: it leaves."""
        reason = why_untrue(letter, now)
        if reason:
            return _Result(DispatchState.DROPPED, reason)
        if not await load_may_leave(session, letter.visit.appointment):
            return _Result(DispatchState.WITHHELD)
        is_incomplete = letter.visit.appointment.patient.is_to_complete
        if letter.message.kind in _FOR_WHO_CAN_ENTER and is_incomplete:
            due_at = now + _WAIT
            return _Result(DispatchState.QUEUED, "to_complete", due_at=due_at, is_waiting=True)
        channels = channels_of(letter)
        if not channels:
            return _Result(DispatchState.UNREACHABLE, "no_contact")
        if not self._delivery.channels.intersection(channels):
            due_at = now + _WAIT
            return _Result(DispatchState.QUEUED, "no_transport", due_at=due_at, is_waiting=True)
        return None

    async def _deliver(self, letter: Letter, attempts: int, now: datetime) -> _Result:
        """Try each channel until one takes it over; a refusal leads to the next."""
        channels = [one for one in channels_of(letter) if one in self._delivery.channels]
        verdict = DispatchVerdict(Delivered.RETRY)
        for channel in channels:
            rendered = self._renderer.render(letter, channel, now)
            verdict = await self._delivery.send(channel, rendered)
            if verdict.result is Delivered.SENT:
                return _Result(DispatchState.SENT, channel=channel)
            if verdict.result is Delivered.RETRY:
                break
        if verdict.result is Delivered.REFUSED:
            return _Result(DispatchState.FAILED, verdict.reason, channels[-1])
        backoff = _URGENT_BACKOFF if letter.message.kind in _URGENT else _BACKOFF
        if attempts > len(backoff):
            return _Result(DispatchState.FAILED, verdict.reason, channels[-1])
        due_at = now + backoff[attempts - 1]
        return _Result(DispatchState.QUEUED, verdict.reason, due_at=due_at)

    async def _write(
        self, session: AsyncSession, letter: Letter, result: _Result, now: datetime, claimed: int
    ) -> None:
        """Set what became of a message that this server claimed, with its line of the log.

        A failure keeps the version of the identity: when the contact is corrected it is tried anew.
        """
        message, patient = letter.message, letter.visit.appointment.patient
        is_failure = result.state in {DispatchState.FAILED, DispatchState.UNREACHABLE}
        parameters = json.loads(message.parameters)
        if is_failure:
            parameters["identity_version"] = patient.identity_version
        is_sent = result.state is DispatchState.SENT
        change = (
            update(PatientMessage)
            .where(PatientMessage.id == message.id)
            .where(PatientMessage.state == DispatchState.QUEUED)
            .where(PatientMessage.attempts == claimed)
            .values(
                state=result.state,
                reason=result.reason,
                channel=result.channel,
                attempts=claimed - result.is_waiting,
                parameters=json.dumps(parameters, sort_keys=True),
                **({"due_at": result.due_at} if result.due_at else {}),
                **({"sent_at": now} if is_sent else {}),
            )
        )
        if await count_changed(session, change) and (is_sent or is_failure):
            facts = {"kind": message.kind.value, "channel": result.channel or "none"}
            act = Act.MESSAGE_SENT if is_sent else Act.MESSAGE_FAILED
            entry = Entry(now, act, ActorRole.SYSTEM, visit=letter.visit.id, facts={**facts})
            await append(session, letter.visit.organisation_id, entry)
