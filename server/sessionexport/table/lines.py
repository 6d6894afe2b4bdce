"""Rows as lines of text. Pure.

The CSV is for spreadsheets as they are set up in Italy: semicolons, a byte order mark, times of
Europe/Rome, words as on the pages. No cell of it is ever a formula (ASVS 5.0, 1.2.10).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Final

import msgspec

from server.i18n import ROME
from server.sessionexport.table.columns import Column, Row, Value, Words

Say = Callable[[Words, str], str]
"""What people read for a word of a column."""

BYTE_ORDER_MARK: Final = "\ufeff"
_FORMULA_STARTS: Final = tuple("=+-@\t\r\n|%＝＋－＠")
_encode: Final = msgspec.json.Encoder().encode


def csv_lines(
    columns: Sequence[Column], rows: Iterable[Row], say: Say, yes_and_no: tuple[str, str]
) -> Iterator[str]:
    """The lines of the rows, without the head."""
    for row in rows:
        cells = [_cell(column.value(row), column.words, say, yes_and_no) for column in columns]
        yield csv_line(cells)


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


def ndjson_lines(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[bytes]:
    """One JSON object a line: stable names and words, times in UTC (RFC 3339), ``null`` where
    nothing is known."""
    for row in rows:
        content = {column.name: _plain(column.value(row)) for column in columns}
        yield _encode(content) + b"\n"


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


def _cell(value: Value, words: Words | None, say: Say, yes_and_no: tuple[str, str]) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(say(words, word) if words else word for word in value)
    if isinstance(value, bool):
        return yes_and_no[not value]
    if isinstance(value, datetime):
        return f"{value.astimezone(ROME):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, date):
        return value.isoformat()
    return say(words, str(value)) if words else str(value)


def _plain(value: Value) -> Value:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
