"""The CSV connector: Italian exports become bookings, wrong rows are named by line and column."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.cup.booking import (
    Booking,
    BookingEvent,
    Fault,
    Field,
    FieldError,
    FileRejected,
    Message,
    Notice,
    Reason,
)
from server.cup.csvfile import mapping
from server.cup.csvfile.mapping import parse_csv, parse_row
from server.cup.identifiers import find_person, is_check_right
from server.cup.texts import parse_day, parse_instant
from server.sources import Mapping, SourceSettings

VECTORS = Path(__file__).parent / "vectors" / "cup"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HEADER = b"codice_prenotazione;inizio;cognome;data_nascita;indirizzo\r\n"


def parse(content: bytes) -> tuple[list[Booking], list[tuple[int, str, str]]]:
    """The bookings of a file, and line, column and reason of its wrong rows."""
    messages = read(content)
    bookings = [row.body for row in messages if isinstance(row.body, Booking)]
    errors = [
        (row.line, row.body.path, row.body.reason.value)
        for row in messages
        if isinstance(row.body, Fault)
    ]
    return bookings, errors


def read(content: bytes, **mapping: Any) -> list[Message]:
    settings = SourceSettings(mapping=Mapping(**mapping))
    return list(parse_csv(io.BytesIO(content), settings, NOW))


def good_row(code: str, address: bytes = b"Via Roma 1") -> bytes:
    return code.encode() + b";01/12/2026 09:30;Rossi;02/01/1950;" + address + b"\r\n"


def test_italian_export_becomes_bookings() -> None:
    bookings, errors = parse((VECTORS / "giornata.csv").read_bytes())

    assert errors == []
    rosa, arben, fatima, dino, loredana = bookings
    assert rosa.start == datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    assert rosa.end == datetime(2026, 12, 1, 8, 50, tzinfo=UTC)
    assert rosa.identity.codice_fiscale == "BRTRSO44E57D612M"
    assert rosa.identity.address == "Via dei Serragli 112; Firenze"
    assert (rosa.priority, rosa.details.exemption) == ("B", "048")
    assert rosa.organisation_codes == ("ausl-toscana",)
    assert arben.identity.birth_date == date(1971, 3, 30)
    assert arben.details.question == 'Rivalutazione, "urgente"'
    assert arben.priority == "B"
    assert fatima.is_first_visit
    assert fatima.identity.codice_fiscale == "STP0900010000123"
    assert dino.event is BookingEvent.CANCELLED
    assert dino.identity.birth_date == date(1950, 6, 3)
    assert loredana.is_first_visit


def test_wrong_rows_are_named_and_good_rows_are_in() -> None:
    bookings, errors = parse((VECTORS / "righe-sbagliate.csv").read_bytes())

    assert [booking.booking_code for booking in bookings] == ["TC-1", "TC-8"]
    assert errors == [
        (3, "booking_code", "missing"),
        (4, "start", "not_a_date"),
        (5, "family_name", "not_utf_8"),
        (6, "end", "ends_before_start"),
        (7, "", "broken_quotes"),
        (8, "", "too_many_cells"),
    ]


@pytest.mark.parametrize(
    ("quote", "filling"), [(b"", b"x"), (b'"', b"x"), (b'"', b"x\n"), (b'"', b'x""')]
)
def test_cell_of_ten_megabytes_costs_its_own_row_only(quote: bytes, filling: bytes) -> None:
    cell = quote + filling * (10_000_000 // len(filling)) + quote
    content = HEADER + good_row("A") + good_row("B", cell) + good_row("C")

    bookings, errors = parse(content)

    assert [booking.booking_code for booking in bookings] == ["A", "C"]
    assert errors == [(3, "indirizzo", "too_long")]


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_delimiter_and_byte_order_mark_are_recognised(delimiter: str, mark: bytes) -> None:
    text = (HEADER + good_row("A")).decode().replace(";", delimiter)

    bookings, errors = parse(mark + text.encode())

    assert ([booking.booking_code for booking in bookings], errors) == (["A"], [])


def test_quoted_cell_may_span_lines_and_later_lines_keep_their_number() -> None:
    content = HEADER + good_row("A", b'"Via Roma 1\nscala B\n"') + b"B;domani;Rossi;;\n"

    bookings, errors = parse(content)

    assert bookings[0].identity.address == "Via Roma 1 scala B"
    assert errors == [(5, "inizio", "not_a_date")]


def test_quote_that_never_closes_costs_its_own_row_only() -> None:
    content = HEADER + good_row("A", b'"aperta') + b"".join(good_row(f"B{n}") for n in range(50))

    bookings, errors = parse(content)

    assert len(bookings) == 50
    assert errors == [(2, "", "broken_quotes")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"nome;cognome\r\nRosa;Rossi\r\n", "codice_prenotazione"),
        (HEADER.decode().encode("utf-16"), "UTF-8"),
        (b"codice_prenotazione;cognome\r\n", "inizio"),
    ],
)
def test_file_without_a_usable_header_is_rejected(content: bytes, words: str) -> None:
    with pytest.raises(FileRejected, match=words):
        parse(content)


def test_caps_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "FILE_ROWS", 3)
    _, errors = parse(HEADER + b"".join(good_row(str(number)) for number in range(5)))
    assert errors == [(5, "", "too_many_rows")]

    with tempfile.TemporaryFile() as file:
        file.truncate(mapping.FILE_BYTES + 1)
        with pytest.raises(FileRejected, match="50 MiB"):
            next(parse_csv(file, SourceSettings(), NOW))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-01T09:00:00+02:00", datetime(2026, 7, 1, 7, tzinfo=UTC)),
        ("2026-07-01T07:00:00Z", datetime(2026, 7, 1, 7, tzinfo=UTC)),
        ("01/07/2026 09:00", datetime(2026, 7, 1, 7, tzinfo=UTC)),
        ("1.12.2026 9.30", datetime(2026, 12, 1, 8, 30, tzinfo=UTC)),
        ("25/10/2026 02:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    ],
)
def test_times_are_of_rome_unless_they_say_otherwise(text: str, expected: datetime) -> None:
    assert parse_instant(Field.START, text) == expected


@pytest.mark.parametrize(
    "text", ["29/03/2026 02:30", "01/12/2026 24:00", "01/12/2026", "0001-01-01T00:00:00+14:00", "T"]
)
def test_times_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(FieldError):
        parse_instant(Field.START, text)


def test_omocodes_of_one_person_have_one_birth_date() -> None:
    for code in ("RSSMRA80A01H501U", "RSSMRAULALMHRLMD"):
        person = find_person(code)
        assert person is not None
        assert person.birth_date(date(2026, 12, 1)) == date(1980, 1, 1)
    assert find_person("ENI0900010000123") is None
    assert find_person("RSSMRA80A01H501X") is None


@pytest.mark.parametrize(
    ("code", "is_right"),
    [
        ("RSSMRA80A01H501U", True),
        ("RSSMRA80A01H50MM", True),
        ("RSSMRA80A01H501X", False),
        ("12345678903", True),
        ("12345678901", False),
        ("STP0900010000123", True),
    ],
)
def test_check_characters(code: str, is_right: bool) -> None:
    assert is_check_right(code) is is_right


@pytest.mark.parametrize("text", ["1/2/2026", "01022026", "2026-02-01"])
def test_days_are_read_in_three_forms(text: str) -> None:
    assert parse_day(Field.DATE, text) == date(2026, 2, 1)


def rows_between(junk: bytes) -> Iterator[bytes]:
    yield HEADER
    yield good_row("PRIMA")
    yield junk.replace(b'"', b"'") + b"\n"
    yield good_row("DOPO")


@given(st.binary(max_size=2000))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    try:
        messages = read(content)
    except FileRejected:
        return
    assert all(isinstance(row.body, Booking | Fault) for row in messages)


@given(st.binary(max_size=500))
@settings(max_examples=300)
def test_good_rows_around_any_bytes_are_in(junk: bytes) -> None:
    bookings, _ = parse(b"".join(rows_between(junk)))

    codes = [booking.booking_code for booking in bookings]
    assert (codes[0], codes[-1]) == ("PRIMA", "DOPO")


@given(st.text(alphabet=';"\r\na ', max_size=200))
def test_any_quotes_and_delimiters_end(text: str) -> None:
    bookings, errors = parse(HEADER + text.encode() + b"\r\n" + good_row("DOPO"))

    assert bookings or errors


def test_dialect_of_a_source_names_its_columns_its_encoding_and_its_words() -> None:
    content = "num|quando|chi|urgenza\nX1|01/12/2026 09:30|Rossì|1\n".encode("cp1252")

    (row,) = read(
        content,
        csv_delimiter="|",
        csv_encoding="cp1252",
        csv_columns={
            "booking_code": "Num", "start": "quando", "family_name": "chi", "priority": "urgenza"
        },
        words={"priority": {"1": "U"}},
    )  # fmt: skip

    assert isinstance(row.body, Booking)
    assert (row.body.booking_code, row.body.identity.family_name) == ("X1", "Rossì")
    assert row.body.priority == "U"


def test_encoding_that_does_not_exist_is_rejected() -> None:
    with pytest.raises(FileRejected, match="klingon"):
        read(HEADER + good_row("A"), csv_encoding="klingon")


def test_kept_row_is_mapped_again_alone_and_as_the_file_was() -> None:
    messages = read((VECTORS / "giornata.csv").read_bytes())

    for message in messages:
        again = parse_row(message.raw, SourceSettings(), NOW)
        assert (again.body, again.content) == (message.body, message.content)
        assert (again.control_id, again.line) == (None, 0)
    assert len({message.control_id for message in messages}) == len(messages) == 5


def test_what_cannot_be_read_is_noted_and_the_row_goes_in() -> None:
    header = b"codice_prenotazione;inizio;cognome;codice_fiscale;sesso;classe_priorita;nre;email\n"
    row = b"A;01/12/2026 09:30;Rossi;RSSMRA80A01H501U;F;alta;123;a\x00b\n"

    (message,) = read(header + row)

    assert isinstance(message.body, Booking)
    assert message.body.identity.birth_date == date(1980, 1, 1)
    assert (message.body.priority, message.body.identity.email) == ("", "")
    assert set(message.notices) == {
        Notice(Field.SEX, Reason.SEX_DOES_NOT_MATCH),
        Notice(Field.PRIORITY, Reason.NOT_KNOWN),
        Notice(Field.NRE, Reason.NOT_AN_IDENTIFIER),
        Notice(Field.EMAIL, Reason.CONTROL_CHARACTER),
    }


def test_cancellation_needs_no_time_and_a_booking_does() -> None:
    header = b"codice_prenotazione;inizio;stato;cognome\n"

    cancelled, booked = read(header + b"A;;annullata;Rossi\nB;;;Rossi\n")

    assert isinstance(cancelled.body, Booking)
    assert cancelled.body.start is None
    assert booked.body == Fault(Field.START, Reason.MISSING, "inizio")
