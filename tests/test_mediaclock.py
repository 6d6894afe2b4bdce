"""Where sound and picture stand on one line, by what their sender says of its clock."""

from __future__ import annotations

import pytest

from recordings.encoded import EncodedFrame, SenderReport
from recordings.mediaclock import MediaClock, Timeline

ORIGIN = 1000.0
NTP = 3_900_000_000.0
"""What the sender's clock shows at :data:`ORIGIN`; it counts from elsewhere."""
FIRST_SOUND, FIRST_PICTURE = 4_294_900_000, 77_000
"""RTP times begin anywhere; that of the sound soon begins anew."""


def sound(at: float, late: float = 0.05) -> EncodedFrame:
    return EncodedFrame((FIRST_SOUND + round(at * 48_000)) % 2**32, ORIGIN + at + late, b"s")


def picture(at: float, late: float = 0.05) -> EncodedFrame:
    return EncodedFrame((FIRST_PICTURE + round(at * 90_000)) % 2**32, ORIGIN + at + late, b"p")


def report(kind: str, at: float) -> SenderReport:
    frame = sound(at) if kind == "audio" else picture(at)
    return SenderReport(NTP + at, frame.rtp)


def test_without_reports_the_first_packets_say_where_each_stands() -> None:
    line = Timeline(ORIGIN)

    assert line.place("audio", sound(0.0)) == pytest.approx(50)
    assert line.place("video", picture(0.1, late=0.15)) == pytest.approx(250)
    assert line.place("audio", sound(0.02, late=0.4)) == pytest.approx(70), "jitter moves nothing"


def test_reports_lay_the_picture_on_the_sound() -> None:
    line = Timeline(ORIGIN)
    line.place("audio", sound(0.0))
    line.place("video", picture(0.0, late=0.17))

    assert line.hear("audio", report("audio", 0.5)) == 0
    assert line.hear("video", report("video", 0.6)) == pytest.approx(-120, abs=1)
    assert line.place("video", picture(1.0, late=0.3)) == pytest.approx(1050, abs=1)
    assert line.place("audio", sound(1.0)) == pytest.approx(1050, abs=1)


def test_a_sound_card_that_runs_slow_takes_the_picture_with_it() -> None:
    """200 millionths: 0.7 s in an hour."""
    line = Timeline(ORIGIN)
    slow = 1 - 200e-6
    for second in range(3600):
        heard = round(FIRST_SOUND + second * 48_000 * slow) % 2**32
        at = line.place("audio", EncodedFrame(heard, ORIGIN + second, b"s"))
        shown = line.place("video", picture(second))
        line.hear("audio", SenderReport(NTP + second, heard))
        line.hear("video", report("video", second))
        if second > 10:
            assert abs(shown - at) < 10


def test_times_of_32_bits_begin_anew_without_a_step() -> None:
    line = Timeline(ORIGIN)
    before = line.place("audio", sound(0.0))

    assert [round(line.place("audio", sound(at)) - before) for at in (1, 2, 3)] == [
        1000,
        2000,
        3000,
    ]


def test_a_clock_that_stood_still_in_a_pause_is_put_right_by_the_next_reports() -> None:
    clock = MediaClock(48_000)
    clock.place(0, 0.0)
    clock.hear(SenderReport(NTP, 0))
    for second in (1, 2, 3):
        clock.place(second * 48_000, 3000.0 + second * 1000)
        clock.hear(SenderReport(NTP + 3 + second, second * 48_000))

    assert clock.place(3 * 48_000 + 960, 6020.0) == pytest.approx(6020)


def test_a_report_that_is_late_moves_nothing() -> None:
    line = Timeline(ORIGIN)
    line.place("audio", sound(0.0))
    line.place("video", picture(0.0))
    moved = 0.0
    for second, late in enumerate((0, 0.15, 0.4, 0, 0.2, 0.1, 0.3)):
        moved += abs(line.hear("audio", report("audio", second)))
        honest = report("video", second)
        moved += abs(line.hear("video", SenderReport(honest.ntp + late, honest.rtp)))

    assert moved == 0


def test_times_of_another_clock_begin_where_they_came() -> None:
    clock = MediaClock(90_000)
    clock.place(0, 0.0)

    assert clock.place(90_000 * 3000, 60_000.0) == 60_000
