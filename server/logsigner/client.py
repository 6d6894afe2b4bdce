"""The signer as its parent process sees it: started when it is first needed, and again when it
has died."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Final

_ANSWER_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_LONGEST_LINE: Final = 1 << 20


class SignerLost(Exception):
    """The signer's process does not answer."""


class Refusal(Exception):
    """The signer does not sign. ``word``: see :mod:`server.logsigner.__main__`; ``size``: how many
    entries it has signed."""

    def __init__(self, word: str, size: int) -> None:
        super().__init__(f"{word} at {size}")
        self.word = word
        self.size = size


class SignerProcess:
    """One child process over a folder of logs; requests take turns."""

    def __init__(self, folder: Path) -> None:
        self._command = [sys.executable, "-m", "server.logsigner", str(folder)]
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def ask(self, **request: Any) -> dict[str, Any]:
        """:raises Refusal: it refuses. :raises SignerLost: it does not answer."""
        async with self._turn:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer = await self._exchange(json.dumps(request).encode() + b"\n")
            except (OSError, TimeoutError, ValueError) as error:
                self._kill()
                raise SignerLost("the signer of the session log does not answer") from error
        if "refused" in answer:
            raise Refusal(answer["refused"], answer["size"])
        return answer

    async def _exchange(self, line: bytes) -> dict[str, Any]:
        process = await self._start()
        if process.stdin is None or process.stdout is None:
            raise OSError("the signer has no pipes")
        process.stdin.write(line)
        await process.stdin.drain()
        answer: dict[str, Any] = json.loads(await process.stdout.readline())
        return answer

    async def _start(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, limit=_LONGEST_LINE, start_new_session=True
            )
        return self._process

    def _kill(self) -> None:
        if self.is_running and self._process is not None:
            self._process.kill()
        self._process = None

    async def stop(self) -> None:
        """Let it end: it has nothing to lose."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
