"""When a frame was: RTP times of sound and picture on one line of milliseconds.

The sound's own clock is the line, so that it never stumbles; the picture is laid on it by the
reports in which a sender says what its clock showed at an RTP time of each (RFC 3550 §6.4.1). Until
both have reported, and where there is no sound, the moment counts in which the first packet came.
Pure: times are given.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from recordings.encoded import EncodedFrame, SenderReport

RATES: Final = {"audio": 48_000, "video": 90_000}
_STEP_MS: Final = 300.0
_STEP_REPORTS: Final = 3
"""A sender that paused may count on from where it stopped; so many reports then tell of a step."""
_REPORTS: Final = 8
_LOST_MS: Final = 10_000.0
"""No line holds packets back for so long: these are other times."""
_LEAST_SHIFT_MS: Final = 5.0
_MOST_SHIFT_MS: Final = 5000.0


class MediaClock:
    """The RTP times of one kind of media."""

    def __init__(self, rate: int) -> None:
        self._per_ms = rate / 1000
        self._at: tuple[int, float] | None = None
        """An RTP time and its place on the line."""
        self._report: SenderReport | None = None
        self._counted_ms = 0.0
        """How far the RTP time had come at the last report."""
        self._leads: deque[float] = deque(maxlen=_REPORTS)
        """By how much the sender's clock leads the RTP time, by each of the last reports."""

    def place(self, rtp: int, came_ms: float) -> float:
        """Where a frame stands whose first packet came at ``came_ms``."""
        at = self.find(rtp)
        if at is None or abs(came_ms - at) > _LOST_MS:
            at = came_ms
            self._leads.clear()
        self._at = (rtp, at)
        return at

    def hear(self, report: SenderReport) -> None:
        """Takes a report; makes the step that the last ones tell of."""
        if self._report is not None:
            self._counted_ms += _signed(report.rtp - self._report.rtp) / self._per_ms
        self._report = report
        self._leads.append(report.ntp * 1000 - self._counted_ms)
        before = list(self._leads)[:-_STEP_REPORTS]
        if before:
            step_ms = min(list(self._leads)[-_STEP_REPORTS:]) - min(before)
            if abs(step_ms) > _STEP_MS:
                self.shift(step_ms)
                for _ in before:
                    self._leads.popleft()

    @property
    def heard_at(self) -> float | None:
        """What the sender's clock showed at the last report, in milliseconds."""
        return self._report.ntp * 1000 if self._report is not None and self._leads else None

    def find_moment(self, ntp_ms: float) -> float | None:
        """Where the moment stands at which the sender's clock shows ``ntp_ms``; None before its
        first report. A sender with much to do reports late, never early: the least lead counts."""
        if self._report is None or not self._leads:
            return None
        ahead_ms = ntp_ms - min(self._leads) - self._counted_ms
        return self.find(self._report.rtp + round(ahead_ms * self._per_ms))

    def find(self, rtp: int) -> float | None:
        """Where an RTP time stands; None before the first frame."""
        if self._at is None:
            return None
        known, at = self._at
        return at + _signed(rtp - known) / self._per_ms

    def shift(self, by_ms: float) -> None:
        if self._at is not None:
            self._at = (self._at[0], self._at[1] + by_ms)


class Timeline:
    """Sound and picture of one connection, in milliseconds since ``origin`` (of the clock of
    :func:`time.monotonic`)."""

    def __init__(self, origin: float) -> None:
        self._origin = origin
        self._clocks = {kind: MediaClock(rate) for kind, rate in RATES.items()}

    def place(self, kind: str, frame: EncodedFrame) -> float:
        return self._clocks[kind].place(frame.rtp, (frame.came_at - self._origin) * 1000)

    def hear(self, kind: str, report: SenderReport) -> float:
        """Takes a report; by how many milliseconds pictures stand elsewhere from here on."""
        self._clocks[kind].hear(report)
        audio, video = self._clocks["audio"], self._clocks["video"]
        moment = video.heard_at
        if moment is None:
            return 0.0
        should, stands = audio.find_moment(moment), video.find_moment(moment)
        if should is None or stands is None:
            return 0.0
        if not _LEAST_SHIFT_MS <= abs(should - stands) <= _MOST_SHIFT_MS:
            return 0.0
        video.shift(should - stands)
        return should - stands


def _signed(difference: int) -> int:
    """Of two RTP times, which have 32 bits."""
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)
