"""CSV as booking centres export it: Italian headers, ``;`` or ``,``, quotes, UTF-8 with or without
a byte order mark. A source may have its own delimiter, encoding and column names. A cell in another
encoding is a wrong row, not a wrong file.

A pure mapping from bytes to messages, read as a stream: cells are split before they are decoded, so
one bad cell is reported by line and column and the rows around it go in. A quote that is never
closed costs its own row only. Each message keeps the header line with its row: it can be mapped
again alone.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final, NamedTuple

import msgspec

from server.cup.booking import (
    Booking,
    BookingEvent,
    Fault,
    Field,
    FieldError,
    FileRejected,
    Message,
    Notice,
    Order,
    Reason,
)
from server.cup.csvfile.lines import RECORD_BYTES, Line, LineReader
from server.cup.texts import CELL_CHARACTERS
from server.cup.values import parse_booking, parse_event, translate_words
from server.models import Connector
from server.sources import SourceSettings

FILE_BYTES: Final = 50 * 1024 * 1024
FILE_ROWS: Final = 200_000
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
    Field.STREET: ("via", "via_e_numero", "street"),
    Field.POSTAL_CODE: ("cap", "postal_code"),
    Field.CITY: ("comune", "comune_residenza", "citta", "city"),
    Field.PROVINCE: ("provincia", "provincia_residenza", "province"),
    Field.COUNTRY: ("stato_residenza", "country"),
    Field.BIRTH_CITY: ("comune_nascita", "luogo_nascita", "birth_city"),
    Field.BIRTH_PROVINCE: ("provincia_nascita", "birth_province"),
    Field.BIRTH_COUNTRY: ("stato_nascita", "birth_country"),
    Field.NRE: ("nre", "numero_ricetta"),
    Field.QUESTION: ("quesito", "quesito_diagnostico", "question"),
    Field.SERVICE_CODE: ("codice_prestazione", "service_code"),
    Field.SERVICE_NAME: ("prestazione", "service_name", "service"),
    Field.EXEMPTION: ("esenzione", "exemption"),
    Field.PRESCRIBER: ("prescrittore", "medico_prescrittore", "prescriber"),
    Field.REGIONAL_CODE: ("codice_regionale", "codice_catalogo_regionale", "regional_code"),
    Field.AGENDA: ("agenda", "codice_agenda"),
    Field.PRESCRIBED_ON: ("data_prescrizione", "prescribed_on"),
    Field.BOOKED_ON: ("data_prenotazione", "booked_on"),
    Field.OFFERED_ON: ("prima_data_proposta", "data_proposta", "offered_on"),
    Field.INTERPRETER: ("interprete", "interpreter"),
    Field.LANGUAGE: ("lingua", "language"),
    Field.TEAM_CARD: ("tessera_team", "team", "team_card"),
    Field.TEAM_NUMBER: ("numero_personale_team", "team_number"),
    Field.ANA_CODE: ("codice_ana", "ana_code"),
    Field.PATIENT_ID: ("codice_paziente", "id_paziente", "patient_id"),
}
"""Headers by field: the Italian one that the README shows first, then aliases."""
_FIELDS: Final = {name: field for field, names in _NAMES.items() for name in names}
_STRICT: Final = frozenset(
    {Field.BIRTH_DATE, Field.START, Field.DATE, Field.TIME, Field.END, Field.MINUTES}
)
"""Who writes a file by hand hears of a wrong date, rather than finding it left out."""
_NEEDED: Final = ((Field.BOOKING_CODE,), (Field.FAMILY_NAME,), (Field.START, Field.DATE))


@dataclass(slots=True)
class _Header:
    raw: bytes
    delimiter: bytes
    encoding: str
    names: list[str]
    fields: list[Field | None]
    columns: dict[Field, str]
    """What the file calls each field; for an absent one, what it should have called it."""
    split: re.Pattern[bytes]


class _Envelope(NamedTuple):
    """What the rows of one file share."""

    file_id: str
    """Hash of the file; empty for a row on its own."""
    received_at: datetime
    words: Mapping[str, Mapping[str, str]]


def parse_csv(file: BinaryIO, settings: SourceSettings, received_at: datetime) -> Iterator[Message]:
    """Yield each row of the file, good or wrong, in its order.

    :raises FileRejected: too large, or its first line is not a header we can use.
    """
    file.seek(0, 2)
    if file.tell() > FILE_BYTES:
        raise FileRejected(f"The file is larger than {FILE_BYTES // 1024**2} MiB")
    file.seek(0)
    file_id = _hash(file)
    envelope = _Envelope(file_id, received_at, settings.mapping.words)
    reader = LineReader(file)
    header = _parse_header(reader.read_line(), settings)
    rows = 0
    for line, raw, cells in _split_records(reader, header):
        if not isinstance(cells, Reason) and not any(cells):
            continue
        rows += 1
        if rows > FILE_ROWS:
            yield _make_message(envelope, header, line, b"", _Row(Reason.TOO_MANY_ROWS))
            return
        yield _make_message(envelope, header, line, raw, _read_row(header, cells))


def parse_row(raw: bytes, settings: SourceSettings, received_at: datetime) -> Message:
    """Map a kept row again; it has no control id and no line of its own.

    :raises FileRejected: its header is not one we can use.
    """
    reader = LineReader(io.BytesIO(raw))
    header = _parse_header(reader.read_line(), settings)
    envelope = _Envelope("", received_at, settings.mapping.words)
    for _, record, cells in _split_records(reader, header):
        return _make_message(envelope, header, 0, record, _read_row(header, cells))
    return _make_message(envelope, header, 0, b"", _Row(Reason.UNREADABLE))


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()[:32]


def _parse_header(line: Line | None, settings: SourceSettings) -> _Header:
    if line is None:
        raise FileRejected("The file is empty")
    mapping = settings.mapping
    raw = line.content.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n")
    delimiter = mapping.csv_delimiter.encode() or max(_DELIMITERS, key=raw.count)
    try:
        encoding = codecs.lookup(mapping.csv_encoding).name
        names = [cell.strip('" ') for cell in raw.decode(encoding).split(delimiter.decode())]
    except LookupError as error:
        raise FileRejected(f"There is no encoding {mapping.csv_encoding}") from error
    except UnicodeDecodeError as error:
        wanted = "UTF-8" if encoding == "utf-8" else encoding
        raise FileRejected(f"The first line is not {wanted}: save the file as CSV UTF-8") from error
    own = {_normalise(name): Field(field) for field, name in mapping.csv_columns.items()}
    fields = [own.get(_normalise(name)) or _FIELDS.get(_normalise(name)) for name in names]
    for needed in _NEEDED:
        if not any(field in fields for field in needed):
            raise FileRejected(f"The first line has no column {_NAMES[needed[0]][0]}")
    escaped = re.escape(delimiter)
    split = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"|([^"%b][^%b]*|))(?:%b|\Z)' % ((escaped,) * 3))
    return _Header(raw, delimiter, encoding, names, fields, _columns(names, fields), split)


def _normalise(name: str) -> str:
    plain = unicodedata.normalize("NFD", name.casefold())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def _split_records(
    reader: LineReader, header: _Header
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


def _read_rest(reader: LineReader, record: bytes) -> bytes | None:
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


class _Row(NamedTuple):
    """What became of one record: texts, and what is wrong with the record as a whole or with a
    column of it."""

    fault: Reason | None = None
    column: str = ""
    field: Field = Field.MESSAGE
    texts: dict[Field, str] = {}  # noqa: RUF012 never changed


def _read_row(header: _Header, cells: list[bytes] | Reason) -> _Row:
    if isinstance(cells, Reason):
        return _Row(cells)
    if any(cells[len(header.names) :]):
        return _Row(Reason.TOO_MANY_CELLS)
    texts: dict[Field, str] = {}
    wrong: _Row | None = None
    for name, field, cell in zip(header.names, header.fields, cells, strict=False):
        if len(cell) > CELL_CHARACTERS:
            return _Row(Reason.TOO_LONG, name, field or Field.MESSAGE, texts)
        try:
            text = cell.decode(header.encoding).strip()
        except UnicodeDecodeError:
            is_utf_8 = header.encoding == "utf-8"
            reason = Reason.NOT_UTF_8 if is_utf_8 else Reason.WRONG_CHARACTER_SET
            wrong = wrong or _Row(reason, name, field or Field.MESSAGE, texts)
            continue
        if field is not None and text:
            texts.setdefault(field, text)
    return wrong or _Row(texts=texts)


def _make_message(
    envelope: _Envelope, header: _Header, line: int, raw: bytes, row: _Row
) -> Message:
    body: Booking | Fault
    notices: tuple[Notice, ...] = ()
    if row.fault is not None:
        body = Fault(row.field, row.fault, row.column)
    else:
        try:
            body, notices = _parse_texts(translate_words(row.texts, envelope.words))
        except FieldError as error:
            body = Fault(error.field, error.reason, header.columns[error.field])
    event = body.event if isinstance(body, Booking) else BookingEvent.BOOKED
    content = msgspec.json.encode(row.texts, order="sorted") if row.fault is None else raw
    return Message(
        connector=Connector.CSV,
        control_id=f"{envelope.file_id}:{line}" if envelope.file_id else None,
        event=event.value if isinstance(body, Booking) else "",
        order=Order(sent_at=envelope.received_at, sequence=line, event=event),
        content=content,
        raw=b"\n".join((header.raw, raw[:CELL_CHARACTERS])),
        body=body,
        booking_code=row.texts.get(Field.BOOKING_CODE, "")[:64],
        organisation_codes=_codes(row.texts, Field.ORGANISATION),
        notices=notices,
        paths=header.columns,
        line=line,
    )


def _parse_texts(texts: Mapping[Field, str]) -> tuple[Booking, tuple[Notice, ...]]:
    patient_id = texts.get(Field.PATIENT_ID)
    return parse_booking(
        texts,
        event=parse_event(texts.get(Field.STATUS, "")),
        organisation_codes=_codes(texts, Field.ORGANISATION),
        clinician_codes=_codes(texts, Field.CLINICIAN_CODE),
        patient_keys=(f"||{patient_id}",) if patient_id else (),
        strict=_STRICT,
    )


def _codes(texts: Mapping[Field, str], field: Field) -> tuple[str, ...]:
    return (texts[field],) if field in texts else ()


def _columns(names: list[str], fields: list[Field | None]) -> dict[Field, str]:
    columns = {field: aliases[0] for field, aliases in _NAMES.items()}
    for name, field in reversed(list(zip(names, fields, strict=True))):
        if field is not None:
            columns[field] = name
    if Field.START not in fields:
        columns[Field.START] = columns[Field.DATE]
    return columns
