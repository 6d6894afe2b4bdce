"""One text at a time: cleaning, dates and times of day as people in Italy write them.

Pure. Raises :class:`~server.cup.booking.FieldError` with the field that is wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from server.cup.booking import Field, FieldError, Reason

ROME: Final = ZoneInfo("Europe/Rome")
CELL_CHARACTERS: Final = 65_536
_YEARS: Final = range(1890, 2101)
_LONGEST: Final[Mapping[Field, int]] = {
    Field.BOOKING_CODE: 64,
    Field.CLINICIAN_CODE: 64,
    Field.CLINIC_CODE: 64,
    Field.CLINIC_NAME: 200,
    Field.FAMILY_NAME: 200,
    Field.GIVEN_NAME: 200,
    Field.PHONE: 64,
    Field.EMAIL: 254,
    Field.NRE: 64,
}
_DATE: Final = re.compile(
    r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})|(\d{4})-(\d{2})-(\d{2})|(\d{8})", re.ASCII
)
_TIME: Final = re.compile(r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?", re.ASCII)


def clean_text(field: Field, text: str) -> str:
    """A text that every database and screen can hold: NFC, without control or direction
    characters, not too long."""
    if len(text) > CELL_CHARACTERS:
        raise FieldError(field, Reason.TOO_LONG)
    text = " ".join(text.split())
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = "".join(char for char in text if unicodedata.category(char) != "Cf")
        if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text):
            raise FieldError(field, Reason.CONTROL_CHARACTER)
    if len(text) > _LONGEST.get(field, CELL_CHARACTERS):
        raise FieldError(field, Reason.TOO_LONG)
    return text


def parse_day(field: Field, text: str) -> date:
    """``gg/mm/aaaa``, ``ggmmaaaa`` or ISO."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise FieldError(field, Reason.NOT_A_DATE)
    day, month, year, iso_year, iso_month, iso_day, digits = match.groups()
    if digits:
        day, month, year = digits[:2], digits[2:4], digits[4:]
    try:
        parsed = date(int(year or iso_year), int(month or iso_month), int(day or iso_day))
    except ValueError as error:
        raise FieldError(field, Reason.NOT_A_DATE) from error
    if parsed.year not in _YEARS:
        raise FieldError(field, Reason.NOT_A_DATE)
    return parsed


def parse_instant(field: Field, text: str) -> datetime:
    """A date and a time; of Europe/Rome unless the text has an offset."""
    if "T" in text:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError as error:
            raise FieldError(field, Reason.NOT_A_DATE) from error
        if parsed.year not in _YEARS:
            raise FieldError(field, Reason.NOT_A_DATE)
        return parsed.astimezone(UTC) if parsed.tzinfo else at_rome(field, parsed)
    day, _, clock = text.partition(" ")
    return at_rome(field, datetime.combine(parse_day(field, day), parse_clock(field, clock)))


def parse_day_of(field: Field, text: str) -> date:
    """The day of a date or of an instant."""
    if "T" in text:
        return parse_instant(field, text).astimezone(ROME).date()
    return parse_day(field, text)


def parse_clock(field: Field, text: str) -> time:
    match = _TIME.fullmatch(text)
    if match is None:
        raise FieldError(field, Reason.NOT_A_TIME)
    try:
        return time(int(match[1]), int(match[2]), int(match[3] or 0))
    except ValueError as error:
        raise FieldError(field, Reason.NOT_A_TIME) from error


def at_rome(field: Field, local: datetime) -> datetime:
    """The instant of a local time; the hour that the change to summer time skips is refused."""
    instant = local.replace(tzinfo=ROME).astimezone(UTC)
    if instant.astimezone(ROME).replace(tzinfo=None) != local:
        raise FieldError(field, Reason.NOT_A_TIME)
    return instant


def plain(text: str) -> str:
    """Lower case without accents."""
    word = text.casefold()
    if word.isascii():
        return word
    word = unicodedata.normalize("NFD", word)
    return "".join(char for char in word if not unicodedata.combining(char))


def is_clock(text: str) -> bool:
    """Whether a text is a time of day without a date."""
    return bool(_TIME.fullmatch(text))
