"""The server's side of the picture processes: one per picture, few at once.

Loads no picture library. Called by ``server.attachments``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from typing import Final

import msgspec

from recordings.picturewords import Made, PictureProblem, Refused

_COMMAND: Final = (sys.executable, "-I", "-m", "recordings.pictures")
_AT_ONCE: Final = 2
_LONGEST_SECONDS: Final = 120

logger = logging.getLogger(__name__)


class PictureUnfit(Exception):
    """The picture was not made anew; says why."""

    def __init__(self, problem: PictureProblem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class NewPicture:
    """``content`` holds the pixels and nothing besides."""

    media_type: str
    width: int
    height: int
    content: bytes


class PictureHost:
    """Starts a process for each picture; others wait."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def make_anew(self, original: bytes) -> NewPicture:
        """The picture from its pixels.

        :raises PictureUnfit: damaged, too many pixels, or it takes too much time or memory.
        """
        async with self._places:
            output = await _run(original)
        line, _, content = output.partition(b"\n")
        try:
            answer = msgspec.json.decode(line, type=Made | Refused)
        except msgspec.DecodeError as error:
            logger.warning("a picture process ended without an answer")
            raise PictureUnfit(PictureProblem.DAMAGED) from error
        if isinstance(answer, Refused):
            raise PictureUnfit(answer.problem)
        return NewPicture(answer.media_type, answer.width, answer.height, content)


async def _run(original: bytes) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            output, _ = await process.communicate(original)
        return output
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
