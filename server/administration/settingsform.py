"""A source's settings as a person edits them: a JSON text for where it listens and sends, simple
lines for how its messages are read. Pure.

Lines are ``field = column`` and, for words, ``field: theirs = ours``.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from server import sources
from server.cup.booking import Field
from server.cup.hl7v2.wire import parse_path
from server.errors import InvalidInput
from server.sources import SourceSettings, parse_settings

DELIMITERS: Final = {"": "", "semicolon": ";", "comma": ",", "tab": "\t", "bar": "|"}
"""What the form calls a character that separates columns; empty: found out."""
_LONGEST: Final = 20_000
_FIELDS: Final = frozenset(word.value for word in Field)


class WrongSettings(InvalidInput):
    """``line`` counts from 1, 0 where it is not about one; ``detail`` is what the parser says."""

    def __init__(self, field: str, reason: str, *, line: int = 0, detail: str = "") -> None:
        super().__init__(field, reason)
        self.line = line
        self.detail = detail


@dataclass(frozen=True, slots=True)
class SettingsForm:
    """The texts of the form as they stand in it."""

    connection: str
    csv_delimiter: str = ""
    csv_encoding: str = "utf-8"
    csv_columns: str = ""
    hl7_paths: str = ""
    words: str = ""


def form_of(settings: SourceSettings) -> SettingsForm:
    """Settings as texts."""
    connection: dict[str, Any] = msgspec.to_builtins(settings)
    del connection["mapping"]
    mapping = settings.mapping
    names = {char: name for name, char in DELIMITERS.items()}
    words = [
        f"{field}: {theirs} = {ours}"
        for field, known in mapping.words.items()
        for theirs, ours in known.items()
    ]
    return SettingsForm(
        connection=json.dumps(connection, indent=2, ensure_ascii=False),
        csv_delimiter=names.get(mapping.csv_delimiter, ""),
        csv_encoding=mapping.csv_encoding,
        csv_columns=_lines(mapping.csv_columns),
        hl7_paths=_lines(mapping.hl7_paths),
        words="\n".join(words),
    )


def read_form(form: Mapping[str, object]) -> SettingsForm:
    """The texts of a request."""
    texts = {
        name: str(form.get(name, "")).replace("\r\n", "\n")
        for name in SettingsForm.__dataclass_fields__
    }
    return SettingsForm(**texts)


def parse_form(form: SettingsForm) -> SourceSettings:
    """The settings that the texts say.

    :raises WrongSettings: names the field of the form, and the line in it.
    """
    for name in SettingsForm.__dataclass_fields__:
        if len(getattr(form, name)) > _LONGEST:
            raise WrongSettings(name, "too_long")
    if form.csv_delimiter not in DELIMITERS:
        raise WrongSettings("csv_delimiter", "unknown")
    mapping = sources.Mapping(
        csv_delimiter=DELIMITERS[form.csv_delimiter],
        csv_encoding=_parse_encoding(form.csv_encoding),
        csv_columns=dict(_parse_pairs("csv_columns", form.csv_columns)),
        hl7_paths=_parse_paths(form.hl7_paths),
        words=_parse_words(form.words),
    )
    connection = _parse_connection(form.connection)
    try:
        settings = parse_settings(json.dumps(connection))
    except InvalidInput as error:
        raise WrongSettings("connection", "unreadable", detail=error.reason) from error
    return msgspec.structs.replace(settings, mapping=mapping)


def _parse_connection(text: str) -> dict[str, object]:
    try:
        content = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise WrongSettings(
            "connection", "not_json", line=error.lineno, detail=error.msg
        ) from error
    except RecursionError as error:
        raise WrongSettings("connection", "not_json") from error
    if not isinstance(content, dict):
        raise WrongSettings("connection", "not_json", line=1)
    if "mapping" in content:
        raise WrongSettings("connection", "mapping_is_below")
    return content


def _parse_encoding(text: str) -> str:
    try:
        return codecs.lookup(text.strip() or "utf-8").name
    except (LookupError, ValueError) as error:
        raise WrongSettings("csv_encoding", "unknown") from error


def _parse_pairs(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Each ``field = value``."""
    seen: set[str] = set()
    for number, line in _numbered(text):
        field, separator, value = (part.strip() for part in line.partition("="))
        if not separator or not value:
            raise WrongSettings(name, "not_a_pair", line=number)
        _check_field(name, field, number)
        if field in seen:
            raise WrongSettings(name, "twice", line=number)
        seen.add(field)
        yield field, value


def _parse_paths(text: str) -> dict[str, str]:
    paths = dict(_parse_pairs("hl7_paths", text))
    for place, path in enumerate(paths.values()):
        if parse_path(path) is None:
            numbers = [number for number, _line in _numbered(text)]
            raise WrongSettings("hl7_paths", "not_a_path", line=numbers[place])
    return paths


def _parse_words(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for number, line in _numbered(text):
        field, colon, pair = (part.strip() for part in line.partition(":"))
        theirs, separator, ours = (part.strip() for part in pair.rpartition("="))
        if not colon or not separator or not theirs:
            raise WrongSettings("words", "not_a_word", line=number)
        _check_field("words", field, number)
        known = found.setdefault(field, {})
        if theirs in known:
            raise WrongSettings("words", "twice", line=number)
        known[theirs] = ours
    return found


def _check_field(name: str, field: str, line: int) -> None:
    if field not in _FIELDS:
        raise WrongSettings(name, "unknown_field", line=line, detail=field[:64])


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _lines(pairs: Mapping[str, str]) -> str:
    return "\n".join(f"{field} = {value}" for field, value in pairs.items())
