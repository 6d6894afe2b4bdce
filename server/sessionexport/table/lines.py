"""Rows as lines of text. Pure.

The CSV is for spreadsheets (:mod:`server.spreadsheets`): times of Europe/Rome, words as on the
pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Final

import msgspec

from server.i18n import ROME
from server.sessionexport.table.columns import Column, Row, Value, Words
from server.spreadsheets import csv_line

Say = Callable[[Words, str], str]
"""What people read for a word of a column."""

_encode: Final = msgspec.json.Encoder().encode


def csv_lines(
    columns: Sequence[Column], rows: Iterable[Row], say: Say, yes_and_no: tuple[str, str]
) -> Iterator[str]:
    """The lines of the rows, without the head."""
    for row in rows:
        cells = [_cell(column.value(row), column.words, say, yes_and_no) for column in columns]
        yield csv_line(cells)


def ndjson_lines(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[bytes]:
    """One JSON object a line: stable names and words, times in UTC (RFC 3339), ``null`` where
    nothing is known."""
    for row in rows:
        content = {column.name: _plain(column.value(row)) for column in columns}
        yield _encode(content) + b"\n"


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
