"""The server's side of the echo legs: one process per test, few at once, all ended in the end.

Loads no media library. Called by ``server.linetest``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import Final

import msgspec

from recordings.echowords import LIFE_SECONDS, LONGEST_LINE, Answer, Endpoint, Offer

ANSWER_WITHIN_SECONDS: Final = 15.0
_GRACE_SECONDS: Final = 5.0
_COMMAND: Final = (sys.executable, "-I", "-m", "recordings.echo")

logger = logging.getLogger(__name__)


class EchoBusy(Exception):
    """As many tests as may run are running."""


class EchoRefused(Exception):
    """The offer was not answered: it is wrong, or the process could not."""


class EchoHost:
    """Starts and ends echo processes; one per key, at most ``most`` at once."""

    def __init__(self, endpoint: Endpoint, most: int) -> None:
        self._endpoint = endpoint
        self._most = most
        self._tests: dict[str, _Test] = {}

    @property
    def running(self) -> int:
        return len(self._tests)

    async def answer(self, key: str, sdp: str) -> str:
        """The answer to the offer of one test; a second offer of it replaces the first.

        :raises EchoBusy: try later.
        :raises EchoRefused: the offer is wrong, or there is no process for it.
        """
        known = self._tests.get(key)
        answer = await known.ask(Offer(sdp)) if known else None
        if answer is None:
            if known is not None:
                await known.end()
            answer = await self._start(key).ask(Offer(sdp))
        if answer is None or answer.is_refused:
            raise EchoRefused
        return answer.sdp

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(*(test.end() for test in list(self._tests.values())))

    def _start(self, key: str) -> _Test:
        if len(self._tests) >= self._most:
            raise EchoBusy
        test = self._tests[key] = _Test(self._endpoint)
        test.life.add_done_callback(lambda life: self._forget(key, life))
        return test

    def _forget(self, key: str, life: asyncio.Task[None]) -> None:
        if self._tests[key].life is life:
            del self._tests[key]
        if not life.cancelled() and life.exception() is not None:
            logger.error("no echo process: %s", life.exception())


class _Test:
    """One process. ``life`` owns it: when the task is done, the process is gone."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._asking = asyncio.Lock()
        loop = asyncio.get_running_loop()
        self._process: asyncio.Future[asyncio.subprocess.Process | None] = loop.create_future()
        self.life = asyncio.create_task(self._live())

    async def ask(self, offer: Offer) -> Answer | None:
        """None when there is no answer in time, or no process any more."""
        async with self._asking:
            try:
                async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                    process = await asyncio.shield(self._process)
                    return await _ask(process, offer) if process else None
            except (TimeoutError, ValueError, OSError):
                return None

    async def end(self) -> None:
        self.life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.life

    async def _live(self) -> None:
        process = await self._start()
        try:
            async with asyncio.timeout(LIFE_SECONDS + _GRACE_SECONDS):
                await process.wait()
        except TimeoutError:
            return
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                env={},
            )
        except BaseException:
            self._process.set_result(None)
            raise
        _write(process, self._endpoint)
        self._process.set_result(process)
        return process


async def _ask(process: asyncio.subprocess.Process, offer: Offer) -> Answer | None:
    assert process.stdin is not None  # noqa: S101 - narrows for the type checker
    assert process.stdout is not None  # noqa: S101
    _write(process, offer)
    await process.stdin.drain()
    line = await process.stdout.readline()
    return msgspec.json.decode(line, type=Answer) if line else None


def _write(process: asyncio.subprocess.Process, message: Endpoint | Offer) -> None:
    assert process.stdin is not None  # noqa: S101
    process.stdin.write(msgspec.json.encode(message) + b"\n")
