"""CSV for spreadsheets as they are set up in Italy: semicolons, a byte order mark. No cell of it is
ever a formula (ASVS 5.0, 1.2.10). Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

BYTE_ORDER_MARK: Final = "\ufeff"
_FORMULA_STARTS: Final = tuple("=+-@\t\r\n|%＝＋－＠")


def csv_line(cells: Iterable[str]) -> str:
    """RFC 4180; every cell in quotes, so that none is cut at another separator."""
    written = io.StringIO()
    csv.writer(written, delimiter=";", quoting=csv.QUOTE_ALL).writerow(map(defuse, cells))
    return written.getvalue()


def defuse(text: str) -> str:
    """The text as a cell that no spreadsheet calculates; a number stays one."""
    if text.lstrip(" \u00a0\ufeff").startswith(_FORMULA_STARTS) and not _is_number(text):
        return f"'{text}"
    return text


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()
