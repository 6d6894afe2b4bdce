"""The rules of a claim, without I/O: dates as people type them, waits, mangled links, browsers."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from math import ceil
from typing import Final

from server.errors import InvalidInput
from server.joinlink import normalise

LOCATOR_LENGTH: Final = 10
SHOW_PHONE_AFTER: Final = 5
"""Wrong answers after which the page shows the desk's number big."""
_WAIT_SECONDS: Final = (0, 0, 1, 2, 3, 4, 6, 8, 10, 15, 20)
_LONGEST_WAIT_SECONDS: Final = 30
_FIRST_YEAR: Final = 1900
_DAY_FIRST: Final = re.compile(r"(\d{1,2})[/.\- ]+(\d{1,2})[/.\- ]+(\d{4})", re.ASCII)
_YEAR_FIRST: Final = re.compile(r"(\d{4})[/.\- ]+(\d{1,2})[/.\- ]+(\d{1,2})", re.ASCII)
_EIGHT_DAY_FIRST: Final = re.compile(r"(\d{2})(\d{2})(\d{4})", re.ASCII)
_EIGHT_YEAR_FIRST: Final = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_SHORT_YEAR: Final = re.compile(r"\d{1,2}[/.\- ]+\d{1,2}[/.\- ]+\d{2}|\d{6}", re.ASCII)
_IN_APP: Final = re.compile(
    r"FBAN|FBAV|FB_IAB|Messenger|Instagram|WhatsApp|Telegram|GSA/|Line/|LinkedInApp|Twitter"
    r"|Snapchat|musical_ly|BytedanceWebview|MicroMessenger|; wv\)"
)


def parse_birth_date(text: str, today: date) -> date:
    """``gg/mm/aaaa``, ``gg.mm.aaaa``, ``gg-mm-aaaa``, ``ggmmaaaa`` or ISO.

    :raises InvalidInput: with the reason ``empty``, ``two_digit_year`` or ``not_a_date``.
    """
    text = text.strip(" .,;")
    if not text:
        raise InvalidInput("birth_date", "empty")
    if _SHORT_YEAR.fullmatch(text):
        raise InvalidInput("birth_date", "two_digit_year")
    for pattern, is_day_first in (
        (_DAY_FIRST, True),
        (_YEAR_FIRST, False),
        (_EIGHT_DAY_FIRST, True),
        (_EIGHT_YEAR_FIRST, False),
    ):
        if match := pattern.fullmatch(text):
            parts = [int(part) for part in match.groups()]
            found = _find_date(*(reversed(parts) if is_day_first else parts))
            if found is not None and found <= today:
                return found
    raise InvalidInput("birth_date", "not_a_date")


def _find_date(year: int, month: int, day: int) -> date | None:
    try:
        found = date(year, month, day)
    except ValueError:
        return None
    return found if found.year >= _FIRST_YEAR else None


def claim_wait_seconds(failed: int, last_failed_at: datetime | None, now: datetime) -> int:
    """How long until the next answer is looked at. It never grows beyond half a minute: the right
    person must not pay for the wrong ones."""
    if last_failed_at is None:
        return 0
    wait = _WAIT_SECONDS[failed] if failed < len(_WAIT_SECONDS) else _LONGEST_WAIT_SECONDS
    left = last_failed_at + timedelta(seconds=wait) - now
    return max(0, ceil(left.total_seconds()))


def clean_locator(text: str) -> str:
    """The locator of an address that a mail program changed: upper case, a bracket at the end,
    the fragment glued on with an encoded ``#``."""
    start = re.match(r"[0-9a-z]*", text.strip(), re.IGNORECASE | re.ASCII)
    return normalise(start.group() if start else "")[:LOCATOR_LENGTH]


def is_in_app_browser(user_agent: str) -> bool:
    """Whether a page runs inside another app, where cameras often fail and cookies get lost."""
    is_apple_phone = re.search(r"iPhone|iPad|iPod", user_agent) is not None
    return bool(_IN_APP.search(user_agent)) or (is_apple_phone and "Safari/" not in user_agent)
