"""The unit of every figure: one calendar month, as people in Italy count it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from server.i18n import ROME

SETTLED_AFTER: Final = timedelta(days=7)
"""After a month its figures change no more: outcomes are stated late at times."""
_MONTH: Final = re.compile(r"(20\d\d|21\d\d)-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, order=True)
class Month:
    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02}"

    @property
    def first_day(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=ROME).astimezone(UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.next.start

    @property
    def next(self) -> Month:
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def previous(self) -> Month:
        return Month(self.year - (self.number == 1), (self.number - 2) % 12 + 1)

    def is_settled(self, now: datetime) -> bool:
        return now >= self.end + SETTLED_AFTER


def month_of(moment: datetime) -> Month:
    local = moment.astimezone(ROME)
    return Month(local.year, local.month)


def parse_month(text: str) -> Month:
    """``2026-11``.

    :raises ValueError: not a month.
    """
    match = _MONTH.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return Month(int(match[1]), int(match[2]))


def last_settled(now: datetime) -> Month:
    """The newest month whose figures are settled."""
    month = month_of(now).previous
    return month if month.is_settled(now) else month.previous
