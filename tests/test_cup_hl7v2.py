"""HL7 v2 into messages and back: vectors in Italian shape, the samples, and anything at all."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.cup.booking import Booking, BookingEvent, Fault, Field, Merge, Message, Reason
from server.cup.hl7v2 import out
from server.cup.hl7v2.frames import END, START, Framer, wrap
from server.cup.hl7v2.mapping import parse_hl7
from server.cup.hl7v2.out import AckCode, parse_answer, render_ack, render_event
from server.cup.hl7v2.wire import FRAME_BYTES, find_header, parse_path, split_lines
from server.cup.outbox.outgoing import OutgoingEvent, Verdict
from server.models import Connector, EventKind
from server.sources import Listener, Mapping, Outgoing, SourceSettings

VECTORS = Path(__file__).parent / "vectors/cup"
SAMPLES = Path(__file__).parents[2] / "shared/samples/hl7v2"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
PLAIN = SourceSettings()


def siu(
    *segments: str, event: str = "S12", header: str = "", version: str = "2.5", end: str = "\r"
) -> bytes:
    """A message with the usual head and patient, and the segments in place of SCH and the rest."""
    head = header or (
        f"MSH|^~\\&|CUP|AUSL|ACCANTO|030101|20261120101500||SIU^{event}|M-1|P|{version}"
        "||||||UNICODE UTF-8"
    )
    lines = [head, *(segments or ("SCH|C-1", "TQ1|||||||20261201093000")), "PID|||7^^^A^PI||Rossi"]
    return (end.join(lines) + end).encode()


def read(raw: bytes, source: SourceSettings = PLAIN) -> Message:
    return parse_hl7(raw, source, NOW)


def booking_of(raw: bytes, source: SourceSettings = PLAIN) -> Booking:
    body = read(raw, source).body
    assert isinstance(body, Booking), body
    return body


def fault_of(raw: bytes, source: SourceSettings = PLAIN) -> Fault:
    body = read(raw, source).body
    assert isinstance(body, Fault), body
    return body


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def test_version_2_3_in_latin_1_with_its_times_in_sch_11() -> None:
    message = read(vector("siu-s12-2.3.hl7"))

    booking = message.body
    assert isinstance(booking, Booking)
    assert (message.event, message.control_id, message.order.sequence) == ("S12", "0000451", 451)
    assert message.order.sent_at == datetime(2026, 11, 10, 8, 15, tzinfo=UTC)
    assert booking.booking_code == message.booking_code == "PRE-2026-000451"
    assert booking.start == datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    assert booking.end == datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    assert booking.priority == "B"
    assert booking.is_first_visit is False
    assert booking.clinician_codes == ("B1234",)
    assert (booking.clinic_code, booking.clinic_name) == ("CARD-01", "Cardiologia territoriale")
    assert booking.identity.codice_fiscale == "BRTRSO48C52D612A"
    assert booking.identity.phone == "3331234567"
    assert booking.identity.address == "Via dei Serragli 12, 50124 Firenze FI"
    assert booking.details.service_name.endswith("DELL'ATTIVITÀ")
    assert booking.details.agenda == "Agenda televisita cardiologia"
    assert booking.details.booked_on == date(2026, 11, 10)
    assert message.notices == ()


def test_version_2_5_with_prescription_service_and_contacts() -> None:
    booking = booking_of(vector("siu-s12-2.5.hl7"))

    assert booking.event is BookingEvent.BOOKED
    assert booking.start == datetime(2026, 12, 1, 13, 30, tzinfo=UTC)
    assert booking.end == booking.start + timedelta(minutes=20)
    assert booking.organisation_codes[:2] == ("030101", "AUSL-TOSCANA")
    assert booking.clinician_codes == ("B1234", "BNCNNA70A41D612X")
    assert booking.patient_keys[0] == "AUSLTC|PI|1004455"
    identity, details = booking.identity, booking.details
    assert (identity.family_name, identity.given_name) == ("Bertolucci", "Rosa Maria")
    assert (identity.birth_date, identity.sex) == (date(1948, 3, 12), "F")
    assert identity.team_card == "80380001500123456789"
    assert (identity.phone, identity.email) == ("3331234567", "rosa.bertolucci@example.it")
    assert identity.address == "Via dei Serragli 12, 50124 Firenze FI"
    assert identity.language == "it"
    assert details.nre == "090A04000000248"
    assert (details.service_code, details.regional_code) == ("89.01.3", "TC0123")
    assert details.question == "Controllo dello scompenso cardiaco"
    assert details.prescriber == "Dr. Giuseppe Rossi"


def test_version_2_8_with_the_filler_code_an_omocode_and_new_contacts() -> None:
    booking = booking_of(vector("siu-s13-2.8.hl7"))

    assert booking.booking_code == "AG-77813"
    assert booking.start == datetime(2026, 12, 2, 14, 0, tzinfo=UTC)
    assert booking.priority == "P"
    assert booking.identity.codice_fiscale == "RSSMRA80A01H50MM"
    assert booking.identity.birth_date == date(1980, 1, 1)
    assert booking.identity.phone == "+393337654321"
    assert booking.identity.email == "mario.rossi@example.it"
    assert booking.details.regional_code == "TC0999"
    assert booking.clinic_code == "AG-CARD"


def test_stp_escapes_and_a_patient_who_needs_an_interpreter() -> None:
    booking = booking_of(vector("siu-s12-stp.hl7"))

    assert booking.identity.codice_fiscale == "STP0801040001234"
    assert booking.details.question == "Dolore & febbre, T | 38 da tre giorni (è in terapia)"
    assert booking.details.interpreter == "fra"
    assert booking.is_first_visit is True
    assert booking.start is not None
    assert booking.end == booking.start + timedelta(minutes=45)


def test_s14_says_cancelled_in_sch_25() -> None:
    booking = booking_of(vector("siu-s14-cancelled.hl7"))

    assert booking.event is BookingEvent.CANCELLED
    assert booking.start is None


def test_s14_with_a_word_that_is_not_known_stays_a_modification() -> None:
    raw = siu("SCH|C-1" + "|" * 24 + "Strano", "TQ1|||||||20261201093000", event="S14")

    assert booking_of(raw).event is BookingEvent.BOOKED


@pytest.mark.parametrize(
    ("event", "expected"),
    [("S12", "booked"), ("S13", "booked"), ("S14", "booked"), ("S15", "cancelled"),
     ("S16", "cancelled"), ("S17", "cancelled"), ("S26", "no_show")],
)  # fmt: skip
def test_the_event_type_leads(event: str, expected: str) -> None:
    message = read(siu(event=event))

    assert isinstance(message.body, Booking)
    assert message.body.event == expected
    assert message.order.event == expected


def test_a40_merges_the_retired_number_into_the_other() -> None:
    merge = read(vector("adt-a40.hl7")).body

    assert isinstance(merge, Merge)
    assert merge.patient_keys[0] == "AUSLTC|PI|1004455"
    assert merge.retired_keys[0] == "AUSLTC|PI|2009911"
    assert merge.retired_codice_fiscale == "STP0801040009999"
    assert merge.identity.family_name == "Bertolucci"


def test_a_merge_without_the_retired_number_is_a_fault() -> None:
    raw = vector("adt-a40.hl7").replace(b"MRG|2009911", b"MRG|").partition(b"~STP")[0]

    assert fault_of(raw) == Fault(Field.PATIENT_ID, Reason.MISSING, "PID-3")


@pytest.mark.parametrize("kind", ["ORU^R01", "ADT^A60", "SIU^S23", "SIU", "ADT^A39", ""])
def test_other_messages_are_no_booking(kind: str) -> None:
    raw = siu(header=f"MSH|^~\\&|C|A|X|Y|20261120101500||{kind}|M-1|P|2.5")

    fault = fault_of(raw)

    assert fault == Fault(Field.MESSAGE, Reason.NOT_A_BOOKING, "MSH-9")
    assert out.ack_code_of(fault) is AckCode.AR


@pytest.mark.parametrize("version", ["2.1", "2.9", "3", ""])
def test_a_version_that_is_not_read_is_rejected(version: str) -> None:
    assert fault_of(siu(version=version)) == Fault(Field.MESSAGE, Reason.NOT_KNOWN, "MSH-12")


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5.1", "2.6", "2.7", "2.8"])
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_every_version_and_every_line_end(version: str, end: str) -> None:
    assert booking_of(siu(version=version, end=end)).booking_code == "C-1"


def test_other_delimiters() -> None:
    table = bytes.maketrans(b"|^~\\&", b"#!*%$")
    raw = vector("siu-s12-stp.hl7").translate(table)

    booking = booking_of(raw)

    assert booking.identity.codice_fiscale == "STP0801040001234"
    assert booking.details.question == "Dolore $ febbre, T # 38 da tre giorni (è in terapia)"


@pytest.mark.parametrize("encoding", ["^^~&", "^~", "abcd", "^~\\|", " ~\\&"])
def test_delimiters_that_cannot_be_told_apart_are_a_fault(encoding: str) -> None:
    raw = siu(header=f"MSH|{encoding}|C|A|X|Y|20261120101500||SIU^S12|M-1|P|2.5")

    body = read(raw).body

    assert isinstance(body, Fault) == (encoding != "^~")


@pytest.mark.parametrize(
    ("declared", "encoding", "is_right"),
    [("ASCII", "utf-8", False), ("UNICODE UTF-8", "utf-8", True), ("8859/1", "latin-1", True),
     ("8859/15", "iso8859-15", True), ("UNICODE UTF-8", "latin-1", False),
     ("", "utf-8", True), ("", "latin-1", False), ("UNICODE UTF-16", "utf-8", False)],
)  # fmt: skip
def test_character_sets(declared: str, encoding: str, is_right: bool) -> None:
    text = siu().decode().replace("UNICODE UTF-8", declared).replace("Rossi", "Nicolò")
    body = read(text.encode(encoding)).body

    if is_right:
        assert isinstance(body, Booking)
        assert body.identity.family_name == "Nicolò"
    else:
        assert body == Fault(Field.MESSAGE, Reason.WRONG_CHARACTER_SET, "MSH-18")


def test_the_character_set_of_a_source_that_does_not_say() -> None:
    raw = siu().decode().replace("UNICODE UTF-8", "").replace("Rossi", "Nicolò").encode("latin-1")

    booking = booking_of(raw, SourceSettings(listener=Listener(character_set="8859/1")))

    assert booking.identity.family_name == "Nicolò"


@pytest.mark.parametrize(
    ("segments", "start"),
    [
        (("SCH|C-1", "TQ1|||||||20261201093000+0215", "AIS|1||x|20270101000000"), "07:15"),
        (("SCH|C-1", "AIS|1||x|20261201093000", "AIP|1|||||20270101000000"), "08:30"),
        (("SCH|C-1", "AIP|1||x|||20261201093000", "AIL|1|||||20270101000000"), "08:30"),
        (("SCH|C-1", "AIL|1||x|||20261201093000"), "08:30"),
        (("SCH|C-1", "AIG|1||x|||||20261201093000"), "08:30"),
        (("SCH|C-1||||||||||^^^20261201093000",), "08:30"),
        (("SCH|C-1", "TQ1|||||||202612010930"), "08:30"),
        (("SCH|C-1", "TQ1|||||||2026120109"), "08:00"),
        (("SCH|C-1", "TQ1|||||||20261201093000.1234+0100"), "08:30"),
    ],
)
def test_where_the_start_is_read(segments: tuple[str, ...], start: str) -> None:
    found = booking_of(siu(*segments)).start

    assert found is not None
    assert f"{found:%Y-%m-%d %H:%M}" == f"2026-12-01 {start}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.MISSING),
        ("20261201", Reason.NOT_A_TIME),
        ("20270328023000", Reason.NOT_A_TIME),
        ("20261301093000", Reason.NOT_A_DATE),
        ("domani", Reason.NOT_A_DATE),
        ("20261201093000+9900", Reason.NOT_A_DATE),
    ],
)
def test_a_start_that_is_none_is_a_fault(text: str, reason: Reason) -> None:
    fault = fault_of(siu("SCH|C-1", f"TQ1|||||||{text}"))

    assert fault == Fault(Field.START, reason, "TQ1-7")
    assert out.ack_code_of(fault) is AckCode.AE


@pytest.mark.parametrize(
    ("segment", "minutes"),
    [("AIS|1||x||||90|s", 1), ("AIS|1||x||||2|h^hours", 120), ("AIS|1||x||||45|^minuti", 45),
     ("AIS|1||x||||45", 45), ("AIP|1||x||||||25|min", 25), ("AIG|1||x||||||||25|MIN", 25)],
)  # fmt: skip
def test_durations(segment: str, minutes: int) -> None:
    booking = booking_of(siu("SCH|C-1", "TQ1|||||||20261201093000", segment))

    assert booking.start is not None
    assert booking.end == booking.start + timedelta(minutes=minutes)


def test_a_duration_in_unknown_units_is_a_notice() -> None:
    message = read(siu("SCH|C-1", "TQ1|||||||20261201093000", "AIS|1||x||||3|lustri"))

    assert isinstance(message.body, Booking)
    assert message.body.end is None
    assert [str(notice) for notice in message.notices] == ["minutes:not_a_duration"]


def test_no_booking_code_and_no_patient_are_faults() -> None:
    nobody = siu().decode().replace("PID|||7^^^A^PI||Rossi", "PID|||").encode()

    assert fault_of(siu("SCH|", "TQ1|||||||20261201093000")) == Fault(
        Field.BOOKING_CODE, Reason.MISSING, "SCH-1.1"
    )
    assert fault_of(nobody) == Fault(Field.FAMILY_NAME, Reason.MISSING, "PID-5.1")
    assert fault_of(siu("ZZZ|1")).field is Field.BOOKING_CODE


def test_the_booking_code_of_a_faulty_message_is_known() -> None:
    message = read(siu("SCH|C-1"))

    assert isinstance(message.body, Fault)
    assert message.booking_code == "C-1"


def test_a_sender_that_is_not_of_this_source_is_rejected() -> None:
    source = SourceSettings(listener=Listener(sending_applications=["ALTRO"]))

    assert fault_of(siu(), source) == Fault(Field.MESSAGE, Reason.WRONG_SENDER, "MSH-3")


def test_a_source_says_where_and_in_what_words() -> None:
    mapping = Mapping(
        hl7_paths={"booking_code": "SCH-2.1", "exemption": "ZPR-3", "nre": "ZPR-2.1",
                   "prescribed_on": "ZPR-4", "agenda": "MSH-3",
                   "not_a_field": "ZPR-5", "phone": "wrong"},
        words={"priority": {"1": "U"}, "exemption": {"E 01": "E01"}},
    )  # fmt: skip
    raw = siu("SCH|C-1|F-1", "TQ1|||||||20261201093000||1", "ZPR||1300A4000000248|E 01|20261101")

    message = read(raw, SourceSettings(mapping=mapping))

    booking = message.body
    assert isinstance(booking, Booking)
    assert (booking.booking_code, booking.priority) == ("F-1", "U")
    assert booking.details.exemption == "E01"
    assert booking.details.agenda == "CUP"
    assert booking.details.nre == "1300A4000000248"
    assert booking.details.prescribed_on == date(2026, 11, 1)
    assert message.paths[Field.NRE] == "ZPR-2.1"
    assert message.paths[Field.PHONE] == "PID-13"


def test_the_content_leaves_out_the_envelope_and_keeps_the_event() -> None:
    raw = siu()
    later = raw.replace(b"20261120101500", b"20261121101500").replace(b"M-1", b"M-2")

    assert read(raw).content == read(later).content
    assert read(raw).content != read(siu(event="S13")).content
    assert read(raw).content == read(siu(end="\r\n")).content


def test_without_msh_7_the_arrival_orders_and_is_told() -> None:
    message = read(siu().replace(b"20261120101500", b""))

    assert message.order.sent_at == NOW
    assert [str(notice) for notice in message.notices] == ["message:not_a_date"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.UNREADABLE),
        (b"MSH", Reason.UNREADABLE),
        (b"MSH|", Reason.UNREADABLE),
        (b"PID|1", Reason.UNREADABLE),
        (b"BHS|^~\\&|CUP", Reason.UNREADABLE),
        (START + siu(), Reason.UNREADABLE),
        (siu() + siu(), Reason.UNREADABLE),
        (siu() + b"NTE|" + b"x" * FRAME_BYTES, Reason.TOO_LARGE),
        (siu() + b"NTE|1\r" * 2000, Reason.TOO_LARGE),
        (siu() + b"NTE||" + b"x" * 65_537, Reason.TOO_LARGE),
        (siu() + b"OBR||" + b"&" * 60_000, Reason.TOO_LARGE),
    ],
)
def test_caps_and_cut_messages(raw: bytes, reason: Reason) -> None:
    started = time.process_time()
    message = read(raw)

    assert isinstance(message.body, Fault)
    assert (message.body.field, message.body.reason) == (Field.MESSAGE, reason)
    assert message.raw == raw
    assert time.process_time() - started < 0.1


def test_escapes_repeat_nothing_and_log_nothing(caplog: pytest.LogCaptureFixture) -> None:
    question = r"a\.sp999999999\b\Z1234\c\X0\d\M1234\e\\f\X00\ "
    message = read(siu(f"SCH|C-1||||||^{question}", "TQ1|||||||20261201093000"))

    assert isinstance(message.body, Booking)
    assert len(message.body.details.question) < 20
    assert caplog.records == []


@settings(max_examples=400)
@given(st.binary(max_size=2000))
def test_random_bytes_never_raise(raw: bytes) -> None:
    assert read(raw).raw == raw


@settings(max_examples=400)
@given(st.data())
def test_a_damaged_message_never_raises_nor_takes_long(data: st.DataObject) -> None:
    names = ("siu-s12-2.3", "siu-s12-2.5", "siu-s13-2.8", "siu-s12-stp", "adt-a40")
    raw = bytearray(vector(f"{data.draw(st.sampled_from(names))}.hl7"))
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\0", b"\xc3", b'""'])
            | st.binary(max_size=8)
        )
    started = time.process_time()
    message = read(bytes(raw))
    render_ack(find_header(message.raw) or out.Header(), None, "X", NOW)

    assert len(message.order.key) <= 255
    assert message.control_id is None or message.control_id.isprintable()
    assert message.event.isprintable()
    assert message.booking_code.isprintable()
    assert time.process_time() - started < 1


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 50))
def test_frames_do_not_depend_on_how_the_bytes_arrive(bodies: list[bytes], size: int) -> None:
    bodies = [body.replace(START, b"").replace(b"\x1c", b"") for body in bodies]
    stream = b"noise".join(wrap(body) for body in bodies)
    framer = Framer()
    found = [
        message
        for at in range(0, len(stream), size)
        for message in framer.feed(stream[at : at + size])
    ]

    assert found == bodies
    assert framer.close() == []


def test_a_frame_that_is_cut_is_kept_as_such() -> None:
    framer = Framer()

    assert framer.feed(b"\x0bMSH|one\x0bMSH|two" + END) == [b"\x0bMSH|one", b"MSH|two"]
    assert framer.feed(b"\x0bMSH|three\x1c") == []
    assert framer.close() == [b"\x0bMSH|three\x1c"]


def test_a_frame_that_is_too_long_is_over_at_the_limit_and_the_next_is_found() -> None:
    framer = Framer()
    found = [
        message
        for _ in range(32)
        for message in framer.feed((START if _ == 0 else b"") + b"x" * 65_536)
    ]

    assert [len(message) for message in found] == [FRAME_BYTES + 1]
    assert framer.feed(END + wrap(b"next")) == [b"next"]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the samples are not in {SAMPLES}")
@pytest.mark.parametrize("event", ["S12", "S13", "S14", "S15", "S26"])
def test_samples(event: str) -> None:
    message = read((SAMPLES / f"SIU-{event}-01.hl7").read_bytes())

    booking = message.body
    assert isinstance(booking, Booking)
    assert (message.event, message.control_id) == (event, f"MSG000{event[1:]}")
    assert booking.booking_code == "12345"
    assert booking.start == datetime(2021, 9, 24, 7, 15, tzinfo=UTC)
    assert booking.end == datetime(2021, 9, 24, 8, 5, tzinfo=UTC)
    assert booking.priority == "B"
    assert booking.clinician_codes[0] == "1210"
    assert booking.identity.family_name == "EVERYMAN"
    assert booking.identity.birth_date == date(1988, 8, 18)
    assert booking.patient_keys == ("test1|MR|PATID1234", "USSSA|SS|123456789")


def test_an_answer_echoes_the_message_and_says_nothing_of_it() -> None:
    raw = vector("siu-s12-2.3.hl7")
    header = find_header(raw)
    assert header is not None

    taken = hl7.parse(render_ack(header, None, "OURS", NOW).decode())
    refused = render_ack(header, Fault(Field.START, Reason.MISSING, "TQ1-7"), "OURS", NOW).decode()

    assert [str(taken["MSH"][0][number]) for number in (3, 4, 5, 6, 12)] == [
        "ACCANTO", "030101", "CUP", "AUSL-TOSCANA", "2.3"
    ]  # fmt: skip
    assert str(taken["MSA"][0]) == "MSA|AA|0000451"
    assert "MSA|AE|0000451|start: missing" in refused
    assert "ERR" not in refused


def test_an_answer_has_err_where_the_version_has_it() -> None:
    header = find_header(siu())
    assert header is not None

    answer = render_ack(header, Fault(Field.START, Reason.MISSING, "TQ1-7"), "OURS", NOW).decode()

    assert "ERR||TQ1^1^7^1|101^Required field missing^HL70357|E|||start: missing\r" in answer


def event_of(kind: EventKind, **facts: str | int | bool) -> OutgoingEvent:
    start = datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    return OutgoingEvent(
        number=7,
        control_id="8KX0M2R5T7W9Y1A3",
        kind=kind,
        facts=facts,
        booking_code="PRE|1",
        start=start,
        end=start + timedelta(minutes=30),
        sent_at=NOW,
        organisation_code="030101",
        clinician_code="B1234",
        service_code="89.01.3",
    )


def rendered(event: OutgoingEvent, **changes: object) -> hl7.Message:
    outgoing = Outgoing(connector=Connector.HL7V2, address="127.0.0.1:1", **changes)  # type: ignore[arg-type]
    message = render_event(event, outgoing)
    assert message is not None
    return hl7.parse(message.decode())


@pytest.mark.parametrize(
    ("outcome", "word"),
    [("completed", "Complete"), ("no_show_patient", "Noshow"), ("technical_failure", "Cancelled"),
     ("no_show_clinician", "Cancelled"), ("converted_to_in_person", "Cancelled")],
)  # fmt: skip
def test_outcomes_in_sch_25(outcome: str, word: str) -> None:
    facts = {
        "outcome": outcome,
        "began_at": "2026-12-01T08:33:00+00:00",
        "ended_at": "2026-12-01T08:52:00+00:00",
    }
    message = rendered(event_of(EventKind.ENDED, **facts))

    assert str(message["MSH"][0][9]) == "SIU^S14^SIU_S12"
    assert message.extract_field("SCH", 1, 1) == "PRE|1"
    assert message.extract_field("SCH", 1, 25) == word
    assert message.extract_field("TQ1", 1, 7) == "20261201093000+0100"
    assert message.extract_field("AIS", 1, 4) == "20261201093300+0100"
    assert message.extract_field("AIS", 1, 7) == "19"


def test_a_source_has_its_own_words_and_its_own_place_for_the_code() -> None:
    message = rendered(
        event_of(EventKind.ENDED, outcome="completed"),
        words={"completed": "EROGATA"},
        is_filler_code=True,
    )

    assert str(message["SCH"][0][1]) == ""
    assert message.extract_field("SCH", 1, 2) == "PRE|1"
    assert message.extract_field("SCH", 1, 25) == "EROGATA"


@pytest.mark.parametrize("kind", [EventKind.CONFIRMED, EventKind.CHECKED_IN, EventKind.BEGUN])
def test_what_happens_before_the_end_is_told_in_configured_words_only(kind: EventKind) -> None:
    without = Outgoing(connector=Connector.HL7V2, address="127.0.0.1:1")

    assert render_event(event_of(kind), without) is None
    assert rendered(event_of(kind), words={kind.value: "Parola"}).extract_field("SCH", 1, 25) == (
        "Parola"
    )


def test_requests_are_srm() -> None:
    cancel = rendered(event_of(EventKind.CANCEL_ASKED, late=True))
    again = rendered(event_of(EventKind.REBOOKING_ASKED, reason="technical_failure"))

    assert str(cancel["MSH"][0][9]) == "SRM^S04^SRM_S01"
    assert cancel.extract_field("ARQ", 1, 1) == "PRE|1"
    assert cancel.extract_field("ARQ", 1, 6) == "late_patient_request"
    assert str(again["MSH"][0][9]) == "SRM^S01^SRM_S01"
    assert again.extract_field("ARQ", 1, 1) == "8KX0M2R5T7W9Y1A3"
    assert again.extract_field("ARQ", 1, 6) == "technical_failure"
    assert again.extract_field("ARQ", 1, 22) == "PRE|1"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"MSH|^~\\&|C\rMSA|AA|X1", Verdict.DELIVERED),
        (b"MSH|^~\\&|C\rMSA|CA|X1", Verdict.DELIVERED),
        (b"MSH|^~\\&|C\nMSA|AE|X1|no", Verdict.REFUSED),
        (b"MSH|^~\\&|C\rMSA|AR|X1", Verdict.REFUSED),
        (b"MSH|^~\\&|C\rMSA|AR|X1\rERR|||207^Application internal error^HL70357", Verdict.RETRY),
        (b"MSH|^~\\&|C\rMSA|AA|X2", Verdict.RETRY),
        (b"MSH|^~\\&|C\rMSA", Verdict.RETRY),
        (b"HTTP/1.1 400", Verdict.RETRY),
        (b"MSH|^~\\&|C||||||SRR^S04^SRR_S01\rMSA|AA|X1\rSCH|1", Verdict.DELIVERED),
    ],
)
def test_answers_read_back(answer: bytes, verdict: Verdict) -> None:
    assert parse_answer(answer).verdict("X1") is verdict


def test_paths() -> None:
    path = parse_path("PID-11.1.2")
    assert path is not None
    assert (path.segment, path.field, path.component, path.subcomponent) == ("PID", 11, 1, 2)
    assert [
        parse_path(text) for text in ("PID", "pid-3", "PID-0", "PID-3.0", "PID-3.1.1.1", "")
    ] == [None] * 6


def test_a_line_feed_inside_a_field_ends_no_segment() -> None:
    assert split_lines("MSH|1\rNTE|a\nb\rPID|1\r") == ["MSH|1", "NTE|a\nb", "PID|1"]
