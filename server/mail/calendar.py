"""Until when a patient may still cancel, and when we remind her: pure rules of days.

Source: DL 73/2024 (conv. L. 107/2024) art. 3 c. 5: the reminder is there so that confirming or
cancelling happens «almeno due giorni lavorativi prima dell'erogazione della prestazione». Regions
count differently (Veneto: four working days, DGR 626/2024; Bolzano: two solar days), so days and
rule belong to the organisation. A *working day* is Monday to Friday without the national holidays
and without the patron saint of the organisation's province (DGR 626/2024 counts so).

A day is *N working days before* the appointment when N working days begin with it and end with
the eve. With N = 2 and a visit on Thursday that is Tuesday: Tuesday evening is in time, Wednesday
is late. All days are days of Europe/Rome.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from holidays import HolidayBase, country_holidays

from server.i18n import ROME
from server.models import NoticeRule, Organisation

_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_REMINDER_TIME: Final = time(10)
_MOST_HOLIDAYS_IN_A_ROW: Final = timedelta(days=10)
"""More than the longest chain of weekends and holidays that the calendar can make."""


@dataclass(frozen=True, slots=True)
class NoticeRules:
    """How an organisation counts the days before a visit."""

    days: int = 2
    rule: NoticeRule = NoticeRule.WORKING_DAYS
    province: str = ""


class ReminderKind(StrEnum):
    WEEK = "week"
    """Seven days before."""
    LAST = "last"
    """The last day that leaves all the days of notice whole."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """One reminder; ``until`` is when it is no longer worth sending."""

    kind: ReminderKind
    at: datetime
    until: datetime


def rules_of(organisation: Organisation) -> NoticeRules:
    return NoticeRules(
        organisation.notice_days, organisation.notice_rule, organisation.province.upper()
    )


def is_province(code: str) -> bool:
    """Whether the patron saint of this province is known (``MI``, ``FI``…)."""
    return code in _holidays("").subdivisions


def is_working_day(day: date, province: str = "") -> bool:
    """Monday to Friday, no national holiday and not the patron's; an unknown province has none."""
    return day.weekday() < 5 and day not in _holidays(province if is_province(province) else "")


def cancel_deadline(start: datetime, rules: NoticeRules) -> datetime:
    """The instant from which a cancellation is late: the end (24:00 in Rome) of the last day that
    is at least ``rules.days`` days before the day of the visit, and never after its start."""
    last_day = _days_before(_rome_day(start), rules.days, rules)
    return min(_instant(last_day + _DAY, time(0)), start.astimezone(UTC))


def is_late(now: datetime, start: datetime, rules: NoticeRules) -> bool:
    """Whether cancelling now is late."""
    return now >= cancel_deadline(start, rules)


def reminder_times(start: datetime, told_at: datetime, rules: NoticeRules) -> list[Reminder]:
    """The reminders of a visit whose invitation goes out at ``told_at``, in their order.

    At 10:00 in Rome seven days before, and on the day that is one (working) day more than the
    notice before the visit: between a reminder's day and the visit's there are always at least
    ``rules.days`` whole days on which cancelling would be counted, and the first of them is still
    in time to the last minute. A reminder that would come later than that, on the day of another
    or not after the day of the invitation is left out: the invitation itself says what is possible.
    """
    day = _rome_day(start)
    last_day = _days_before(day, rules.days + 1, rules)
    last = Reminder(ReminderKind.LAST, _instant(last_day, _REMINDER_TIME), start)
    week = Reminder(ReminderKind.WEEK, _instant(day - _WEEK, _REMINDER_TIME), last.at)
    planned = [week, last] if day - _WEEK < last_day else [last]
    return [one for one in planned if _rome_day(one.at) > _rome_day(told_at)]


def planning_horizon(rules: NoticeRules) -> timedelta:
    """How long before a visit its first reminder can be, generously."""
    return 2 * (rules.days + 1) * _DAY + _WEEK + _MOST_HOLIDAYS_IN_A_ROW


def _days_before(day: date, count: int, rules: NoticeRules) -> date:
    if rules.rule is NoticeRule.SOLAR_DAYS:
        return day - count * _DAY
    while count:
        day -= _DAY
        count -= is_working_day(day, rules.province)
    return day


@lru_cache(maxsize=256)
def _holidays(province: str) -> HolidayBase:
    return country_holidays("IT", subdiv=province or None)


def _rome_day(moment: datetime) -> date:
    return moment.astimezone(ROME).date()


def _instant(day: date, at: time) -> datetime:
    return datetime.combine(day, at, ROME).astimezone(UTC)
