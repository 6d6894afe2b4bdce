"""The gateway's word on a document before it is signed, while the clinician looks at it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from aiohttp import web

from server.fse.answers import Answer, Meaning
from server.fse.client import Client, Paper
from server.models import Organisation
from server.phases import may_leave
from server.report.content import ReportContent
from server.report.gateways import GatewayUnusable, load_gateway
from server.report.queue import VALIDATE_BEFORE_SIGNATURE, Judgement, Standing, Validate
from server.services import CLOCK, SETTINGS
from server.settings import Settings

logger = logging.getLogger(__name__)

LONGEST_SECONDS: Final = 3.0
"""Longer nobody waits for a button; the queue validates what could not be validated here."""


class Validator:
    """Answers :data:`server.report.queue.Validate`."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock

    async def __call__(
        self, organisation: Organisation, content: ReportContent, pdf: bytes
    ) -> Judgement:
        """Nothing leaves where the phase lets nothing leave."""
        if not may_leave(organisation, content.body.clinic_code):
            return Judgement(Standing.NOT_CONNECTED)
        try:
            gateway = load_gateway(self._settings, organisation.code, self._clock())
            if gateway is None:
                return Judgement(Standing.NOT_CONNECTED)
            client = Client(gateway, self._clock, LONGEST_SECONDS)
            async with asyncio.timeout(LONGEST_SECONDS):
                return _judge(await client.validate(Paper(content, pdf)))
        except GatewayUnusable as unusable:
            logger.error(
                "fse: the gateway of %s cannot be used: %s", organisation.code, unusable.text
            )
            return Judgement(Standing.UNREACHABLE, unusable.reason)
        except TimeoutError:
            return Judgement(Standing.UNREACHABLE, "unreachable")


def prepare(app: web.Application) -> None:
    """Let other features ask without knowing this one."""
    validate: Validate = Validator(app[SETTINGS], app[CLOCK])
    app[VALIDATE_BEFORE_SIGNATURE] = validate


def _judge(answer: Answer) -> Judgement:
    match answer.meaning:
        case Meaning.TAKEN:
            return Judgement(
                Standing.GOOD,
                words=answer.words,
                workflow_instance_id=answer.workflow_instance_id,
            )
        case Meaning.TOKEN | Meaning.BUSY | Meaning.UNREACHABLE:
            return Judgement(Standing.UNREACHABLE, answer.problem)
        case _:
            return Judgement(Standing.PROBLEMS, answer.problem, answer.words)
