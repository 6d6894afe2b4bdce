"""Is this process alive, and may a load balancer send people to it: ``/healthz``, ``/readyz``.

Both are for everybody, so an answer names the part that is missing and never says why. Nothing is
mended here, and nobody is turned away: a process that is not ready goes on answering.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from typing import Final

from aiohttp import web
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from server.audit import leaves_none
from server.auth import PUBLIC, Route
from server.db import EVERY_ORGANISATION, Database
from server.migrations import is_current
from server.pages import json_response

ANSWER_SECONDS: Final = 1.0


class Part(StrEnum):
    """What a process needs to serve people."""

    DATABASE = "database"
    MIGRATIONS = "migrations"
    VALKEY = "valkey"
    DRAINING = "draining"


class Readiness:
    """Asks the parts of one process; ``server.listen`` says when it drains."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_migrated = False
        self._asked: dict[Part, asyncio.Task[bool]] = {}
        """One question for each part at a time, however many want to know."""
        self.ask_valkey: Callable[[], Awaitable[None]] | None = None
        """Raises when the Valkey that all processes share does not answer."""
        self.is_draining = False

    async def load_failing(self) -> list[Part]:
        """The parts that are missing; at most a little over :data:`ANSWER_SECONDS` later."""
        questions: dict[Part, Callable[[], Awaitable[None]]] = {Part.DATABASE: self._ask_database}
        if self.ask_valkey is not None:
            questions[Part.VALKEY] = self.ask_valkey
        answers = await asyncio.gather(*(self._ask(*one) for one in questions.items()))
        failing = [part for part, is_there in zip(questions, answers, strict=True) if not is_there]
        if not self._is_migrated and Part.DATABASE not in failing:
            failing.append(Part.MIGRATIONS)
        return [*failing, Part.DRAINING] if self.is_draining else failing

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Ask once before the first to come, and leave no question behind at the end."""
        await self.load_failing()
        yield
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _ask(self, part: Part, question: Callable[[], Awaitable[None]]) -> bool:
        task = self._asked.get(part)
        if task is None:
            task = self._asked[part] = asyncio.create_task(_is_answered(question))
            task.add_done_callback(lambda _: self._asked.pop(part))
        await asyncio.wait({task}, timeout=ANSWER_SECONDS)
        return task.done() and not task.cancelled() and task.result()

    async def _ask_database(self) -> None:
        if self._is_migrated:
            async with self._database.read(EVERY_ORGANISATION) as session:
                await session.execute(text("SELECT 1"))
        else:
            self._is_migrated = await is_current(self._database)


READINESS: Final = web.AppKey("readiness", Readiness)


async def _is_answered(question: Callable[[], Awaitable[None]]) -> bool:
    try:
        await question()
    except (OSError, TimeoutError, SQLAlchemyError):
        return False
    return True


async def show_health(request: web.Request) -> web.Response:
    """``GET /healthz``: the process lives and its loop turns."""
    return web.Response(text="ok\n")


async def show_readiness(request: web.Request) -> web.Response:
    """``GET /readyz``: 200 when people may be sent here, else 503 with the names of the parts."""
    failing = await request.app[READINESS].load_failing()
    content = {"ready": not failing, "failing": [part.value for part in failing]}
    return json_response(content, status=503 if failing else 200)


ROUTES: Final = (
    Route("GET", "/healthz", show_health, PUBLIC, leaves_none("no data of patients")),
    Route("GET", "/readyz", show_readiness, PUBLIC, leaves_none("no data of patients")),
)
