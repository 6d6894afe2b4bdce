"""Synthetic patients in a process of their own: to train on, and to put load on a server.

``python -m recordings.bot``. Standard input: one line of JSON (:class:`Orders`) for each patient;
when it ends they leave. Standard output: one line (:class:`Figures`) for each, in the end. Nothing
of a server is in this process but what the lines say; a patient comes in by her link as a browser
does. ``recordings.bothost`` starts it for ``server.training``, ``accanto bot`` for tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import Final

import aiohttp
import msgspec

from recordings.botdoor import DoorClosed
from recordings.botfaces import Reel, make_reel
from recordings.botpatient import Patient
from recordings.botstage import Body, Stage
from recordings.botvoice import make_silence
from recordings.botwords import LONGEST_LINE, Figures, Orders
from recordings.guard import AeadCertificate
from recordings.script import Face
from recordings.walls import raise_walls

_MEMORY_BYTES: Final = 2**30
_NICENESS: Final = 5
_PATIENCE_SECONDS: Final = 3.0


class Crowd:
    """The patients of this process."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._reels: dict[Face, Reel] = {}
        self._silence = make_silence()
        self._patients: list[Patient] = []
        self._lives: list[asyncio.Task[None]] = []
        self.figures: list[Figures] = []

    def add(self, orders: Orders) -> None:
        self._lives.append(asyncio.create_task(self._live(orders)))

    async def wait(self) -> None:
        """Until the last of them is gone."""
        while living := [life for life in self._lives if not life.done()]:
            await asyncio.gather(*living)

    async def leave(self) -> None:
        """All at once, politely."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.gather(*(patient.leave() for patient in self._patients))
                await self.wait()
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)

    async def _live(self, orders: Orders) -> None:
        script = orders.script
        if script.face not in self._reels:
            self._reels[script.face] = make_reel(script.face)
        stage = Stage(self._reels[script.face], self._silence, has_camera=script.has_camera)
        figures = Figures()
        self.figures.append(figures)
        try:
            body = Body(stage, AeadCertificate.generateCertificate())
            patient = Patient(orders, body, self._session, figures)
            self._patients.append(patient)
            async with asyncio.timeout(orders.seconds):
                await patient.live()
        except DoorClosed as refusal:
            figures.end = str(refusal)
        except (aiohttp.ClientError, OSError) as error:
            figures.end = type(error).__name__


async def serve() -> None:
    """Until every patient is gone, or standard input has ended."""
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        crowd = Crowd(session)
        crowd.add(msgspec.json.decode(await reader.readline(), type=Orders))
        reading = asyncio.create_task(_read(reader, crowd))
        waiting = asyncio.create_task(crowd.wait())
        await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await crowd.leave()
        for task in (reading, waiting):
            task.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)
    for figures in crowd.figures:
        sys.stdout.buffer.write(msgspec.json.encode(figures) + b"\n")
    sys.stdout.flush()


async def _read(reader: asyncio.StreamReader, crowd: Crowd) -> None:
    while line := await reader.readline():
        crowd.add(msgspec.json.decode(line, type=Orders))


def main() -> None:
    """The walls first: an attack on this process ends this process."""
    raise_walls(_MEMORY_BYTES)
    os.nice(_NICENESS)
    logging.disable()  # aioice and aiortc log addresses
    asyncio.run(serve())


if __name__ == "__main__":
    main()
