"""Identifiers of persons in Italy: codice fiscale with its omocodes, STP, ENI, the provisional code
of eleven digits, and the European health insurance card (TEAM).

Pure. A wrong check character is odd, not unreadable: the code is kept as CUP wrote it.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

from codicefiscale import codicefiscale

_CODICE_FISCALE: Final = re.compile(
    r"[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]", re.ASCII
)
"""With its omocodes, as HL7 Italia it-core writes it."""
_PROVISIONAL: Final = re.compile(r"\d{11}", re.ASCII)
_FOREIGNER: Final = re.compile(r"(?:STP|ENI)\d{13}", re.ASCII)
_TEAM_CARD: Final = re.compile(r"[0-9A-Z]{6,20}", re.ASCII)
_OMOCODE_DIGITS: Final = str.maketrans("LMNPQRSTUV", "0123456789")
_MONTHS: Final = "ABCDEHLMPRST"
_WOMEN: Final = 40
"""Added to the day of birth of a woman."""


class Person(NamedTuple):
    """What a codice fiscale says of its owner. The year has two digits only."""

    sex: str
    year: int
    month: int
    day: int

    def birth_date(self, latest: date) -> date | None:
        """The youngest birth date that is not after ``latest``; none for a day like 31 April."""
        for century in (latest.year // 100 * 100, latest.year // 100 * 100 - 100):
            try:
                born = date(century + self.year, self.month, self.day)
            except ValueError:
                continue
            if born <= latest:
                return born
        return None

    def is_born(self, day: date) -> bool:
        """Whether a birth date agrees with the code."""
        return (day.year % 100, day.month, day.day) == (self.year, self.month, self.day)


def clean_code(text: str) -> str:
    """Upper case without spaces."""
    return text.replace(" ", "").upper()


def is_person_code(code: str) -> bool:
    """Whether a code has the form of one of the four that stand in its place."""
    return bool(
        _CODICE_FISCALE.fullmatch(code)
        or _FOREIGNER.fullmatch(code)
        or _PROVISIONAL.fullmatch(code)
    )


def is_team_card(code: str) -> bool:
    return bool(_TEAM_CARD.fullmatch(code))


@lru_cache(maxsize=4096)
def is_check_right(code: str) -> bool:
    """Whether the check character is right; STP and ENI have none."""
    if _CODICE_FISCALE.fullmatch(code):
        return bool(codicefiscale.encode_cin(code) == code[-1])
    if _PROVISIONAL.fullmatch(code):
        return _sum_of_provisional(code) % 10 == 0
    return True


def find_person(code: str) -> Person | None:
    """Sex and birth date inside a codice fiscale with a right check character; none in an STP,
    ENI or provisional code."""
    if not _CODICE_FISCALE.fullmatch(code) or not is_check_right(code):
        return None
    month = _MONTHS.find(code[8]) + 1
    day = int(code[9:11].translate(_OMOCODE_DIGITS))
    sex = "F" if day > _WOMEN else "M"
    day -= _WOMEN if day > _WOMEN else 0
    if not month or not 1 <= day <= 31:
        return None
    return Person(sex, int(code[6:8].translate(_OMOCODE_DIGITS)), month, day)


def _sum_of_provisional(code: str) -> int:
    """The check sum of the *partita IVA*, which the provisional codice fiscale shares."""
    digits = [int(digit) for digit in code]
    doubled = (2 * digit for digit in digits[1::2])
    return sum(digits[::2]) + sum(each if each < 10 else each - 9 for each in doubled)
