"""Days of notice and reminders: around holidays, patron saints and both changes of the hour."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.i18n import ROME
from server.mail.calendar import (
    NoticeRules,
    ReminderKind,
    cancel_deadline,
    is_late,
    is_working_day,
    planning_horizon,
    reminder_times,
)
from server.models import NoticeRule

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NATIONAL = NoticeRules()
MILAN = NoticeRules(province="MI")
FLORENCE = NoticeRules(province="FI")
BOLOGNA = NoticeRules(province="BO")
ROME_PROVINCE = NoticeRules(province="RM")
VENETO = NoticeRules(days=4, province="VE")
BOLZANO = NoticeRules(rule=NoticeRule.SOLAR_DAYS, province="BZ")


def in_rome(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ROME)


def said(moment: datetime) -> str:
    return f"{moment.astimezone(ROME):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("day", "province", "is_working"),
    [
        ("2026-11-26", "", True),
        ("2026-11-28", "", False),
        ("2026-04-06", "", False),  # Easter Monday
        ("2027-03-29", "", False),  # Easter Monday
        ("2027-06-02", "", False),
        ("2026-12-08", "", False),
        ("2026-12-07", "", True),
        ("2026-12-07", "MI", False),  # Sant'Ambrogio
        ("2026-12-07", "FI", True),
        ("2026-06-24", "FI", False),  # San Giovanni
        ("2027-10-04", "BO", False),  # San Petronio
        ("2026-06-29", "RM", False),  # Santi Pietro e Paolo
        ("2026-06-29", "XX", True),
    ],
)
def test_working_days_know_the_holidays_and_the_patron(
    day: str, province: str, *, is_working: bool
) -> None:
    assert is_working_day(date.fromisoformat(day), province) is is_working


@pytest.mark.parametrize(
    ("start", "rules", "deadline"),
    [
        pytest.param("2026-11-26 10:40", NATIONAL, "2026-11-25 00:00", id="plain Thursday"),
        pytest.param("2026-11-30 10:40", NATIONAL, "2026-11-27 00:00", id="Monday"),
        pytest.param("2028-04-26 09:00", NATIONAL, "2028-04-22 00:00", id="25 April in between"),
        pytest.param("2025-04-28 09:00", NATIONAL, "2025-04-24 00:00", id="25 April, a Friday"),
        pytest.param("2026-04-08 09:00", NATIONAL, "2026-04-04 00:00", id="Easter Monday"),
        pytest.param("2026-06-03 09:00", NATIONAL, "2026-05-30 00:00", id="2 June, bridge"),
        pytest.param("2026-12-28 09:00", NATIONAL, "2026-12-24 00:00", id="Christmas"),
        pytest.param("2026-12-09 09:00", NATIONAL, "2026-12-05 00:00", id="Immacolata"),
        pytest.param("2026-12-09 09:00", MILAN, "2026-12-04 00:00", id="Sant'Ambrogio"),
        pytest.param("2026-06-25 09:00", FLORENCE, "2026-06-23 00:00", id="San Giovanni"),
        pytest.param("2026-06-25 09:00", BOLOGNA, "2026-06-24 00:00", id="another patron"),
        pytest.param("2026-06-30 09:00", ROME_PROVINCE, "2026-06-26 00:00", id="Pietro e Paolo"),
        pytest.param("2026-11-26 10:40", VENETO, "2026-11-21 00:00", id="four days"),
        pytest.param("2026-12-28 09:00", BOLZANO, "2026-12-27 00:00", id="solar days"),
        pytest.param("2026-03-30 09:00", NATIONAL, "2026-03-27 00:00", id="summer time begins"),
        pytest.param("2026-10-26 09:00", NATIONAL, "2026-10-23 00:00", id="summer time ends"),
    ],
)
def test_cancelling_is_in_time_until_the_end_of_the_last_day(
    start: str, rules: NoticeRules, deadline: str
) -> None:
    begins = in_rome(start)

    found = cancel_deadline(begins, rules)

    assert said(found) == deadline
    assert not is_late(found - timedelta(seconds=1), begins, rules)
    assert is_late(found, begins, rules)


@pytest.mark.parametrize(
    ("start", "rules", "reminders"),
    [
        pytest.param("2026-11-26 10:40", NATIONAL, ["11-19", "11-23"], id="plain Thursday"),
        pytest.param("2025-04-28 09:00", NATIONAL, ["04-21", "04-22"], id="25 April"),
        pytest.param("2026-06-04 09:00", NATIONAL, ["05-28", "05-29"], id="2 June"),
        pytest.param("2026-12-29 09:00", NATIONAL, ["12-22", "12-23"], id="Christmas"),
        pytest.param("2026-12-10 09:00", NATIONAL, ["12-03", "12-04"], id="Immacolata"),
        pytest.param("2026-12-10 09:00", MILAN, ["12-03"], id="Sant'Ambrogio: both on one day"),
        pytest.param("2026-12-09 09:00", MILAN, ["12-02"], id="Sant'Ambrogio, a day earlier"),
        pytest.param("2026-06-26 09:00", FLORENCE, ["06-19", "06-22"], id="San Giovanni"),
        pytest.param("2026-06-30 09:00", ROME_PROVINCE, ["06-23", "06-24"], id="Pietro e Paolo"),
        pytest.param("2026-12-29 09:00", VENETO, ["12-21"], id="a week is too late at Christmas"),
        pytest.param("2026-11-26 10:40", BOLZANO, ["11-19", "11-23"], id="solar days"),
        pytest.param("2026-04-01 09:00", NATIONAL, ["03-25", "03-27"], id="summer time begins"),
        pytest.param("2026-10-28 09:00", NATIONAL, ["10-21", "10-23"], id="summer time ends"),
    ],
)
def test_reminders_come_at_ten_in_rome(
    start: str, rules: NoticeRules, reminders: list[str]
) -> None:
    found = reminder_times(in_rome(start), LONG_AGO, rules)

    assert [said(one.at) for one in found] == [f"{start[:4]}-{day} 10:00" for day in reminders]
    assert found[-1].kind is ReminderKind.LAST


def test_no_reminder_before_or_on_the_day_of_the_invitation() -> None:
    start = in_rome("2026-11-26 10:40")

    def days_when_told(told_at: str) -> list[str]:
        found = reminder_times(start, in_rome(told_at), NATIONAL)
        return [f"{one.at:%m-%d}" for one in found]

    assert days_when_told("2026-11-18 23:59") == ["11-19", "11-23"]
    assert days_when_told("2026-11-19 00:01") == ["11-23"]
    assert days_when_told("2026-11-23 08:00") == []
    assert days_when_told("2026-11-25 12:00") == []


def test_a_reminder_is_worth_sending_until_the_next() -> None:
    start = in_rome("2026-11-26 10:40")

    week, last = reminder_times(start, LONG_AGO, NATIONAL)

    assert (week.until, last.until) == (last.at, start)


RULES = st.builds(
    NoticeRules,
    days=st.integers(0, 6),
    rule=st.sampled_from(NoticeRule),
    province=st.sampled_from(["", "MI", "FI", "BO", "RM", "VE", "NA", "TO"]),
)
STARTS = st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(STARTS, STARTS, RULES)
def test_a_reminder_always_leaves_the_whole_notice(
    start: datetime, told_at: datetime, rules: NoticeRules
) -> None:
    visit_day = start.astimezone(ROME).date()

    found = reminder_times(start, told_at, rules)

    days = [one.at.astimezone(ROME).date() for one in found]
    assert len(days) == len(set(days))
    assert days == sorted(days)
    for one, day in zip(found, days, strict=True):
        between = [day + timedelta(days=n) for n in range(1, (visit_day - day).days)]
        is_solar = rules.rule is NoticeRule.SOLAR_DAYS
        whole = [one for one in between if is_solar or is_working_day(one, rules.province)]
        assert len(whole) >= rules.days
        assert one.at.astimezone(ROME).time() == time(10)
        assert one.at > told_at
        assert one.at < one.until <= start
        assert start - one.at < planning_horizon(rules)
        assert not is_late(one.at, start, rules)


@given(STARTS, RULES)
def test_the_deadline_leaves_the_notice_and_not_a_day_more(
    start: datetime, rules: NoticeRules
) -> None:
    visit_day = start.astimezone(ROME).date()

    deadline = cancel_deadline(start, rules)

    last_day = (deadline - timedelta(seconds=1)).astimezone(ROME).date()
    span = [last_day + timedelta(days=n) for n in range((visit_day - last_day).days)]
    is_solar = rules.rule is NoticeRule.SOLAR_DAYS
    counted = [one for one in span if is_solar or is_working_day(one, rules.province)]
    assert deadline <= start
    assert len(counted) == rules.days
