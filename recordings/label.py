"""Where a track belongs in its recording, at the front of its tape: who began it may die before
anybody has written that down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from recordings.tapes import TapeKey, read_tape
from recordings.webm import CLUSTER, TAGS, kind_of, words_of

WORD_TRACK: Final = "TRACK"
"""Part, offset and participant."""


@dataclass(frozen=True, slots=True)
class Label:
    """``part`` and ``offset_ms`` as in ``recorderwords.TrackBegan``."""

    participant: str
    part: int
    offset_ms: int

    def text(self) -> str:
        return f"{self.part} {self.offset_ms} {self.participant}"

    @classmethod
    def of(cls, text: str) -> Label:
        part, offset_ms, participant = text.split(" ", 2)
        return cls(participant, int(part), int(offset_ms))


def read_label(folder: Path, track: str, key: TapeKey) -> Label | None:
    """None: no frame was kept.

    :raises FileNotFoundError: there is no such tape.
    :raises SealBroken: it is not what was written.
    """
    found = (text for name, text in _first_words(folder, track, key) if name == WORD_TRACK)
    text = next(found, None)
    return Label.of(text) if text is not None else None


def _first_words(folder: Path, track: str, key: TapeKey) -> Iterator[tuple[str, str]]:
    """Before the first frame."""
    for record in takewhile(_has_no_frame, read_tape(folder, track, key)):
        if kind_of(record) == TAGS:
            yield from words_of(record)


def _has_no_frame(record: bytes) -> bool:
    return kind_of(record) != CLUSTER
