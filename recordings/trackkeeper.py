"""One track: what comes of one person over one connection, second by second onto a tape.

Frames are kept while ``is_open`` and nothing else; those that came before it opened are not, even
when they come out of the buffers after it. A track without a kept frame has no tape.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recordings.encoded import EncodedFrame, SenderReport
from recordings.finishing import (
    WORD_END,
    WORD_GAP,
    WORD_SHIFT,
    Figures,
)
from recordings.label import WORD_TRACK, Label
from recordings.mediaclock import Timeline
from recordings.recorderwords import GapReason
from recordings.tapes import TapeKey, TapeWriter
from recordings.webm import AUDIO, VIDEO, Block, Shape, cluster, live_head, picture_size, tags

_ASSUMED_SIZE: Final = (640, 480)
"""In the head of a tape that begins with sound; the file has the real one."""
_MOST_WAITING_BYTES: Final = 24 * 2**20
"""A disk that is this far behind has failed."""


@dataclass(slots=True)
class Counts:
    """Each frame that came is in one of the last three."""

    frames: int = 0
    kept: int = 0
    unwanted: int = 0
    useless: int = 0

    def add(self, other: Counts) -> None:
        self.frames += other.frames
        self.kept += other.kept
        self.unwanted += other.unwanted
        self.useless += other.useless


@dataclass(frozen=True, slots=True)
class Place:
    """Where a track belongs."""

    folder: Path
    key: TapeKey
    track: str
    participant: str


@dataclass(slots=True)
class _Waiting:
    """What the next records are made of."""

    items: list[Block | tuple[str, str]] = field(default_factory=list)
    bytes: int = 0


class TrackKeeper:
    """``on_began`` is told the offset in milliseconds before the first byte is on the disk; it says
    where the track belongs."""

    def __init__(
        self,
        place: Place,
        executor: Executor,
        on_began: Callable[[TrackKeeper, int], Label],
    ) -> None:
        self.place = place
        self.counts = Counts()
        self.figures = Figures()
        self._executor = executor
        self._on_began = on_began
        self._tape = TapeWriter(place.folder, place.track, place.key)
        self._timeline = Timeline(0.0)
        self._began_ms: float | None = None
        self._open_since: float | None = None
        self._needs_whole = True
        self._records = 0
        self._has_shift = False
        self._floors = {"audio": 0, "video": 0}
        """No frame stands before the one that was sent before it, whatever its clock says."""
        self._waiting = _Waiting()
        self._writing = asyncio.Lock()
        self._pen = threading.Lock()
        """A writing goes on when nobody waits for it any more."""

    @property
    def has_begun(self) -> bool:
        return self._began_ms is not None

    @property
    def tape_bytes(self) -> int:
        return self._tape.size

    @property
    def is_open(self) -> bool:
        return self._open_since is not None

    @property
    def wants_whole_picture(self) -> bool:
        """Pictures come and are of no use."""
        return self._open_since is not None and self._needs_whole

    def open(self, origin: float) -> None:
        """From now on what comes is kept; times count from ``origin`` of the monotonic clock."""
        if self._open_since is None:
            self._open_since = time.monotonic()
            self._needs_whole = True
            self._timeline = Timeline(origin)

    def shut(self, reason: GapReason) -> None:
        """From now on nothing is kept."""
        if self._open_since is None:
            return
        self._open_since = None
        self._has_shift = False
        if self.has_begun:
            self._say(WORD_GAP, reason)

    def take(self, kind: str, frame: EncodedFrame) -> None:
        """One whole frame that came."""
        self.counts.frames += 1
        if self._open_since is None or frame.came_at < self._open_since:
            self.counts.unwanted += 1
            return
        is_key = kind == "audio" or picture_size(frame.data) is not None
        if not frame.data or (kind == "video" and self._needs_whole and not is_key):
            self.counts.useless += 1
            return
        if kind == "video":
            self._needs_whole = False
        at = self._timeline.place(kind, frame)
        if self._began_ms is None:
            self._began_ms = at
            self._say(WORD_TRACK, self._on_began(self, max(0, round(at))).text())
        track = AUDIO if kind == "audio" else VIDEO
        time_ms = max(self._floors[kind], round(at - self._began_ms))
        self._floors[kind] = time_ms
        block = Block(time_ms, track, is_key, frame.data)
        self.counts.kept += 1
        self._waiting.items.append(block)
        self._waiting.bytes += len(frame.data)

    def lose_pictures(self) -> None:
        """Some never came whole: those after them need a whole one."""
        self._needs_whole = True

    def hear(self, kind: str, report: SenderReport) -> None:
        """What the sender says of its clock."""
        shift = self._timeline.hear(kind, report)
        if shift and self.has_begun and not self._has_shift:
            self._has_shift = True
            self._floors["video"] = 0
            self._say(WORD_SHIFT, str(round(shift)))

    async def flush(self) -> None:
        """All that came is on the disk when this returns.

        :raises OSError: it could not be written, and is lost.
        """
        async with self._writing:
            if not self._waiting.items:
                return
            waiting, self._waiting = self._waiting, _Waiting()
            written = self.figures.frames + self.figures.packets
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._executor, self._write, waiting.items)
            except OSError:
                came = sum(isinstance(item, Block) for item in waiting.items)
                self._unkeep(came + written - self.figures.frames - self.figures.packets)
                self._waiting.items[:0] = _words(waiting.items)
                raise

    @property
    def is_behind(self) -> bool:
        return self._waiting.bytes > _MOST_WAITING_BYTES

    def drop(self) -> None:
        """The frames that wait for the disk are given up."""
        self._unkeep(sum(isinstance(item, Block) for item in self._waiting.items))
        self._waiting = _Waiting(_words(self._waiting.items))

    def _unkeep(self, count: int) -> None:
        self.counts.kept -= count
        self.counts.unwanted += count

    async def close(self) -> None:
        """Nothing comes any more.

        :raises OSError: the end could not be written.
        """
        try:
            if self.has_begun:
                self._say(WORD_END, "")
            await self.flush()
        finally:
            self._tape.close()

    def _say(self, name: str, text: str) -> None:
        self._waiting.items.append((name, text))

    def _write(self, items: list[Block | tuple[str, str]]) -> None:
        """In a thread."""
        with self._pen:
            self._write_down(items)

    def _write_down(self, items: list[Block | tuple[str, str]]) -> None:
        """Runs of frames become clusters, words stand between them."""
        if not self._records:
            self._append(live_head(Shape(_first_size(items), has_sound=True)))
        blocks: list[Block] = []
        for item in items:
            if isinstance(item, Block):
                blocks.append(item)
                continue
            self._append_cluster(blocks)
            blocks = []
            self._append(tags([item]))
            if item[0] == WORD_GAP:
                self.figures.add(GapReason(item[1]))
            elif item[0] == WORD_END:
                self.figures.add(None)
        self._append_cluster(blocks)

    def _append_cluster(self, blocks: list[Block]) -> None:
        if not blocks:
            return
        blocks.sort(key=lambda block: block.time)
        self._append(cluster(blocks))
        for block in blocks:
            self.figures.add(block)

    def _append(self, record: bytes) -> None:
        self._tape.append(record)
        self._records += 1


def _words(items: list[Block | tuple[str, str]]) -> list[Block | tuple[str, str]]:
    """Said twice they mean the same."""
    return [item for item in items if not isinstance(item, Block)]


def _first_size(items: list[Block | tuple[str, str]]) -> tuple[int, int]:
    for item in items:
        if isinstance(item, Block) and item.track == VIDEO and item.is_key:
            return picture_size(item.data) or _ASSUMED_SIZE
    return _ASSUMED_SIZE
