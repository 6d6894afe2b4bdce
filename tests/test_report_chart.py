"""The chart of a visit: an image that is always there, always the same, and true to the session."""

from __future__ import annotations

import io
import math
from datetime import timedelta

import msgspec
import pytest
from PIL import Image

from server.report.chart import draw_chart
from server.report.content import Attendance, Presence, Session
from tests.reports import BEGAN, ENDED, SESSION

PRESENT = (0, 89, 179)
BREAK = (179, 38, 30)


def opened(session: Session) -> Image.Image:
    return Image.open(io.BytesIO(draw_chart(session))).convert("RGB")


def share_of(image: Image.Image, row: int, colour: tuple[int, int, int]) -> float:
    """How much of a row of bars has a colour."""
    line = image.crop((210, row, 931, row + 1))
    near = [count for count, pixel in line.getcolors() if math.dist(pixel, colour) < 30]
    return sum(near) / line.width


def test_the_same_session_makes_the_same_small_image() -> None:
    first = draw_chart(SESSION)

    assert first == draw_chart(msgspec.structs.replace(SESSION))
    assert len(first) < 30_000


def test_bars_are_as_long_as_people_were_there() -> None:
    half = BEGAN + (ENDED - BEGAN) / 2
    session = Session(
        began_at=BEGAN,
        ended_at=ENDED,
        outcome=SESSION.outcome,
        attendance=[
            Attendance(who=Presence.PATIENT, intervals=[(BEGAN, half)]),
            Attendance(who=Presence.CLINICIAN, intervals=[(BEGAN, ENDED)]),
        ],
        breaks=[(half, (ENDED - half).total_seconds())],
    )

    image = opened(session)

    assert share_of(image, 65, PRESENT) == pytest.approx(0.5, abs=0.02)
    assert share_of(image, 103, PRESENT) == pytest.approx(1.0, abs=0.02)
    assert share_of(image, 141, BREAK) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("seconds", [0, 1, 59, 3600, 30 * 3600, 40 * 86400])
def test_visits_of_any_length_can_be_drawn(seconds: int) -> None:
    end = BEGAN + timedelta(seconds=seconds)
    session = msgspec.structs.replace(
        SESSION,
        ended_at=end,
        attendance=[Attendance(who=who, intervals=[(BEGAN, end)]) for who in Presence],
    )

    assert opened(session).width == 960


def test_a_session_of_which_nothing_is_known_is_an_image_too() -> None:
    session = Session(began_at=BEGAN, ended_at=ENDED, outcome=SESSION.outcome)

    assert opened(session).height > 100
