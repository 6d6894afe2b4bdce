"""What patients read: whole, short, in two languages, and nothing of their health or name."""

from __future__ import annotations

import email.policy
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.i18n import Translator
from server.joinlink import derive_device_code, derive_link
from server.mail.contacts import find_email, find_phone
from server.mail.gsm7 import count_segments, to_gsm7
from server.mail.ics import render_ics
from server.mail.letter import Letter
from server.mail.render import Rendered, Renderer, channels_of
from server.mail.smtp import build_email
from server.models import (
    Appointment,
    AppointmentStatus,
    Channel,
    Clinic,
    MessageKind,
    NoticeRule,
    Organisation,
    Patient,
    PatientMessage,
    User,
    UserRole,
    Visit,
    VisitState,
)
from server.sealed import Identity
from tests.post import BASE_URL, MAIL_FROM

JOIN_KEY = bytes(range(32))
START = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
BOOKED = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
ISSUED = START - timedelta(minutes=5)
ROSA = Identity(
    family_name="Bertolucci",
    given_name="Rosa",
    birth_date=date(1948, 3, 12),
    codice_fiscale="BRTRSO48C52D612U",
    phone="333 1234567",
    email="rosa@posta.example.org",
)
SECRET_WORDS = ("Bertolucci", "Rosa", "BRTRSO", "1948", "Bianchi", "Cardio", "cardio", "CUP-000001")
RENDERER = Renderer(BASE_URL, MAIL_FROM)
KINDS = list(MessageKind)


def letter_of(
    kind: MessageKind = MessageKind.INVITATION,
    *,
    identity: Identity = ROSA,
    start: datetime = START,
    organisation: Organisation | None = None,
    changed_at: datetime = BOOKED,
) -> Letter:
    organisation = organisation or Organisation(
        code="ausl",
        name="Azienda USL Toscana Centro",
        desk_phone="055 123 4567",
        notice_days=2,
        notice_rule=NoticeRule.WORKING_DAYS,
        province="FI",
    )
    appointment = Appointment(
        booking_code="CUP-000001",
        start=start,
        end=start + timedelta(minutes=30),
        status=AppointmentStatus.BOOKED,
        created_at=BOOKED,
        updated_at=changed_at,
        patient=Patient(identity_version=1),
        clinic=Clinic(code="CARD-01", name="Cardiologia territoriale"),
        clinician=User(
            role=UserRole.CLINICIAN, title="dott.ssa", given_name="Anna", family_name="Bianchi"
        ),
    )
    visit = Visit(
        id="visit",
        locator="k7m2p9qx4t",
        link_version=3,
        state=VisitState.BOOKED,
        late_minutes=20,
        appointment=appointment,
    )
    message = PatientMessage(
        id="message-1",
        kind=kind,
        created_at=NOW,
        parameters=f'{{"issued_at": "{ISSUED.isoformat()}"}}',
    )
    return Letter(message, visit, organisation, identity, JOIN_KEY, None)


def rendered(kind: MessageKind, channel: Channel, **values: object) -> Rendered:
    return RENDERER.render(letter_of(kind, **values), channel, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["", "it", "en"])
@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("kind", KINDS)
def test_no_message_says_who_the_patient_is_or_what_for(
    kind: MessageKind, channel: Channel, language: str
) -> None:
    identity = Identity(**{**_fields(ROSA), "language": language})

    found = rendered(kind, channel, identity=identity)

    said = found.subject + found.text + (found.ics or b"").decode()
    assert [word for word in SECRET_WORDS if word in said] == []
    assert "{" not in said
    assert "\n\n\n" not in found.text
    is_english = bool(re.search(r"\b(?:visit|code)\b", found.text))
    assert is_english == (language == "en")
    assert found.language == (language or "it")


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_names_who_to_call_and_the_derived_link(kind: MessageKind) -> None:
    link = f"{BASE_URL}/v/k7m2p9qx4t#{derive_link(JOIN_KEY, 'visit', 3).fragment}"
    without_link = {MessageKind.CANCELLED, MessageKind.DEVICE_CODE, MessageKind.REPORT_CODE}
    has_link = kind not in without_link

    texts = [rendered(kind, channel).text for channel in Channel]

    assert all("055 123 4567" in text for text in texts)
    assert [text.split().count(link) for text in texts] == [has_link, has_link]
    assert "Azienda USL Toscana Centro" in texts[0]


@pytest.mark.parametrize("language", ["it", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_sms_is_at_most_two_segments_of_its_alphabet(kind: MessageKind, language: str) -> None:
    identity = Identity(**{**_fields(ROSA), "language": language})
    long_day = datetime(2026, 9, 30, 9, 40, tzinfo=UTC)

    found = rendered(kind, Channel.SMS, identity=identity, start=long_day)

    assert to_gsm7(found.text) == found.text
    assert count_segments(found.text) <= 2
    assert "\n" not in found.text
    assert (found.subject, found.ics, found.to) == ("", None, "+393331234567")


def test_the_invitation_says_until_when_to_cancel() -> None:
    in_time = RENDERER.render(letter_of(), Channel.EMAIL, NOW)
    late = RENDERER.render(letter_of(), Channel.EMAIL, START - timedelta(days=1))

    assert in_time.subject == "La sua visita in video: giovedì 26 novembre, ore 10:40"
    assert "disdica entro martedì 24 novembre" in in_time.text
    assert "La visita è vicina: se non può esserci" in late.text


def test_the_code_is_the_derived_one_and_ends_after_ten_minutes() -> None:
    found = rendered(MessageKind.DEVICE_CODE, Channel.SMS)

    assert found.text.startswith(derive_device_code(JOIN_KEY, "visit", ISSUED))
    assert "fino alle 10:45" in found.text


def test_late_says_when_it_begins() -> None:
    assert "20 minuti" in rendered(MessageKind.LATE, Channel.SMS).text
    assert "verso le 11:00" in rendered(MessageKind.LATE, Channel.EMAIL).text


@pytest.mark.parametrize(
    ("phone", "address", "kind", "channels"),
    [
        ("3331234567", "rosa@posta.example.org", MessageKind.INVITATION, ["email", "sms"]),
        ("3331234567", "rosa@posta.example.org", MessageKind.DEVICE_CODE, ["sms", "email"]),
        ("3331234567", "", MessageKind.INVITATION, ["sms"]),
        ("", "rosa@posta.example.org", MessageKind.DEVICE_CODE, ["email"]),
        ("chiedere al figlio", "nessuna", MessageKind.INVITATION, []),
    ],
)
def test_channels_are_those_that_lead_somewhere(
    phone: str, address: str, kind: MessageKind, channels: list[str]
) -> None:
    identity = Identity(phone=phone, email=address)

    assert channels_of(letter_of(kind, identity=identity)) == channels


# ---- calendar file ---------------------------------------------------------------------


def unfolded(ics: bytes) -> dict[str, str]:
    lines = ics.decode().replace("\r\n ", "").split("\r\n")
    return {name: value for name, _, value in (line.partition(":") for line in reversed(lines))}


def test_the_calendar_file_is_one_event_that_moves_and_ends() -> None:
    moved_at = BOOKED + timedelta(days=3)
    invitation = unfolded(rendered(MessageKind.INVITATION, Channel.EMAIL).ics or b"")
    moved = unfolded(rendered(MessageKind.MOVED, Channel.EMAIL, changed_at=moved_at).ics or b"")
    cancelled = unfolded(
        rendered(
            MessageKind.CANCELLED, Channel.EMAIL, changed_at=moved_at + timedelta(minutes=1)
        ).ics
        or b""
    )

    events = [invitation, moved, cancelled]
    assert [event["METHOD"] for event in events] == ["PUBLISH", "PUBLISH", "CANCEL"]
    assert [event["STATUS"] for event in events] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    assert len({event["UID"] for event in events}) == 1
    sequences = [int(event["SEQUENCE"]) for event in events]
    assert sequences[0] == 0
    assert sequences[0] < sequences[1] < sequences[2] < 2**31
    assert invitation["ORGANIZER"] == f"mailto:{MAIL_FROM}"


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-03-28T10:40+01:00", "20260328T094000Z"),
        ("2026-03-30T10:40+02:00", "20260330T084000Z"),
        ("2026-10-24T10:40+02:00", "20261024T084000Z"),
        ("2026-10-26T10:40+01:00", "20261026T094000Z"),
    ],
)
def test_the_calendar_file_is_right_on_both_sides_of_the_change_of_the_hour(
    local: str, utc: str
) -> None:
    found = rendered(MessageKind.INVITATION, Channel.EMAIL, start=datetime.fromisoformat(local))

    assert unfolded(found.ics or b"")["DTSTART"] == utc
    assert "ore 10:40" in found.subject


def test_the_calendar_file_holds_no_link_and_escapes_what_it_holds() -> None:
    letter = letter_of()
    letter.organisation.desk_phone = "055 1,2;3\\4 oppure\r\nATTENDEE:x " + "à" * 200

    ics = render_ics(letter.visit, letter.organisation, Translator("it"), NOW)

    lines = ics.decode().split("\r\n")
    assert max(len(line.encode()) for line in lines) <= 75
    assert all("\n" not in line for line in lines)
    assert not any(line.startswith("ATTENDEE") for line in lines)
    assert "055 1\\,2\\;3\\\\4 oppure\\nATTENDEE:x àà" in ics.decode().replace("\r\n ", "")
    for word in ("http", letter.visit.locator, "#"):
        assert word not in ics.decode()


# ---- e-mail ----------------------------------------------------------------------------


def test_the_email_is_whole_and_its_link_survives_the_line_length() -> None:
    found = rendered(MessageKind.INVITATION, Channel.EMAIL)

    raw = build_email(found, MAIL_FROM).as_bytes(policy=email.policy.SMTP)

    message = email.message_from_bytes(raw, policy=email.policy.default)
    body = message.get_body(("plain",))  # type: ignore[attr-defined]
    [attached] = list(message.iter_attachments())  # type: ignore[attr-defined]
    assert message["To"] == "rosa@posta.example.org"
    assert message["From"] == f"Azienda USL Toscana Centro <{MAIL_FROM}>"
    assert message["Subject"] == found.subject
    assert message["Message-ID"] == "<message-1@azienda.example.it>"
    assert body.get_content().replace("\r\n", "\n").strip() == found.text
    assert attached.get_content_type() == "text/calendar"
    assert attached["Content-Type"].params["method"] == "PUBLISH"
    assert attached.get_filename() == "visita.ics"
    assert attached.get_content().encode().replace(b"\r\n", b"\n") == (found.ics or b"").replace(
        b"\r\n", b"\n"
    )
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998


@pytest.mark.parametrize(
    "name", ["Azienda\r\nBcc: tutti@example.org", 'Azienda "Sant\'Anna", Pisa', "Unità Salù"]
)
def test_no_header_can_be_put_in_by_a_name(name: str) -> None:
    letter = letter_of()
    letter.organisation.name = name

    found = RENDERER.render(letter, Channel.EMAIL, NOW)
    raw = build_email(found, MAIL_FROM).as_bytes(policy=email.policy.SMTP)

    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert message["Bcc"] is None
    assert message["From"].addresses[0].addr_spec == MAIL_FROM
    assert message["From"].addresses[0].display_name == " ".join(name.split())


# ---- contacts and the alphabet of SMS ----------------------------------------------------


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("333 1234567", "+393331234567"),
        ("333-123.45/67", "+393331234567"),
        ("+39 333 1234567", "+393331234567"),
        ("0039 333 1234567", "+393331234567"),
        ("393331234567", "+393331234567"),
        ("391 2345678", "+393912345678"),
        ("055 1234567", "+390551234567"),
        ("+44 20 7946 0958", "+442079460958"),
        ("", None),
        ("12", None),
        ("chiedere al figlio", None),
        ("333 1234567 dopo le 18", None),
        ("+39 333 1234567\r\nX", None),
    ],
)
def test_numbers_become_e164(written: str, number: str | None) -> None:
    assert find_phone(written) == number


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (" rosa@posta.example.org ", "rosa@posta.example.org"),
        ("rosa.b+visite@posta.example.org", "rosa.b+visite@posta.example.org"),
        ("rosa@posta", None),
        ("rosa@@posta.it", None),
        ("rosa@posta.it, altro@posta.it", None),
        ("Rosa <rosa@posta.it>", None),
        ("rosa@posta.it\r\nBcc: tutti@posta.it", None),
        ("nessuna", None),
    ],
)
def test_only_a_plain_address_is_written_to(written: str, address: str | None) -> None:
    assert find_email(written) == address


@given(st.text())
def test_every_text_fits_the_alphabet_of_sms(text: str) -> None:
    plain = to_gsm7(text)

    assert to_gsm7(plain) == plain
    assert count_segments(plain) >= 1


def test_segments_are_counted_as_they_are_billed() -> None:
    assert [count_segments("a" * size) for size in (0, 160, 161, 306, 307)] == [1, 1, 2, 2, 3]
    assert count_segments("€" * 81) == 2
    assert to_gsm7("“È” l’unità…") == '"E" l\'unità...'


def _fields(identity: Identity) -> dict[str, object]:
    return {name: getattr(identity, name) for name in identity.__struct_fields__}
