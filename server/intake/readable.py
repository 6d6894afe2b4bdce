"""A message from CUP as a person at the desk can read it. Pure; nothing is understood here."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from dataclasses import dataclass
from typing import Final

from server.models import Connector
from server.sources import Mapping

_LONGEST_TEXT: Final = 200_000
_DELIMITERS: Final = (";", ",", "\t", "|")
_SHOWN_CONTROLS: Final = frozenset("\n\t")


@dataclass(frozen=True, slots=True)
class Readable:
    """``pairs`` are the cells of a CSV row with their columns; else ``text`` has it all."""

    text: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    is_cut: bool = False


def make_readable(raw: bytes, connector: Connector, mapping: Mapping) -> Readable:
    """HL7 segments on lines of their own, JSON indented, a CSV row as columns and cells."""
    text = _decode(raw, mapping.csv_encoding if connector is Connector.CSV else "utf-8")
    match connector:
        case Connector.HL7V2:
            text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n\v\x1c")
        case Connector.FHIR:
            text = _indent(text)
        case Connector.CSV:
            pairs = _pair(text, mapping.csv_delimiter)
            if pairs:
                return Readable(pairs=pairs)
    shown = _show(text[:_LONGEST_TEXT])
    return Readable(text=shown, is_cut=len(text) > _LONGEST_TEXT)


def _decode(raw: bytes, encoding: str) -> str:
    for name in (encoding, "utf-8-sig", "latin-1"):
        try:
            return raw.decode(name).removeprefix("\ufeff")
        except (UnicodeDecodeError, LookupError):
            continue
    return raw.decode("latin-1")


def _indent(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _pair(text: str, delimiter: str) -> tuple[tuple[str, str], ...]:
    """Columns and cells of a header and one row; empty when it is not that."""
    header = text.split("\n", 1)[0]
    delimiter = delimiter or max(_DELIMITERS, key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return ()
    rows = [row for row in rows if row]
    if len(rows) != 2 or len(rows[1]) > len(rows[0]):
        return ()
    cells = rows[1] + [""] * (len(rows[0]) - len(rows[1]))
    return tuple((_show(column), _show(cell)) for column, cell in zip(rows[0], cells, strict=True))


def _show(text: str) -> str:
    """Characters that cannot be seen become one that can: nothing hides in what is shown."""
    return "".join(
        "\ufffd" if unicodedata.category(char) in {"Cc", "Cf"} and char not in _SHOWN_CONTROLS
        else char
        for char in text
    )  # fmt: skip
