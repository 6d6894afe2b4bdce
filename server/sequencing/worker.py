"""The sequencer at work in the process that leads: numbers within a second, a signed checkpoint
within a minute."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from server.db import EVERY_ORGANISATION, Database, OrganisationId, is_away
from server.logsigner.client import Refusal, SignerLost, SignerProcess
from server.models import LogHead
from server.sequencing.checkpoints import sign_checkpoint
from server.sequencing.numbering import find_unnumbered
from server.sequencing.rounds import number_log

logger = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 0.3
_FIRST_SIGNED_AFTER: Final = 5.0
_SIGNED_EVERY: Final = 30.0

Refused = Callable[[OrganisationId, Refusal], Awaitable[None]]


class Sequencer:
    """Numbers what is written and gets it signed. ``refused`` hears of each log that the signer
    does not sign, once for as long as it lasts; ``numbered`` of each round with new numbers."""

    def __init__(
        self, database: Database, signer: SignerProcess, realm: str, clock: Callable[[], datetime],
        refused: Refused, numbered: Callable[[], None],
    ) -> None:  # fmt: skip
        self._database = database
        self._signer = signer
        self._realm = realm
        self._clock = clock
        self._refused = refused
        self._numbered = numbered
        self._refusals: dict[OrganisationId, tuple[str, int]] = {}
        self._signed: dict[OrganisationId, int] = {}
        self._rests_until: dict[OrganisationId, float] = {}

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run(), name="sequencer")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(SQLAlchemyError, OSError):
            await self.number()
            if self._signer.is_running:
                await self.sign()
        await self._signer.stop()

    async def _run(self) -> None:
        due = time.monotonic() + _FIRST_SIGNED_AFTER
        while True:
            try:
                await self.number()
                if time.monotonic() >= due:
                    due = time.monotonic() + _SIGNED_EVERY
                    await self.sign()
            except (SQLAlchemyError, OSError) as error:
                logger.warning("the session log waits for the database: %s", type(error).__name__)
            except Exception:
                logger.exception("the session log is not numbered")
            await asyncio.sleep(_EVERY_SECONDS)

    async def number(self) -> None:
        """Number everything that has no number. A log that somebody has tampered with may take
        none: it is tried again later, and the others go on."""
        async with self._database.read(EVERY_ORGANISATION) as session:
            waiting = await find_unnumbered(session)
        for organisation in waiting:
            if time.monotonic() < self._rests_until.get(organisation, 0.0):
                continue
            try:
                if await number_log(self._database, organisation):
                    self._numbered()
            except Exception as error:
                if is_away(error):
                    raise
                self._rests_until[organisation] = time.monotonic() + _SIGNED_EVERY
                logger.exception("the session log of %s takes no numbers", organisation)

    async def sign(self) -> None:
        """Get every log signed that has grown."""
        async with self._database.read(EVERY_ORGANISATION) as session:
            heads = list(await session.scalars(select(LogHead)))
        for head in heads:
            if head.size != self._signed.get(head.organisation_id, 0):
                await self._sign(head)

    async def _sign(self, head: LogHead) -> None:
        organisation = head.organisation_id
        try:
            await sign_checkpoint(
                self._database, self._signer, self._realm, organisation, self._clock()
            )
            self._signed[organisation] = head.size
            self._refusals.pop(organisation, None)
        except Refusal as refusal:
            logger.error("the session log of %s is not signed: %s", organisation, refusal)
            said = refusal.word, refusal.size
            if self._refusals.get(organisation) != said:
                self._refusals[organisation] = said
                await self._refused(organisation, refusal)
        except (LookupError, ValueError, SignerLost) as error:
            logger.error("the session log of %s is not signed: %s", organisation, error)
