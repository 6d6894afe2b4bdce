"""The server's side of one recorder process. Loads no media library.

Called by ``server.recording``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import msgspec

from recordings.recorderwords import LONGEST_LINE, Finish, Orders, RecorderWord, ServerWord

COMMAND: Final = (sys.executable, "-I", "-m", "recordings.recorder")
FINISH_WITHIN_SECONDS: Final = 10.0

_decoder: Final = msgspec.json.Decoder(RecorderWord)


class RecorderProcess:
    """A process that was given its orders; whoever starts it ends it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, orders: Orders) -> RecorderProcess:
        """:raises OSError: there is no process to be had."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            env={},
        )
        recorder = cls(process)
        recorder.say(orders)
        return recorder

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, word: ServerWord) -> None:
        """Nothing happens when the process is gone."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(msgspec.json.encode(word) + b"\n")

    async def hear(self) -> RecorderWord | None:
        """The next word; None when the process has ended, or speaks another language."""
        stdout = self._process.stdout
        if stdout is None:
            return None
        try:
            line = await stdout.readline()
            return _decoder.decode(line) if line else None
        except (OSError, ValueError):
            return None

    def finish(self) -> None:
        """Its words end soon: it is given time to close what it has, then it is killed."""
        self.say(Finish())
        asyncio.get_running_loop().call_later(FINISH_WITHIN_SECONDS, self._kill)

    async def end(self) -> None:
        """As ``finish``; returns when the process is gone. Nobody else hears it meanwhile."""
        self.finish()
        while await self.hear() is not None:
            pass
        self._kill()
        await self._process.wait()

    def _kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
