"""The server's side of the synthetic patients: one process for each, few at once, all ended in
the end.

Loads no media library. Called by ``server.training``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import Final

import msgspec

from recordings.botwords import Orders

_GRACE_SECONDS: Final = 10.0
_COMMAND: Final = (sys.executable, "-I", "-m", "recordings.bot")

logger = logging.getLogger(__name__)


class BotsBusy(Exception):
    """As many synthetic patients as may be are there."""


class BotHost:
    """Starts and ends the processes; one per key, at most ``most`` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lives: dict[str, asyncio.Task[None]] = {}

    def check_room(self, key: str) -> None:
        """:raises BotsBusy: none can be started for this key now."""
        if key not in self._lives and len(self._lives) >= self._most:
            raise BotsBusy

    def is_alive(self, key: str) -> bool:
        return key in self._lives

    async def start(self, key: str, orders: Orders) -> None:
        """Start a patient; one of the same key is ended before.

        :raises BotsBusy: try later.
        """
        await self.end(key)
        self.check_room(key)
        life = asyncio.create_task(_live(orders), name="synthetic patient")
        self._lives[key] = life
        life.add_done_callback(lambda _: self._forget(key, life))

    async def end(self, key: str) -> None:
        """End the patient of this key, if there is one."""
        life = self._lives.get(key)
        if life is not None:
            life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(*(self.end(key) for key in list(self._lives)))

    def _forget(self, key: str, life: asyncio.Task[None]) -> None:
        if self._lives.get(key) is life:
            del self._lives[key]
        if not life.cancelled() and life.exception() is not None:
            logger.error("no synthetic patient: %s", life.exception())


async def _live(orders: Orders) -> None:
    """One process, from its start to its end."""
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(orders.seconds + _GRACE_SECONDS):
            await _order(process, orders)
            await process.wait()
        if process.returncode:
            logger.warning("a synthetic patient ended with status %s", process.returncode)
    except TimeoutError:
        return
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _order(process: asyncio.subprocess.Process, orders: Orders) -> None:
    """Its end of the pipe stays open: when it closes, the server is gone, and so is the bot."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(msgspec.json.encode(orders) + b"\n")
            await process.stdin.drain()
