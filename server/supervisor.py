"""``accanto serve --workers N``: keeps N processes of the same command on one port.

A process that dies is started again, later each time. SIGTERM and SIGINT go to all of them; SIGHUP
starts each anew, one after the other: the new one serves before the old one drains, so a version
that does not start changes nothing. Nothing is served here and no record is opened.

A child hangs on a line: it writes when it serves, and drains when the line is cut.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from server.errors import CommandFailed

logger = logging.getLogger(__name__)

LINE_OPTION: Final = "--line"
"""Gives a child the number of its end of the line."""
EXIT_SECONDS: Final = 28.0
START_SECONDS: Final = 60.0
_READY: Final = b"r"
_FIRST_WAIT_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 10.0
_STEADY_SECONDS: Final = 60.0
"""Who has served for so long is started again at once."""


class Line:
    """The child's end."""

    def __init__(self, number: int) -> None:
        self._number = number

    def say_ready(self) -> None:
        os.write(self._number, _READY)

    def watch(self, on_cut: Callable[[], None]) -> None:
        """Hear of the end of the process that started this one."""
        loop = asyncio.get_running_loop()

        def cut() -> None:
            loop.remove_reader(self._number)
            on_cut()

        loop.add_reader(self._number, cut)


class Child:
    """A running process and our end of its line."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self._process = process
        self._line = line
        self._end = asyncio.create_task(self._wait())

    @classmethod
    async def start(cls, command: Sequence[str]) -> Self:
        """Start a command in a process group of its own, so that Ctrl-C reaches us only."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            process = await asyncio.create_subprocess_exec(
                *command,
                LINE_OPTION,
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return cls(process, ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return not self._end.done()

    async def is_ready(self) -> bool:
        """Wait until it serves; false when it ends before, or takes too long."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(START_SECONDS):
                return await loop.sock_recv(self._line, 1) == _READY
        return False

    def send(self, number: signal.Signals) -> None:
        if self.is_running:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def wait(self) -> int:
        """Its status, when it has ended."""
        return await asyncio.shield(self._end)

    async def stop(self, number: signal.Signals) -> None:
        """Ask it to end, and make it."""
        self.send(number)
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                await self.wait()
        except TimeoutError:
            logger.error("process %d did not end in time", self.pid)
            self.send(signal.SIGKILL)
            await self.wait()

    async def _wait(self) -> int:
        try:
            return await self._process.wait()
        finally:
            self._line.close()


async def stop_all(children: Iterable[Child], number: signal.Signals) -> None:
    """End several processes at the same time."""
    await asyncio.gather(*(child.stop(number) for child in children))


class Supervisor:
    """Keeps ``count`` children of one command."""

    def __init__(self, command: Sequence[str], count: int) -> None:
        self._command = command
        self._places: list[Child | None] = [None] * count
        self._changing = [asyncio.Lock() for _ in self._places]
        """Of each place, held while a child takes it."""
        self._started: set[Child] = set()
        self._end: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        self._renewal: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        :raises CommandFailed: the first children do not start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._note_end, number)
        loop.add_signal_handler(signal.SIGHUP, self._renew)
        places = range(len(self._places))
        keepers = [asyncio.create_task(self._keep(place)) for place in places]
        try:
            ends: list[asyncio.Future[Any]] = [self._end, *keepers]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for keeper in keepers:
                if keeper.done():
                    await keeper
        finally:
            tasks = [task for task in (*keepers, self._renewal) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            number = self._end.result() if self._end.done() else signal.SIGTERM
            await stop_all(self._started, number)

    def _note_end(self, number: signal.Signals) -> None:
        if not self._end.done():
            self._end.set_result(number)

    def _renew(self) -> None:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew_all())

    async def _keep(self, place: int) -> None:
        """Start a place's child again whenever it ends; only the first start may fail."""
        if await self._fill(place, None) is None:
            raise CommandFailed("The processes do not start: what they said is above")
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            child = self._places[place]
            started_at = asyncio.get_running_loop().time()
            if child is not None:
                status = await child.wait()
                if self._places[place] is not child:
                    continue
                logger.warning("process %d ended by itself (%d)", child.pid, status)
            if asyncio.get_running_loop().time() - started_at >= _STEADY_SECONDS:
                wait_seconds = _FIRST_WAIT_SECONDS
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(wait_seconds * 2, _LONGEST_WAIT_SECONDS)
            await self._fill(place, child)

    async def _renew_all(self) -> None:
        """Replace every child, one after the other; stop at the first that does not start."""
        for place, old in enumerate(list(self._places)):
            if await self._fill(place, old) is None:
                logger.error("a new process does not start: the old ones go on")
                return
            if old is not None:
                await old.stop(signal.SIGTERM)
        logger.info("every process is new")

    async def _fill(self, place: int, old: Child | None) -> Child | None:
        """Put a new child that serves in the place of an old one, unless somebody else has."""
        async with self._changing[place]:
            if self._places[place] is not old:
                return self._places[place]
            child = await Child.start(self._command)
            self._started.add(child)
            if not await child.is_ready():
                await child.stop(signal.SIGKILL)
                self._started.discard(child)
                return None
            self._places[place] = child
            logger.info("process %d serves", child.pid)
        self._started = {one for one in self._started if one.is_running}
        return child
