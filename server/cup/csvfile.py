"""CSV as booking centres export it: Italian headers, ``;`` or ``,``, quotes, UTF-8 with or without
a byte order mark. Another encoding is a wrong row, not a wrong file.

A pure mapping from bytes to rows, read as a stream: cells are split before they are decoded, so
one bad cell is reported by line and column and the rows around it go in. A quote that is never
closed costs its own row only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from server.cup.booking import Field, FieldError, FileRejected, ParsedRow, Reason, RowError
from server.cup.values import CELL_CHARACTERS, parse_booking

FILE_BYTES: Final = 50 * 1024 * 1024
FILE_ROWS: Final = 200_000
RECORD_BYTES: Final = 4 * 1024 * 1024
"""What is kept of one record; a longer one always has a cell that is too long."""
_CHUNK_BYTES: Final = 65_536
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DELIMITERS: Final = (b";", b",", b"\t")
_NAMES: Final[dict[Field, tuple[str, ...]]] = {
    Field.BOOKING_CODE: ("codice_prenotazione", "prenotazione", "booking_code"),
    Field.ORGANISATION: ("ente", "azienda", "codice_ente", "organisation"),
    Field.CLINICIAN_CODE: ("codice_medico", "medico", "clinician_code", "clinician"),
    Field.CLINIC_CODE: ("codice_ambulatorio", "clinic_code"),
    Field.CLINIC_NAME: ("ambulatorio", "clinic_name", "clinic"),
    Field.START: ("inizio", "start"),
    Field.DATE: ("data", "data_appuntamento", "date"),
    Field.TIME: ("ora", "orario", "ora_inizio", "time"),
    Field.END: ("fine", "ora_fine", "end"),
    Field.MINUTES: ("durata_minuti", "durata", "minutes"),
    Field.STATUS: ("stato", "status"),
    Field.PRIORITY: ("priorita", "classe_priorita", "priority"),
    Field.FIRST_VISIT: ("prima_visita", "primo_accesso", "tipo_accesso", "first_visit"),
    Field.FAMILY_NAME: ("cognome", "family_name", "surname"),
    Field.GIVEN_NAME: ("nome", "given_name", "name"),
    Field.BIRTH_DATE: ("data_nascita", "data_di_nascita", "birth_date"),
    Field.SEX: ("sesso", "sex"),
    Field.CODICE_FISCALE: ("codice_fiscale", "cf"),
    Field.PHONE: ("telefono", "cellulare", "phone"),
    Field.EMAIL: ("email", "e_mail"),
    Field.ADDRESS: ("indirizzo", "address"),
    Field.NRE: ("nre", "numero_ricetta"),
    Field.QUESTION: ("quesito", "quesito_diagnostico", "question"),
    Field.SERVICE_CODE: ("codice_prestazione", "service_code"),
    Field.SERVICE_NAME: ("prestazione", "service_name", "service"),
    Field.EXEMPTION: ("esenzione", "exemption"),
    Field.PRESCRIBER: ("prescrittore", "medico_prescrittore", "prescriber"),
}
"""Headers by field: the Italian one that the README shows first, then aliases."""
_FIELDS: Final = {name: field for field, names in _NAMES.items() for name in names}
_NEEDED: Final = ((Field.BOOKING_CODE,), (Field.FAMILY_NAME,), (Field.START, Field.DATE))


class _Line(NamedTuple):
    """A physical line. ``content`` stops at :data:`RECORD_BYTES`, ``quotes`` counts them all."""

    content: bytes
    quotes: int


class _Reader:
    """Lines of a file with their numbers, and a way back to an earlier one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0

    def read_line(self) -> _Line | None:
        content = self._file.readline(RECORD_BYTES)
        if not content:
            return None
        self.number += 1
        quotes, last = content.count(b'"'), content
        while not last.endswith(b"\n") and (last := self._file.readline(_CHUNK_BYTES)):
            quotes += last.count(b'"')
        return _Line(content, quotes)

    def read_unquoted(self) -> bytes:
        """What comes before the next line with a quote, cut to :data:`RECORD_BYTES`."""
        parts, size = [], 0
        while chunk := self._file.read(_CHUNK_BYTES):
            quote = chunk.find(b'"')
            end = len(chunk) if quote < 0 else chunk.rfind(b"\n", 0, quote) + 1
            self.number += chunk.count(b"\n", 0, end)
            if size < RECORD_BYTES:
                parts.append(chunk[:end])
                size += end
            if quote >= 0:
                self._file.seek(end - len(chunk), 1)
                break
        return b"".join(parts)

    def place(self) -> tuple[int, int]:
        return self._file.tell(), self.number

    def go_back(self, place: tuple[int, int]) -> None:
        self._file.seek(place[0])
        self.number = place[1]


@dataclass(slots=True)
class _Header:
    delimiter: bytes
    names: list[str]
    fields: list[Field | None]
    columns: dict[Field, str]
    """What the file calls each field; for an absent one, what it should have called it."""
    split: re.Pattern[bytes]


def parse_csv(file: BinaryIO) -> Iterator[ParsedRow | RowError]:
    """Yield each row of the file, good or wrong, in its order.

    :raises FileRejected: too large, or its first line is not a header we can use.
    """
    file.seek(0, 2)
    if file.tell() > FILE_BYTES:
        raise FileRejected(f"The file is larger than {FILE_BYTES // 1024**2} MiB")
    file.seek(0)
    reader = _Reader(file)
    header = _parse_header(reader.read_line())
    rows = 0
    for line, raw, cells in _split_records(reader, header):
        if not isinstance(cells, Reason) and not any(cells):
            continue
        rows += 1
        if rows > FILE_ROWS:
            yield RowError(line, "", Reason.TOO_MANY_ROWS, b"")
            return
        yield _parse_row(header, line, raw, cells)


def _parse_header(line: _Line | None) -> _Header:
    if line is None:
        raise FileRejected("The file is empty")
    content = line.content.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n")
    delimiter = max(_DELIMITERS, key=content.count)
    try:
        names = [cell.strip('" ') for cell in content.decode().split(delimiter.decode())]
    except UnicodeDecodeError as error:
        raise FileRejected("The first line is not UTF-8: save the file as CSV UTF-8") from error
    fields = [_FIELDS.get(_normalise(name)) for name in names]
    for needed in _NEEDED:
        if not any(field in fields for field in needed):
            raise FileRejected(f"The first line has no column {_NAMES[needed[0]][0]}")
    escaped = re.escape(delimiter)
    split = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"|([^"%b][^%b]*|))(?:%b|\Z)' % ((escaped,) * 3))
    return _Header(delimiter, names, fields, _columns(names, fields), split)


def _normalise(name: str) -> str:
    plain = unicodedata.normalize("NFD", name.casefold())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def _split_records(
    reader: _Reader, header: _Header
) -> Iterator[tuple[int, bytes, list[bytes] | Reason]]:
    """Give each record with its cells, or with what is wrong with its quotes."""
    may_span_lines = True
    while (line := reader.read_line()) is not None:
        number, place = reader.number, reader.place()
        record = line.content
        cells = _split_cells(record, header)
        if cells is None and may_span_lines and line.quotes % 2:
            whole = _read_rest(reader, record)
            may_span_lines = whole is not None
            cells = _split_cells(whole, header) if whole is not None else None
            if whole is not None and (cells is not None or len(whole) >= RECORD_BYTES):
                record = whole
            else:
                reader.go_back(place)
        if cells is None and len(record) >= RECORD_BYTES:
            cells = _split_cells(record + b'"', header) or _split_cells(record + b'""', header)
        yield number, record, Reason.BROKEN_QUOTES if cells is None else cells


def _read_rest(reader: _Reader, record: bytes) -> bytes | None:
    """The record from its first line to the line that closes its quotes; none at the end."""
    parts, size = [record], len(record)
    while True:
        unquoted, line = reader.read_unquoted(), reader.read_line()
        if line is None:
            return None
        if size < RECORD_BYTES:
            parts += unquoted, line.content
            size += len(unquoted) + len(line.content)
        if line.quotes % 2:
            return b"".join(parts)[:RECORD_BYTES]


def _split_cells(record: bytes, header: _Header) -> list[bytes] | None:
    """The cells of a whole record; none when its quotes do not match."""
    record = record.rstrip(b"\r\n")
    if b'"' not in record:
        return record.split(header.delimiter)
    cells, end = [], 0
    while (match := header.split.match(record, end)) is not None:
        quoted, plain = match.groups()
        cells.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        end = match.end()
        if end == len(record) and not match.group().endswith(header.delimiter):
            return cells
    return None


def _parse_row(
    header: _Header, line: int, raw: bytes, cells: list[bytes] | Reason
) -> ParsedRow | RowError:
    raw = raw[:CELL_CHARACTERS]
    if isinstance(cells, Reason):
        return RowError(line, "", cells, raw)
    if any(cells[len(header.names) :]):
        return RowError(line, "", Reason.TOO_MANY_CELLS, raw)
    texts: dict[Field, str] = {}
    for name, field, cell in zip(header.names, header.fields, cells, strict=False):
        if len(cell) > CELL_CHARACTERS:
            return RowError(line, name, Reason.TOO_LONG, raw)
        try:
            text = cell.decode().strip()
        except UnicodeDecodeError:
            return RowError(line, name, Reason.NOT_UTF_8, raw)
        if field is not None and text:
            texts.setdefault(field, text)
    organisation_codes = _codes(texts, Field.ORGANISATION)
    try:
        booking = parse_booking(
            texts,
            organisation_codes=organisation_codes,
            clinician_codes=_codes(texts, Field.CLINICIAN_CODE),
        )
    except FieldError as error:
        return RowError(line, header.columns[error.field], error.reason, raw, organisation_codes)
    return ParsedRow(line, booking, raw, header.columns)


def _codes(texts: dict[Field, str], field: Field) -> tuple[str, ...]:
    return (texts[field],) if field in texts else ()


def _columns(names: list[str], fields: list[Field | None]) -> dict[Field, str]:
    columns = {field: aliases[0] for field, aliases in _NAMES.items()}
    for name, field in reversed(list(zip(names, fields, strict=True))):
        if field is not None:
            columns[field] = name
    if Field.START not in fields:
        columns[Field.START] = columns[Field.DATE]
    return columns
