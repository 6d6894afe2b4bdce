"""The derived secrets of the join link and the phases of its life."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.joinlink import (
    CODE_LENGTH,
    SECRET_LENGTH,
    LinkPhase,
    derive_device_code,
    derive_link,
    is_complete_code,
    is_complete_fragment,
    link_phase,
    normalise,
)
from server.models import Appointment, AppointmentStatus, Visit, VisitState
from server.models.ids import CROCKFORD

KEY = bytes(range(32))
START = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)


def visit_and_appointment(
    state: VisitState = VisitState.BOOKED, status: AppointmentStatus = AppointmentStatus.BOOKED
) -> tuple[Visit, Appointment]:
    appointment = Appointment(start=START, end=START + timedelta(minutes=30), status=status)
    return Visit(state=state), appointment


def test_link_has_the_lengths_of_the_design() -> None:
    link = derive_link(KEY, "visit", 1)

    assert (len(link.secret), len(link.code)) == (SECRET_LENGTH, CODE_LENGTH)
    assert set(link.fragment + link.code) <= set(CROCKFORD)
    assert is_complete_fragment(link.fragment)
    assert link.spoken_code == f"{link.code[:4]}-{link.code[4:]}".upper()


def test_device_code_has_six_digits_and_each_issue_its_own() -> None:
    issues = [START + timedelta(seconds=number) for number in range(200)]

    codes = [derive_device_code(KEY, "visit", issue) for issue in issues]

    assert all(len(code) == 6 and code.isdigit() for code in codes)
    assert len(set(codes)) > 190
    assert derive_device_code(KEY, "other", START) != codes[0]
    assert derive_device_code(bytes(32), "visit", START) != codes[0]


def test_device_code_is_the_same_from_a_text_of_its_issue() -> None:
    issue = START.replace(microsecond=123456)
    read_back = datetime.fromisoformat(issue.isoformat(timespec="seconds"))

    assert derive_device_code(KEY, "visit", read_back) == derive_device_code(KEY, "visit", issue)


def test_every_part_changes_the_link() -> None:
    links = {
        derive_link(key, visit, version, role).secret
        for key in (KEY, bytes(32))
        for visit in ("one", "two")
        for version in (1, 2)
        for role in ("patient", "caregiver")
    }

    assert len(links) == 16


def test_code_is_not_a_part_of_the_secret() -> None:
    link = derive_link(KEY, "visit", 1)

    assert link.code not in link.secret


@given(
    place=st.integers(0, SECRET_LENGTH - 1), other=st.sampled_from(CROCKFORD), visit=st.text("ab")
)
def test_check_character_finds_most_mistyped_letters(place: int, other: str, visit: str) -> None:
    fragment = derive_link(KEY, visit, 1).fragment
    changed = fragment[:place] + other + fragment[place + 1 :]
    distance = abs(CROCKFORD.index(other) - CROCKFORD.index(fragment[place]))

    assert is_complete_fragment(changed) == (distance in (0, 31))


@given(length=st.integers(0, SECRET_LENGTH))
def test_a_cut_link_is_incomplete(length: int) -> None:
    fragment = derive_link(KEY, "visit", 1).fragment

    assert not is_complete_fragment(fragment[:length])


@pytest.mark.parametrize("typed", ["7k2m-9xqp", "7K2M 9XQP", "7k2m9xqp.", " 7K2M-9XQP ) "])
def test_spoken_code_may_be_typed_in_many_ways(typed: str) -> None:
    assert normalise(typed) == "7k2m9xqp"
    assert is_complete_code(normalise(typed))


def test_look_alike_letters_are_read_as_digits() -> None:
    assert normalise("OoIiLl") == "001111"


@pytest.mark.parametrize(
    ("state", "before_start", "phase"),
    [
        (VisitState.BOOKED, timedelta(days=10), LinkPhase.EARLY),
        (VisitState.BOOKED, timedelta(hours=24, seconds=1), LinkPhase.EARLY),
        (VisitState.BOOKED, timedelta(hours=24), LinkPhase.CHECK_IN),
        (VisitState.CHECKED_IN, timedelta(minutes=30, seconds=1), LinkPhase.CHECK_IN),
        (VisitState.CHECKED_IN, timedelta(minutes=30), LinkPhase.ROOM),
        (VisitState.WAITING, timedelta(hours=-2), LinkPhase.ROOM),
        (VisitState.BOOKED, timedelta(hours=-2, minutes=-30), LinkPhase.REPORT),
        (VisitState.IN_VISIT, timedelta(hours=-5), LinkPhase.ROOM),
        (VisitState.ENDED, timedelta(minutes=-5), LinkPhase.REPORT),
        (VisitState.ENDED, timedelta(days=-44), LinkPhase.REPORT),
        (VisitState.ENDED, timedelta(days=-46), LinkPhase.EXPIRED),
        (VisitState.BOOKED, timedelta(days=-46), LinkPhase.EXPIRED),
        (VisitState.CANCELLED, timedelta(days=1), LinkPhase.DEAD),
    ],
)
def test_phase_follows_the_appointment(
    state: VisitState, before_start: timedelta, phase: LinkPhase
) -> None:
    visit, appointment = visit_and_appointment(state)

    assert link_phase(visit, appointment, START - before_start) is phase


def test_a_booking_cancelled_by_cup_is_dead() -> None:
    visit, appointment = visit_and_appointment(status=AppointmentStatus.CANCELLED)

    assert link_phase(visit, appointment, START) is LinkPhase.DEAD


def test_a_moved_appointment_moves_the_window() -> None:
    visit, appointment = visit_and_appointment()
    now = START - timedelta(minutes=10)
    assert link_phase(visit, appointment, now) is LinkPhase.ROOM

    appointment.start += timedelta(days=7)
    appointment.end += timedelta(days=7)

    assert link_phase(visit, appointment, now) is LinkPhase.EARLY
