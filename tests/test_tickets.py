"""Tickets and resume tokens: genuine, timely, of their kind and used once, or refused."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signaling.messages import Role
from signaling.tickets import (
    BadToken,
    UsedTickets,
    issue_resume_token,
    issue_ticket,
    parse_resume_token,
    parse_ticket,
)

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = b"k" * 32


def a_ticket(nonce: bytes = b"nonce-of-12b", now: datetime = NOW) -> str:
    return issue_ticket(
        KEY, room="visit", participant="anna", role=Role.PATIENT, now=now, nonce=nonce
    )


def a_resume_token() -> str:
    return issue_resume_token(
        KEY, room="visit", participant="anna", role=Role.PATIENT, epoch="e1", page=4, now=NOW
    )


def test_a_ticket_says_who_may_enter_where() -> None:
    claims = parse_ticket(KEY, a_ticket(), NOW)

    assert (claims.room, claims.participant, claims.role) == ("visit", "anna", Role.PATIENT)


def test_a_ticket_fits_the_wire() -> None:
    ticket = issue_ticket(
        KEY, room="r" * 64, participant="p" * 64, role=Role.CLINICIAN, now=NOW, nonce=b"n" * 12
    )

    assert len(ticket) <= 1024


@pytest.mark.parametrize(("seconds", "is_good"), [(0, True), (29, True), (30, False), (90, False)])
def test_a_ticket_lives_thirty_seconds(seconds: int, is_good: bool) -> None:
    later = NOW + timedelta(seconds=seconds)

    if is_good:
        parse_ticket(KEY, a_ticket(), later)
    else:
        with pytest.raises(BadToken):
            parse_ticket(KEY, a_ticket(), later)


def test_a_ticket_of_another_key_is_refused() -> None:
    with pytest.raises(BadToken):
        parse_ticket(b"x" * 32, a_ticket(), NOW)


def test_neither_kind_passes_for_the_other() -> None:
    with pytest.raises(BadToken):
        parse_ticket(KEY, a_resume_token(), NOW)
    with pytest.raises(BadToken):
        parse_resume_token(KEY, a_ticket(), NOW)


def test_a_resume_token_is_bound_to_its_page_and_epoch() -> None:
    claims = parse_resume_token(KEY, a_resume_token(), NOW)

    assert (claims.room, claims.participant, claims.epoch, claims.page) == (
        "visit",
        "anna",
        "e1",
        4,
    )


@settings(deadline=None)
@given(st.text(max_size=200))
def test_junk_is_refused_with_the_one_error(text: str) -> None:
    with pytest.raises(BadToken):
        parse_ticket(KEY, text, NOW)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_passes(place: int, change: int) -> None:
    body, _, mac = a_ticket().partition(".")
    raw = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    raw[place % len(raw)] ^= change
    forged = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    with pytest.raises(BadToken):
        parse_ticket(KEY, f"{forged}.{mac}", NOW)


def test_a_ticket_opens_one_socket_only() -> None:
    used = UsedTickets()
    claims = parse_ticket(KEY, a_ticket(), NOW)
    used.use(claims, NOW)

    with pytest.raises(BadToken):
        used.use(claims, NOW + timedelta(seconds=29))


def test_used_tickets_are_forgotten_when_they_expire() -> None:
    used = UsedTickets()
    for number in range(100):
        moment = NOW + timedelta(seconds=number)
        used.use(parse_ticket(KEY, a_ticket(number.to_bytes(12), moment), moment), moment)

    assert len(used) <= 31
