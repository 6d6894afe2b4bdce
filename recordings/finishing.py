"""From a tape to a file: the same frames in their order, with an index, a length and its gaps.

The tape is read three times: for what it says of its pictures' times, for how long everything is,
so that the index can stand before the frames, and to give the file piece by piece, to be sealed
again. Never more of
it is in memory than some seconds. Blocks, so it belongs into a thread; loads no media library.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from recordings.recorderwords import GapReason
from recordings.tapes import TapeKey, read_tape
from recordings.vault import SealBroken
from recordings.webm import (
    AUDIO,
    CLUSTER,
    TAGS,
    VIDEO,
    Block,
    Cue,
    NotWebm,
    Shape,
    blocks_of,
    cluster,
    kind_of,
    picture_size,
    whole_head,
    words_of,
)

WORD_SHIFT: Final = "VIDEO_SHIFT_MS"
"""By how much the pictures before this word are to be moved, back to the last :data:`WORD_GAP`."""
WORD_GAP: Final = "GAP"
"""Why nothing is there between what stands before and what comes."""
WORD_END: Final = "END"
"""The tape was closed."""
LONGEST_SILENCE_MS: Final = 1000
"""More without any frame is a gap."""
_FRAME_MS: Final = {AUDIO: 20, VIDEO: 33}
_CLUSTER_MS: Final = 5000
_CLUSTER_BYTES: Final = 4 * 2**20
_HORIZON_MS: Final = 2000
"""Pictures that were asked for again come so much later than the sound of their time."""

Item = Block | GapReason | None
"""A frame, a reason for what is missing before the next one, or the end of the tape."""


@dataclass(slots=True)
class Figures:
    """What a track holds, frame by frame in their order."""

    duration_ms: int = 0
    frames: int = 0
    packets: int = 0
    gaps: list[tuple[int, int, GapReason]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    is_cut: bool = True
    _reason: GapReason | None = None

    def add(self, item: Item) -> None:
        if item is None:
            self.is_cut = False
        elif isinstance(item, GapReason):
            self._reason = self._reason or item
        else:
            self._count(item)

    def _count(self, block: Block) -> None:
        silence = block.time - self.duration_ms
        if self._reason is not None or silence > LONGEST_SILENCE_MS:
            until = max(block.time, self.duration_ms)
            self.gaps.append((self.duration_ms, until, self._reason or GapReason.LOST))
            self._reason = None
        self.duration_ms = max(self.duration_ms, block.time + _FRAME_MS[block.track])
        if block.track == AUDIO:
            self.packets += 1
            return
        self.frames += 1
        if block.is_key:
            width, height = picture_size(block.data) or (0, 0)
            known = self.size or (0, 0)
            self.size = (max(width, known[0]), max(height, known[1]))


class Finished:
    """The file of one tape. ``figures`` and ``size`` are there from the start.

    :raises FileNotFoundError: there is no such tape.
    :raises SealBroken: it is not what was written.
    """

    def __init__(self, folder: Path, track: str, key: TapeKey) -> None:
        self._folder = folder
        self._track = track
        self._key = key
        self._shifts = self._find_shifts()
        self.figures = Figures()
        cues: list[Cue] = []
        bytes_so_far = 0
        for blocks in _clusters(self._follow(self.figures)):
            first = blocks[0]
            if first.is_key:
                cues.append(Cue(first.time, first.track, bytes_so_far))
            bytes_so_far += len(cluster(blocks))
        figures = self.figures
        if figures.is_cut:
            figures.gaps.append((figures.duration_ms, figures.duration_ms, GapReason.CUT))
        if figures.frames:
            cues = [cue for cue in cues if cue.track == VIDEO]
        shape = Shape(figures.size if figures.frames else None, figures.packets > 0)
        self._head = whole_head(shape, figures.duration_ms, cues, bytes_so_far)
        self.size = len(self._head) + bytes_so_far

    @property
    def is_empty(self) -> bool:
        """Nothing was kept before the end came."""
        return self.figures.frames + self.figures.packets == 0

    def pieces(self) -> Iterator[bytes]:
        """The whole file."""
        yield self._head
        for blocks in _clusters(self._follow(Figures())):
            yield cluster(blocks)

    def _follow(self, figures: Figures) -> Iterator[Block]:
        for item in _in_order(self._items()):
            figures.add(item)
            if isinstance(item, Block):
                yield item

    def _items(self) -> Iterator[Item]:
        shifts = iter(self._shifts)
        shift = next(shifts)
        for record in self._records():
            if kind_of(record) == CLUSTER:
                for block in blocks_of(record):
                    is_moved = shift != 0 and block.track == VIDEO
                    yield replace(block, time=max(0, block.time + shift)) if is_moved else block
            for name, text in _words(record):
                if name == WORD_GAP:
                    shift = next(shifts)
                    yield GapReason(text)
                elif name == WORD_SHIFT:
                    shift = 0
                elif name == WORD_END:
                    yield None

    def _find_shifts(self) -> list[int]:
        """Of each stretch between gaps."""
        found = [0]
        for record in self._records():
            for name, text in _words(record):
                if name == WORD_GAP:
                    found.append(0)
                elif name == WORD_SHIFT:
                    found[-1] = int(text)
        return found

    def _records(self) -> Iterator[bytes]:
        try:
            yield from read_tape(self._folder, self._track, self._key)
        except NotWebm as error:
            raise SealBroken from error


def _words(record: bytes) -> Iterator[tuple[str, str]]:
    return words_of(record) if kind_of(record) == TAGS else iter(())


def _in_order(items: Iterator[Item]) -> Iterator[Item]:
    """Frames by their time, none earlier than the one before it; over a gap none is moved."""
    order = _Order()
    for item in items:
        if isinstance(item, Block):
            yield from order.take(item)
        else:
            yield from order.empty()
            yield item
    yield from order.empty()


class _Order:
    """Frames that wait for earlier ones."""

    def __init__(self) -> None:
        self._waiting: list[Block] = []
        self._last = 0
        self._last_of = {AUDIO: -1, VIDEO: -1}

    def take(self, block: Block) -> Iterator[Block]:
        self._waiting.append(block)
        if block.time - self._waiting[0].time < 2 * _HORIZON_MS:
            return
        self._waiting.sort(key=_time)
        ready = bisect_left(self._waiting, block.time - _HORIZON_MS, key=_time)
        yield from self._give(self._waiting[:ready])
        del self._waiting[:ready]

    def empty(self) -> Iterator[Block]:
        yield from self._give(sorted(self._waiting, key=_time))
        self._waiting.clear()

    def _give(self, blocks: list[Block]) -> Iterator[Block]:
        for block in blocks:
            at = max(block.time, self._last, self._last_of[block.track] + 1)
            self._last = self._last_of[block.track] = at
            yield block if at == block.time else replace(block, time=at)


def _time(block: Block) -> int:
    return block.time


def _clusters(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    """A whole picture begins one, and so do five seconds without."""
    gathered: list[Block] = []
    size = 0
    for block in blocks:
        is_full = gathered and (
            block.time - gathered[0].time >= _CLUSTER_MS or size >= _CLUSTER_BYTES
        )
        if gathered and (is_full or (block.is_key and block.track == VIDEO)):
            yield gathered
            gathered, size = [], 0
        gathered.append(block)
        size += len(block.data)
    if gathered:
        yield gathered
