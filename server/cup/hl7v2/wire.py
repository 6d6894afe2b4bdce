"""HL7 v2 as it is written: caps, delimiters, character set, escapes; fields as plain texts.

Pure. Called by :mod:`server.cup.hl7v2` and :mod:`server.cup.hl7v2.out`; what a field means is
theirs. The library ``hl7`` splits the segments that were asked for. Its ``unescape`` is not used:
it writes values into the process log and repeats ``\\.sp99999999\\`` as often as it is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import hl7  # type: ignore[import-untyped]

from server.cup.booking import Fault, Field, Reason
from server.cup.texts import plain

FRAME_BYTES: Final = 1024 * 1024
CUT: Final = b"\x0b"
"""The start of an MLLP frame: what begins with it had no end."""
SEGMENTS: Final = 2_000
FIELD_CHARACTERS: Final = 64 * 1024
_DELIMITERS_READ: Final = 16_384
"""Of the segments that are read: what splitting costs grows with them, not with the bytes."""
_ECHO_CHARACTERS: Final = 200

Repetition = Sequence[Sequence[str]]
"""Components of subcomponents."""

_DEFAULT_DELIMITERS: Final = "^~\\&"
_CHARACTER_SETS: Final = {
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UNICODE": "utf-8",
    "8859/1": "latin-1",
    "8859/15": "iso8859-15",
}
"""MSH-18 (table 0211)."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_NULL: Final = '""'
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_DTM: Final = re.compile(
    r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)?(\d\d)?(?:\.\d{1,4})?)?([+-]\d{4})?", re.ASCII
)
_UNIT_SECONDS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("s", "sec", "second", "seconds", "secondi"), 1),
    **dict.fromkeys(("", "m", "min", "mins", "minute", "minutes", "minuti", "minuto"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "ora", "ore"), 3600),
}
_PATH: Final = re.compile(r"([A-Z][A-Z0-9]{2})-(\d{1,2})(?:\.(\d{1,2}))?(?:\.(\d{1,2}))?", re.ASCII)


class Unreadable(Exception):
    """The message as a whole cannot be read; ``fault`` says why. Stays inside the connector."""

    def __init__(self, reason: Reason, path: str = "") -> None:
        super().__init__(reason)
        self.fault = Fault(Field.MESSAGE, reason, path)


@dataclass(frozen=True, slots=True)
class Path:
    """Where a text stands: segment, field, component and subcomponent, counted from one."""

    segment: str
    field: int
    component: int = 1
    subcomponent: int = 1


def parse_path(text: str) -> Path | None:
    """``SCH-2.1``; None for what is no such path."""
    match = _PATH.fullmatch(text.strip())
    if match is None or "0" in match.groups():
        return None
    segment, *numbers = match.groups()
    return Path(segment, *(int(number) for number in numbers if number))


@dataclass(frozen=True, slots=True)
class Header:
    """MSH as it came, byte for byte (a character each); of an unreadable message it is empty."""

    separator: str = "|"
    delimiters: str = _DEFAULT_DELIMITERS
    """Component, repetition, escape, subcomponent."""
    fields: tuple[str, ...] = ("MSH", "|", _DEFAULT_DELIMITERS)

    def raw(self, number: int) -> str:
        """A field as it came, for an echo: cut, and without control characters."""
        text = self.fields[number] if number < len(self.fields) else ""
        return "".join(char for char in text[:_ECHO_CHARACTERS] if ord(char) >= 32)

    def component(self, number: int, component: int = 1) -> str:
        """One component of the first repetition, printable ASCII or empty."""
        first = self.raw(number).partition(self.delimiters[1])[0]
        parts = first.split(self.delimiters[0])
        text = parts[component - 1].strip() if component <= len(parts) else ""
        return text if text.isascii() and text.isprintable() and text != _NULL else ""


def find_header(raw: bytes) -> Header | None:
    """MSH of a message; None when it does not begin with one that can be split."""
    text = (
        raw[: FIELD_CHARACTERS * 2]
        .removeprefix(CUT)
        .removeprefix(_BYTE_ORDER_MARK)
        .decode("latin-1")
        .lstrip()
    )
    line = _LINE_END.split(text, maxsplit=1)[0]
    if not line.startswith("MSH") or len(line) < 5:
        return None
    separator = line[3]
    encoding = line[4:].partition(separator)[0]
    delimiters = (encoding + _DEFAULT_DELIMITERS[len(encoding) :])[:4]
    is_plain = all(33 <= ord(char) <= 126 and not char.isalnum() for char in separator + delimiters)
    if not is_plain or len({separator, *delimiters}) != 5:
        return None
    rest = line[4 + len(encoding) + 1 :].split(separator)
    return Header(separator, delimiters, ("MSH", separator, encoding, *rest))


def decode(raw: bytes, header: Header, default_set: str) -> str:
    """The text of a message, by MSH-18 or by what its source is known to write.

    Without either it must be UTF-8, of which ASCII is a part.

    :raises Unreadable: a character set that is not read, or bytes that are not of it.
    """
    name = header.component(18).upper().replace("ISO ", "").replace("ISO", "")
    name = name or default_set.upper() or "UTF-8"
    encoding = _CHARACTER_SETS.get(name)
    if encoding is None:
        raise Unreadable(Reason.WRONG_CHARACTER_SET, "MSH-18")
    try:
        return raw.removeprefix(_BYTE_ORDER_MARK).decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(Reason.WRONG_CHARACTER_SET, "MSH-18") from error


def split_lines(text: str) -> list[str]:
    """Segments, ended by CR as the standard wants or by LF or both as files have it."""
    text = text.strip("\r\n\t \0")
    end = _LINE_END.search(text)
    if end is None or end[0] == "\n":
        lines = text.replace("\r", " ").split("\n")
    else:
        lines = [line.removeprefix("\n") for line in text.split("\r")]
    return [line for line in lines if line.strip()]


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of one message that were asked for, in their order."""

    header: Header
    found: dict[str, list[hl7.Segment]] = field(repr=False)

    @classmethod
    def parse(
        cls, lines: Sequence[str], header: Header, wanted: Mapping[str, frozenset[int]]
    ) -> Segments:
        """Check the caps of all segments, split the wanted fields of those that are named.

        :raises Unreadable: over a cap, or no message of one header and segments.
        """
        _check_caps(lines, header)
        kept = [_blank(line, header, wanted[line[:3]]) for line in lines[1:] if line[:3] in wanted]
        kept.insert(0, f"MSH{header.separator}{header.delimiters}{header.separator}")
        text = "\r".join(kept)
        if sum(map(text.count, header.separator + header.delimiters)) > _DELIMITERS_READ:
            raise Unreadable(Reason.TOO_LARGE)
        found: dict[str, list[hl7.Segment]] = {}
        for segment, line in zip(hl7.parse(text), kept, strict=True):
            found.setdefault(line[:3], []).append(segment)
        return cls(header, found)

    def text(self, path: Path) -> str:
        """The text at a path, of the first segment and repetition that has one."""
        if path.segment == "MSH":
            return self.header.component(path.field, path.component)
        for number in range(len(self.found.get(path.segment, ()))):
            for repetition in self.repetitions(path.segment, path.field, number):
                found = component(repetition, path.component, path.subcomponent)
                if found:
                    return found
        return ""

    def count(self, segment: str) -> int:
        return len(self.found.get(segment, ()))

    def repetitions(self, segment: str, number: int, index: int = 0) -> list[Repetition]:
        """A field of the segment with this index; empty when there is none."""
        segments = self.found.get(segment, ())
        if index >= len(segments) or number >= len(segments[index]):
            return []
        return [self._repetition(repetition) for repetition in segments[index][number]]

    def _repetition(self, repetition: hl7.Repetition | str) -> Repetition:
        if isinstance(repetition, str):
            return [[self._clean(repetition)]]
        return [
            [self._clean(part)] if isinstance(part, str) else [self._clean(sub) for sub in part]
            for part in repetition
        ]

    def _clean(self, text: str) -> str:
        text = text.strip()
        if text == _NULL:
            return ""
        return unescape(text, self.header) if self.header.delimiters[2] in text else text


def component(repetition: Repetition, number: int, subcomponent: int = 1) -> str:
    """One component, empty where the repetition has less."""
    if number > len(repetition) or subcomponent > len(repetition[number - 1]):
        return ""
    return repetition[number - 1][subcomponent - 1]


def unescape(text: str, header: Header) -> str:
    """Delimiters, line breaks and hexadecimal bytes; what only a printer needs is left out."""
    mark = re.escape(header.delimiters[2])
    names = {"F": header.separator, **dict(zip("SRET", header.delimiters, strict=True))}

    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if code in names:
            return names[code]
        if code.startswith("X"):
            return _from_hexadecimal(code[1:])
        return " " if code.startswith((".br", ".sp")) else ""

    return re.sub(f"{mark}([^{mark}]{{0,64}}){mark}", replace, text)


def escape(text: str) -> str:
    """A text as a value of our own messages, which use the usual delimiters."""
    for char, code in (("\\", "E"), ("|", "F"), ("^", "S"), ("~", "R"), ("&", "T")):
        text = text.replace(char, f"\\{code}\\") if char in text else text
    return "".join(char if char.isprintable() else " " for char in text)


def iso_text(text: str, *, has_time: bool) -> str:
    """A DTM as ISO, the offset read literally; what is no DTM stays as it is.

    ``has_time`` false: the day as it is written, whatever time and offset follow.
    """
    match = _DTM.fullmatch(text)
    if match is None:
        return text
    year, month, day, hour, minute, second, offset = match.groups()
    date = f"{year}-{month}-{day}"
    if not has_time or hour is None:
        return date
    zone = f"{offset[:3]}:{offset[3:]}" if offset else ""
    return f"{date}T{hour}:{minute or '00'}:{second or '00'}{zone}"


def minutes_text(amount: str, units: list[str]) -> str:
    """A duration in whole minutes, at least one; as it was written when it cannot be read."""
    words = [plain(unit) for unit in units if unit] or [""]
    seconds = next((_UNIT_SECONDS[word] for word in words if word in _UNIT_SECONDS), 0)
    if not seconds or not re.fullmatch(r"\d{1,6}(\.0*)?", amount, re.ASCII):
        return f"{amount} {' '.join(filter(None, units))}"
    return str(max(1, int(amount.partition(".")[0]) * seconds // 60))


def _from_hexadecimal(digits: str) -> str:
    """Bytes of a character set that the escape does not name: UTF-8 if they can be that."""
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        return ""
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError:
        return found.decode("latin-1")


def _blank(line: str, header: Header, wanted: frozenset[int]) -> str:
    """A segment without what nobody reads: splitting is most of what a message costs."""
    texts = line.split(header.separator)
    last = max(wanted) + 1
    kept = (text if at in wanted else "" for at, text in enumerate(texts[1:last], start=1))
    return header.separator.join((texts[0], *kept))


def _check_caps(lines: Sequence[str], header: Header) -> None:
    if len(lines) > SEGMENTS:
        raise Unreadable(Reason.TOO_LARGE)
    for line in lines:
        if len(line) > FIELD_CHARACTERS and any(
            len(text) > FIELD_CHARACTERS for text in line.split(header.separator)
        ):
            raise Unreadable(Reason.TOO_LARGE, line[:3] if line[:3].isalnum() else "")
    if sum(line.startswith("MSH") for line in lines) != 1:
        raise Unreadable(Reason.UNREADABLE, "MSH")
