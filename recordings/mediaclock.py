"""When a frame was: RTP times of sound and picture on one line of milliseconds.

The sound's own clock is the line, so that it never stumbles; the picture is laid on it by the
reports in which a sender says what its clock showed at an RTP time of each (RFC 3550 §6.4.1). Until
both have reported, and where there is no sound, the moment counts in which the first packet came.
Pure: times are given.
"""

from __future__ import annotations

from typing import Final

from recordings.encoded import EncodedFrame, SenderReport

RATES: Final = {"audio": 48_000, "video": 90_000}
_STEP_MS: Final = 300.0
"""A sender that paused may count on from where it stopped; its reports then tell of a step."""
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
        self.report: SenderReport | None = None

    def place(self, rtp: int, came_ms: float) -> float:
        """Where a frame stands whose first packet came at ``came_ms``."""
        at = self.find(rtp)
        if at is None or abs(came_ms - at) > _LOST_MS:
            at = came_ms
            self.report = None
        self._at = (rtp, at)
        return at

    def hear(self, report: SenderReport) -> None:
        """Takes a report; makes the step that it tells of."""
        before, self.report = self.report, report
        if before is not None:
            counted_ms = _signed(report.rtp - before.rtp) / self._per_ms
            step_ms = (report.ntp - before.ntp) * 1000 - counted_ms
            if abs(step_ms) > _STEP_MS:
                self.shift(step_ms)

    def find(self, rtp: int) -> float | None:
        """Where an RTP time stands; None before the first frame."""
        if self._at is None:
            return None
        known, at = self._at
        return at + _signed(rtp - known) / self._per_ms

    def find_rtp(self, ntp: float) -> int | None:
        """The RTP time at which the sender's clock shows ``ntp``; None before its report."""
        if self.report is None:
            return None
        return round(self.report.rtp + (ntp - self.report.ntp) * 1000 * self._per_ms)

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
        if video.report is None:
            return 0.0
        heard = audio.find_rtp(video.report.ntp)
        should = None if heard is None else audio.find(heard)
        stands = video.find(video.report.rtp)
        if should is None or stands is None:
            return 0.0
        if not _LEAST_SHIFT_MS <= abs(should - stands) <= _MOST_SHIFT_MS:
            return 0.0
        video.shift(should - stands)
        return should - stands


def _signed(difference: int) -> int:
    """Of two RTP times, which have 32 bits."""
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)
