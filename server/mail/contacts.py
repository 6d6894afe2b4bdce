"""What a person wrote as telephone or e-mail address, as something that can be written to. Pure."""

from __future__ import annotations

import re
from typing import Final

_ADDRESS: Final = re.compile(
    r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z]{2,}", re.ASCII
)
"""Addresses as they are really used; quoted local parts and comments are not."""
_LONGEST_ADDRESS: Final = 254
_SEPARATORS: Final = re.compile(r"[\s./()\-]+")
_E164: Final = re.compile(r"\+[1-9]\d{7,14}")
_MOBILE: Final = re.compile(r"3\d{8,9}")
_LANDLINE: Final = re.compile(r"0\d{5,10}")
_ITALIAN_WITHOUT_PLUS: Final = re.compile(r"39(?:3\d{8,9}|0\d{5,10})")


def find_phone(text: str) -> str | None:
    """The number in E.164, Italian unless it says otherwise; ``None`` when it is none.

    Italian numbers keep their first zero (``+39 055 …``). ``39`` at the beginning is the country
    only where a whole number follows: 391 and 392 are prefixes of mobile telephones.
    """
    number = _SEPARATORS.sub("", text)
    if number.startswith("00"):
        number = "+" + number[2:]
    if _MOBILE.fullmatch(number) or _LANDLINE.fullmatch(number):
        number = "+39" + number
    elif _ITALIAN_WITHOUT_PLUS.fullmatch(number):
        number = "+" + number
    return number if _E164.fullmatch(number) else None


def find_email(text: str) -> str | None:
    """The address, if a message can be sent to it; safe in a header."""
    address = text.strip()
    if len(address) > _LONGEST_ADDRESS or ".." in address or not _ADDRESS.fullmatch(address):
        return None
    return address
