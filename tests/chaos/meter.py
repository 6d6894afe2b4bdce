"""Reads what ``meter.js`` kept in a page, and the arithmetic over it. Times: Unix milliseconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from tests.browser.actors import Person

SCRIPT: Final = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
BACK: Final = (2, 4000)
"""A picture is back from the first frame that has so many behind it in so many milliseconds: the
poorest that is sent on purpose has one a second."""
FULL: Final = (8, 2000)
"""And it is in full motion from here on."""
_LOOK_SECONDS: Final = 0.2


_READ_JS: Final = """(since) => {
  const { frames, voice, turns } = window.meter;
  return {
    frames: frames.filter((at) => at > since),
    voice: voice.filter(([at]) => at > since),
    turns: turns.filter(([at]) => at > since),
  };
}"""


def now_ms() -> float:
    return time.time() * 1000


class Page(Protocol):
    """A page of any browser."""

    async def evaluate(self, expression: str, arg: Any = None) -> Any: ...


class Voice(NamedTuple):
    """The sound that has come until ``at_ms``, over all connections of the page."""

    at_ms: float
    packets: float
    samples: float
    concealed: float
    """Samples invented for ones that did not come, silence aside."""
    energy: float
    picture_bytes: float
    lost: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What one page saw and heard."""

    frames: Sequence[float]
    voice: Sequence[Voice]
    turns: Sequence[tuple[float, str]]

    def longest_gap_ms(self, start_ms: float, end_ms: float) -> float:
        """The longest time without a new frame that overlaps with this one."""
        before = max((at for at in self.frames if at <= start_ms), default=start_ms)
        inside = [at for at in self.frames if start_ms < at < end_ms]
        return max(later - sooner for sooner, later in pairwise([before, *inside, end_ms]))

    def longest_silence_ms(self, start_ms: float, end_ms: float) -> float:
        """The longest time without a packet of sound, to a tenth of a second."""
        heard = [later.at_ms for sooner, later in pairwise(self.voice)
                 if later.packets > sooner.packets and start_ms < later.at_ms < end_ms]  # fmt: skip
        return max(later - sooner for sooner, later in pairwise([start_ms, *heard, end_ms]))

    def find_picture(self, start_ms: float, flow: tuple[int, float] = BACK) -> float | None:
        """When the picture came after a moment, if it has."""
        more, within_ms = flow
        after = [at for at in self.frames if at > start_ms]
        for first, last in zip(after, after[more:], strict=False):
            if last - first < within_ms:
                return first
        return None

    def find_voice(self, start_ms: float) -> float | None:
        """When the first sound came after a moment, if it has, to a tenth of a second."""
        for sooner, later in pairwise(self.voice):
            if sooner.at_ms >= start_ms and later.packets > sooner.packets:
                return later.at_ms
        return None

    def between(self, start_ms: float, end_ms: float) -> Voice:
        """What came between two moments."""
        inside = [one for one in self.voice if start_ms <= one.at_ms <= end_ms]
        first, last = inside[0], inside[-1]
        return Voice(*(late - early for early, late in zip(first, last, strict=True)))

    def concealment(self, start_ms: float, end_ms: float) -> float:
        """Share of the sound that was invented."""
        came = self.between(start_ms, end_ms)
        return came.concealed / came.samples if came.samples else 1.0

    def frames_per_second(self, start_ms: float, end_ms: float) -> float:
        inside = [at for at in self.frames if start_ms < at < end_ms]
        return len(inside) * 1000 / (end_ms - start_ms)

    def turns_since(self, start_ms: float) -> list[str]:
        """What the page's connections and sockets did, with the seconds since a moment."""
        return [f"{(at - start_ms) / 1000:+.1f} {what}" for at, what in self.turns if at > start_ms]


async def attach(person: Person) -> None:
    """Meter every page that this person opens from now on."""
    await person.page.context.add_init_script(SCRIPT)


async def read(page: Page, since_ms: float) -> Reading:
    """What happened since a moment, and in the second before."""
    kept = await page.evaluate(_READ_JS, since_ms - 1000)
    return Reading(
        kept["frames"],
        [Voice(*one) for one in kept["voice"]],
        [(at, what) for at, what in kept["turns"]],
    )


async def wait_for_flow(page: Page, start_ms: float, *, within_seconds: float) -> bool:
    """Wait until a moving picture and sound have come after a moment; returns whether they have."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        reading = await read(page, start_ms)
        if reading.find_picture(start_ms, FULL) and reading.find_voice(start_ms):
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False
