"""The connections and tapes of one recording; knows no room.

Whoever has it says by ``may_keep`` whose frames may be kept now, and calls :meth:`Deck.gate` when
that changes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from recordings.echowords import Endpoint
from recordings.label import Label
from recordings.recorderleg import RecorderLeg, Traffic
from recordings.recorderwords import (
    GapReason,
    RecorderWord,
    Stats,
    TrackBegan,
    TrackEnded,
    Trouble,
    TroubleOver,
    TroubleReason,
)
from recordings.tapes import TapeKey
from recordings.trackkeeper import Counts, Place, TrackKeeper

FLUSH_SECONDS: Final = 0.9
"""What ends without a word loses so much, and the time of one writing."""
KEY_FRAME_SECONDS: Final = 5.0
_TICK_SECONDS: Final = 0.1
_ASK_TICKS: Final = 5
_WRITERS: Final = 2
"""A disk that is slow is slow for both people at once."""
_RETRY_SECONDS: Final = 2.0
_ROOM_BYTES: Final = 16 * 2**20
_PROBE: Final = bytes(64 * 1024)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Deck:
    """``say`` gets what the server is to know. ``origin`` is set before anything may be kept."""

    def __init__(
        self,
        endpoint: Endpoint,
        folder: Path,
        key: TapeKey,
        may_keep: Callable[[str], bool],
        say: Callable[[RecorderWord], None],
        parts: dict[str, int],
    ) -> None:
        self.origin = time.monotonic()
        self._endpoint = endpoint
        self._folder = folder
        self._key = key
        self._may_keep = may_keep
        self._say = say
        self._parts = dict(parts)
        self._legs: dict[str, RecorderLeg] = {}
        self._executor = ThreadPoolExecutor(max_workers=_WRITERS)
        self._trouble: TroubleReason | None = None
        self._ended = Counts()
        self._ended_traffic = Traffic()
        self._over: asyncio.Queue[RecorderLeg] = asyncio.Queue()
        self._ending: set[asyncio.Task[None]] = set()

    async def answer(self, participant: str, offer: str) -> str:
        """The answer to the offer of a new connection; the one before it ends.

        :raises BadOffer: there is none, and no connection.
        """
        await self.drop(participant)
        track = secrets.token_hex(16)
        place = Place(self._folder, self._key, track, participant)
        keeper = TrackKeeper(place, self._executor, self._begin)
        leg = self._legs[participant] = RecorderLeg(self._endpoint, keeper, self._over.put_nowait)
        try:
            answer = await leg.answer(offer)
        except BaseException:
            await self.drop(participant)
            raise
        self.gate()
        return answer

    async def drop(self, participant: str) -> None:
        """The connection of this one is over; its tape is ended whoever stops waiting for it."""
        leg = self._legs.pop(participant, None)
        if leg is not None:
            ending = asyncio.create_task(self._end(leg))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            await asyncio.shield(ending)

    def gate(self) -> None:
        """Ask anew whose frames may be kept."""
        reason = GapReason(self._trouble) if self._trouble else GapReason.PAUSED
        for participant, leg in self._legs.items():
            if self._trouble is None and self._may_keep(participant):
                leg.keeper.open(self.origin)
            else:
                leg.keeper.shut(reason)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_writing())
            tasks.create_task(self._keep_asking())
            tasks.create_task(self._keep_clearing())

    async def close(self) -> None:
        """All tapes are whole on the disk, as far as the disk lets them be."""
        for participant in list(self._legs):
            await self.drop(participant)
        await asyncio.gather(*self._ending)
        self._executor.shutdown()

    def stats(self) -> Stats:
        counts, traffic = Counts(), Traffic()
        counts.add(self._ended)
        traffic.add(self._ended_traffic)
        for leg in self._legs.values():
            counts.add(leg.keeper.counts)
            traffic.add(leg.traffic)
        return Stats(
            connections=sum(leg.is_up for leg in self._legs.values()),
            received=traffic.packets,
            absent=traffic.absent,
            begun=traffic.begun,
            kept=counts.kept,
            unwanted=counts.unwanted,
            useless=counts.useless,
            lost=traffic.begun - counts.frames,
        )

    # ---- tapes -----------------------------------------------------------------------------

    def _begin(self, keeper: TrackKeeper, offset_ms: int) -> Label:
        place = keeper.place
        part = self._parts.get(place.participant, 0)
        self._parts[place.participant] = part + 1
        self._say(
            TrackBegan(
                track=place.track, participant=place.participant, part=part, offset_ms=offset_ms
            )
        )
        return Label(place.participant, part, offset_ms)

    async def _end(self, leg: RecorderLeg) -> None:
        await leg.close()
        keeper = leg.keeper
        try:
            await keeper.close()
        except OSError as error:
            self._fail(error)
        self._ended.add(keeper.counts)
        self._ended_traffic.add(leg.traffic)
        if keeper.has_begun:
            figures = keeper.figures
            self._say(
                TrackEnded(
                    track=keeper.place.track,
                    duration_ms=figures.duration_ms,
                    frames=figures.frames,
                    packets=figures.packets,
                    bytes=keeper.tape_bytes,
                    gaps=figures.gaps,
                )
            )

    async def _keep_writing(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            if self._trouble is None:
                await asyncio.sleep(began + FLUSH_SECONDS - loop.time())
            else:
                await asyncio.sleep(_RETRY_SECONDS)
                if not await self._is_room_again():
                    continue
            began = loop.time()
            flushing = [leg.keeper.flush() for leg in self._legs.values()]
            found = await asyncio.gather(*flushing, return_exceptions=True)
            failed = [error for error in found if isinstance(error, BaseException)]
            if not failed:
                self._recover()
            for error in failed:
                if not isinstance(error, OSError):
                    raise error
                self._fail(error)

    async def _is_room_again(self) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _has_room, self._folder)

    def _fail(self, error: OSError | None) -> None:
        """Nothing is kept from here on."""
        if self._trouble is None:
            is_full = error is not None and error.errno in _FULL
            self._trouble = TroubleReason.DISK_FULL if is_full else TroubleReason.DISK_FAILED
            self._say(Trouble(reason=self._trouble))
        for leg in self._legs.values():
            leg.keeper.drop()
        self.gate()

    def _recover(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._say(TroubleOver())
            self.gate()

    # ---- connections -----------------------------------------------------------------------

    async def _keep_asking(self) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        tick = 0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            tick += 1
            is_time = loop.time() - asked_at >= KEY_FRAME_SECONDS
            if is_time:
                asked_at = loop.time()
            for leg in list(self._legs.values()):
                await leg.mend()
                wants = leg.keeper.wants_whole_picture and tick % _ASK_TICKS == 0
                if wants or (is_time and leg.keeper.is_open):
                    await leg.ask_whole_picture()
                if leg.keeper.is_behind:
                    self._fail(None)

    async def _keep_clearing(self) -> None:
        """Connections that ended by themselves."""
        while True:
            leg = await self._over.get()
            participant = leg.keeper.place.participant
            if self._legs.get(participant) is leg:
                await self.drop(participant)


def _has_room(folder: Path) -> bool:
    """Whether a write would reach the disk, with some to spare."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
        return False
    probe = folder / f".{secrets.token_hex(8)}.probe"
    try:
        with probe.open("xb") as file:
            file.write(_PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True
