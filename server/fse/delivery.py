"""The queue to the national record, the sending half: at least once, each version in its turn.

The documents of an organisation go one after the other. While its gateway is away the line rests,
ever longer, and no document is lost; a later version waits for the one before. After an answer
that was lost the gateway is asked (``GET /status``) before anything is sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from recordings.vault import SealBroken
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.fse.client import Client
from server.fse.parcels import (
    OPEN_STATES,
    Change,
    Parcel,
    mark_sending,
    put_off,
    settle,
    take,
    wait_after,
)
from server.fse.steps import after_publication, after_status, after_validation, must_ask_first
from server.keyring import Keyring
from server.models import Organisation, Submission, SubmissionState
from server.report.gateways import GatewayUnusable, load_gateway
from server.services import CLOCK, DATABASE, KEYRING, SETTINGS
from server.settings import Settings

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
_UNUSABLE_WAIT: Final = timedelta(minutes=5)
_MOST_STEPS: Final = 6
"""Validate, publish, ask: twice over."""


@dataclass(frozen=True, slots=True)
class Rest:
    """The line of an organisation rests until then."""

    until: datetime
    failures: int


class Deliverer:
    """Sends what is due, each organisation by its own task."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._settings = settings
        self._clock = clock
        self._busy: set[OrganisationId] = set()
        self._rests: dict[OrganisationId, Rest] = {}

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for organisation in await self._look():
                    if organisation not in self._busy:
                        self._busy.add(organisation)
                        group.create_task(self._deliver_calmly(organisation))
                await asyncio.sleep(_LOOK_SECONDS)

    async def load_due(self) -> list[OrganisationId]:
        """Organisations with a document that wants to go now and whose line does not rest."""
        now = self._clock()
        due = (
            select(Submission.organisation_id)
            .where(Submission.state.in_(OPEN_STATES))
            .where(Submission.next_try_at <= now)
            .distinct()
        )
        async with self._database.read(EVERY_ORGANISATION) as session:
            found = list(await session.scalars(due))
        return [each for each in found if not self._rests_now(each, now)]

    async def deliver(self, organisation: OrganisationId) -> None:
        """Send what is due, the oldest first, until all is done or the gateway is away."""
        async with self._database.read(organisation) as session:
            code = (await session.get_one(Organisation, organisation)).code
            now = self._clock()
            due = await session.scalars(
                select(Submission.id)
                .where(Submission.state.in_(OPEN_STATES))
                .where(Submission.next_try_at <= now)
                .order_by(Submission.created_at, Submission.id)
            )
            ids = list(due)
        for submission_id in ids:
            if self._rests_now(organisation, self._clock()):
                return
            await self._deliver_one(organisation, code, submission_id)

    async def _deliver_one(
        self, organisation: OrganisationId, code: str, submission_id: str
    ) -> None:
        is_validated_here = False
        for _ in range(_MOST_STEPS):
            parcel = await self._take(organisation, submission_id)
            if parcel is None:
                return
            change = await self._attempt(code, parcel, is_validated_here=is_validated_here)
            if change is None:
                return
            is_validated_here |= parcel.state is SubmissionState.WAITING
            if not await settle(self._database, self._keyring, parcel, change, self._clock()):
                return
            self._rest_or_rise(organisation, change)
            if change.wait is not None:
                return

    async def _take(self, organisation: OrganisationId, submission_id: str) -> Parcel | None:
        now = self._clock()
        try:
            return await take(self._database, self._keyring, organisation, submission_id, now)
        except SealBroken:
            logger.exception("fse: document %s cannot be opened", submission_id)
            await put_off(self._database, organisation, submission_id, now)
            return None

    async def _attempt(
        self, code: str, parcel: Parcel, *, is_validated_here: bool
    ) -> Change | None:
        """One call to the gateway, and what follows from its answer."""
        try:
            gateway = load_gateway(self._settings, code, self._clock())
            if gateway is None:
                raise GatewayUnusable("not_connected", "The organisation has no gateway any more")
            client = Client(gateway, self._clock)
            return await self._call(client, parcel, is_validated_here=is_validated_here)
        except GatewayUnusable as unusable:
            logger.error("fse: the gateway of %s cannot be used: %s", code, unusable.text)
            word = parcel.sign if must_ask_first(parcel) else unusable.reason
            return Change(parcel.state, word, wait=_UNUSABLE_WAIT, is_progress=False)

    async def _call(
        self, client: Client, parcel: Parcel, *, is_validated_here: bool
    ) -> Change | None:
        paper, workflow = parcel.paper, parcel.workflow_instance_id
        if parcel.state is SubmissionState.WAITING:
            return after_validation(parcel, await client.validate(paper))
        if must_ask_first(parcel):
            return after_status(parcel, await client.ask_status(paper, workflow))
        if not await mark_sending(self._database, parcel, self._clock()):
            return None
        if parcel.replaced_id:
            answer = await client.replace(paper, workflow, parcel.submission_id, parcel.replaced_id)
        else:
            answer = await client.create(paper, workflow, parcel.submission_id)
        return after_publication(parcel, answer, is_validated_here=is_validated_here)

    def _rest_or_rise(self, organisation: OrganisationId, change: Change) -> None:
        """After an answer of everybody's the line rests, longer each time; any other ends that."""
        if change.answer is None or not change.answer.is_everybodys:
            self._rests.pop(organisation, None)
            return
        former = self._rests.get(organisation)
        failures = former.failures + 1 if former else 1
        wait = change.answer.wait or wait_after(failures)
        self._rests[organisation] = Rest(self._clock() + wait, failures)

    def _rests_now(self, organisation: OrganisationId, now: datetime) -> bool:
        rest = self._rests.get(organisation)
        return rest is not None and now < rest.until

    async def _look(self) -> list[OrganisationId]:
        try:
            return await self.load_due()
        except (SQLAlchemyError, OSError):
            logger.exception("fse: the database does not answer")
            return []

    async def _deliver_calmly(self, organisation: OrganisationId) -> None:
        try:
            await self.deliver(organisation)
        except Exception:
            logger.exception("fse: the line of %s has stopped for now", organisation)
        finally:
            self._busy.discard(organisation)


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """Deliver while the application leads."""
    deliverer = Deliverer(app[DATABASE], app[KEYRING], app[SETTINGS], app[CLOCK])
    runner = asyncio.create_task(deliverer.run())
    yield
    runner.cancel()
    with suppress(asyncio.CancelledError):
        await runner
