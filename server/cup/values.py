"""From texts to a booking: dates, codes and words as Italian booking centres write them.

Pure. Only what makes a booking unusable is a :class:`~server.cup.booking.FieldError` (its code, who
it is for, when it is); whatever else cannot be read is left out and told as a
:class:`~server.cup.booking.Notice`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Final, TypeVar

from server.cup import identifiers
from server.cup.booking import Booking, BookingEvent, Field, FieldError, Notice, Reason
from server.cup.places import has_parts, read_birth_place, read_residence
from server.cup.texts import (
    ROME,
    at_rome,
    clean_text,
    is_clock,
    parse_clock,
    parse_day,
    parse_day_of,
    parse_instant,
    plain,
)
from server.sealed import Details, Identity

_LONGEST_DURATION: Final = timedelta(hours=24)
_EVENTS: Final[Mapping[str, BookingEvent]] = {
    **dict.fromkeys(
        ("", "booked", "pending", "arrived", "checked-in", "fulfilled", "prenotata", "prenotato",
         "confermata", "confermato", "spostata", "spostato"),
        BookingEvent.BOOKED,
    ),
    **dict.fromkeys(
        ("cancelled", "entered-in-error", "annullata", "annullato", "disdetta", "disdetto",
         "cancellata", "cancellato"),
        BookingEvent.CANCELLED,
    ),
    **dict.fromkeys(
        ("noshow", "no-show", "no_show", "no show", "assente", "non presentato", "non presentata"),
        BookingEvent.NO_SHOW,
    ),
}  # fmt: skip
_PRIORITIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("u", "s", "stat", "urgente"), "U"),
    **dict.fromkeys(("b", "a", "asap", "urgent", "breve"), "B"),
    **dict.fromkeys(("d", "el", "differibile"), "D"),
    **dict.fromkeys(("p", "r", "routine", "programmata", "programmabile"), "P"),
}
"""PNGLA classes, HL7 ActPriority (S, A, EL, R) and FHIR request priorities, to U, B, D, P."""
_YES_AND_NO: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "s", "si", "x", "y", "yes", "true", "vero", "primo"), True),
    **dict.fromkeys(("0", "n", "no", "false", "falso", "controllo"), False),
}
_SEXES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("m", "male", "maschio"), "M"),
    **dict.fromkeys(("f", "female", "femmina"), "F"),
}
_LANGUAGES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("en", "eng", "english", "inglese"), "en"),
    **dict.fromkeys(("it", "ita", "italian", "italiano"), "it"),
}
_FIRST_VISIT_CODE: Final = "89.7"
"""First visits of the national nomenclature: 89.7 and its specialties (89.7A.3…)."""
_NRE: Final = re.compile(r"\d{3}[0-9A-Z]{2}\d{10}", re.ASCII)

Texts = Mapping[Field, str]
_Value = TypeVar("_Value")


def parse_event(text: str) -> BookingEvent:
    """What a status word of FHIR or of an Italian export says.

    :raises FieldError: no word we know; guessing could keep a cancelled booking open.
    """
    word = plain(text)
    if word not in _EVENTS:
        raise FieldError(Field.STATUS, Reason.NOT_KNOWN)
    return _EVENTS[word]


def parse_booking(
    texts: Texts,
    *,
    event: BookingEvent,
    organisation_codes: tuple[str, ...],
    clinician_codes: tuple[str, ...],
    patient_keys: tuple[str, ...] = (),
    strict: frozenset[Field] = frozenset(),
) -> tuple[Booking, tuple[Notice, ...]]:
    """Build the booking of one message, and say what in it could not be read.

    ``strict`` names fields that a connector wants right when they are there.

    :raises FieldError: no booking code, nobody it is for, no start of a booked one; or a strict
        field that is wrong.
    """
    reader = _Reader(texts, strict)
    booking_code = reader.require(Field.BOOKING_CODE)
    start = _read_start(reader, event)
    service_code = reader.text(Field.SERVICE_CODE).upper()
    is_first_visit = reader.choose(Field.FIRST_VISIT, _YES_AND_NO)
    identity = _read_identity(reader, start, patient_keys)
    booking = Booking(
        booking_code=booking_code,
        event=event,
        organisation_codes=organisation_codes,
        clinician_codes=reader.clean_all(Field.CLINICIAN_CODE, clinician_codes),
        clinic_code=reader.text(Field.CLINIC_CODE),
        clinic_name=reader.text(Field.CLINIC_NAME),
        start=start,
        end=_read_end(reader, start),
        priority=reader.choose(Field.PRIORITY, _PRIORITIES) or "",
        is_first_visit=True if service_code.startswith(_FIRST_VISIT_CODE) else is_first_visit,
        identity=identity,
        patient_keys=patient_keys,
        details=_read_details(reader, service_code),
    )
    return booking, tuple(dict.fromkeys(reader.notices))


def parse_identity(
    texts: Texts, *, patient_keys: tuple[str, ...]
) -> tuple[Identity, tuple[Notice, ...]]:
    """Who somebody is, outside of a booking (a merge).

    :raises FieldError: neither a name nor an identifier.
    """
    reader = _Reader(texts, frozenset())
    identity = _read_identity(reader, None, patient_keys)
    return identity, tuple(dict.fromkeys(reader.notices))


def translate_words(texts: Texts, words: Mapping[str, Mapping[str, str]]) -> dict[Field, str]:
    """The texts with a source's own words replaced by ours."""
    return {field: words.get(field, {}).get(text, text) for field, text in texts.items()}


class _Reader:
    """The texts of one message, cleaned, and what was odd in them."""

    def __init__(self, texts: Texts, strict: frozenset[Field]) -> None:
        self._strict = strict
        self._faults: dict[Field, FieldError] = {}
        self.notices: list[Notice] = []
        self._texts: dict[Field, str] = {}
        for field, text in texts.items():
            try:
                self._texts[field] = clean_text(field, text)
            except FieldError as error:
                self._faults[field] = error
                self.notices.append(Notice(error.field, error.reason))

    def is_strict(self, field: Field) -> bool:
        return field in self._strict

    def text(self, field: Field) -> str:
        return self._texts.get(field, "")

    def require(self, field: Field) -> str:
        """A text that must be there, with what was wrong with it when it is not."""
        text = self._texts.get(field, "")
        if not text:
            raise self._faults.get(field) or FieldError(field, Reason.MISSING)
        return text

    def note(self, field: Field, reason: Reason) -> None:
        """Something is odd.

        :raises FieldError: and the connector wants this field right.
        """
        if field in self._strict:
            raise FieldError(field, reason)
        self.notices.append(Notice(field, reason))

    def read(self, field: Field, parse: Callable[[Field, str], _Value]) -> _Value | None:
        """A value, or none when the field is empty or cannot be read."""
        text = self.text(field)
        if not text:
            return None
        try:
            return parse(field, text)
        except FieldError as error:
            self.note(field, error.reason)
            return None

    def choose(self, field: Field, words: Mapping[str, _Value]) -> _Value | None:
        text = self.text(field)
        if not text:
            return None
        found = words.get(plain(text))
        if found is None:
            self.note(field, Reason.NOT_KNOWN)
        return found

    def clean_all(self, field: Field, texts: tuple[str, ...]) -> tuple[str, ...]:
        cleaned = []
        for text in texts:
            try:
                cleaned.append(clean_text(field, text))
            except FieldError as error:
                self.note(field, error.reason)
        return tuple(text for text in cleaned if text)


def _read_start(reader: _Reader, event: BookingEvent) -> datetime | None:
    try:
        return _parse_start(reader)
    except FieldError as error:
        is_said = error.reason is not Reason.MISSING
        if event is BookingEvent.BOOKED or (is_said and reader.is_strict(error.field)):
            raise
        if is_said:
            reader.notices.append(Notice(error.field, error.reason))
        return None


def _parse_start(reader: _Reader) -> datetime:
    if reader.text(Field.START) or not reader.text(Field.DATE):
        return parse_instant(Field.START, reader.require(Field.START))
    day = parse_day(Field.DATE, reader.text(Field.DATE))
    clock = parse_clock(Field.TIME, reader.require(Field.TIME))
    return at_rome(Field.TIME, datetime.combine(day, clock))


def _read_end(reader: _Reader, start: datetime | None) -> datetime | None:
    """When it ends, if the message says so in words that make sense."""
    if start is None:
        return None
    end = reader.read(Field.END, lambda field, text: _parse_end(field, text, start))
    if end is None:
        minutes = reader.read(Field.MINUTES, _parse_minutes)
        end = start + minutes if minutes else None
    if end is not None and not timedelta(0) < end - start <= _LONGEST_DURATION:
        reader.note(Field.END, Reason.ENDS_BEFORE_START)
        return None
    return end


def _parse_end(field: Field, text: str, start: datetime) -> datetime:
    if not is_clock(text):
        return parse_instant(field, text)
    day = start.astimezone(ROME).date()
    end = at_rome(field, datetime.combine(day, parse_clock(field, text)))
    return end if end > start else end + timedelta(days=1)


def _parse_minutes(field: Field, text: str) -> timedelta:
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) == 0:
        raise FieldError(field, Reason.NOT_A_DURATION)
    return timedelta(minutes=int(text))


def _read_identity(
    reader: _Reader, start: datetime | None, patient_keys: tuple[str, ...]
) -> Identity:
    code = _read_person_code(reader)
    team_card = _read_team_card(reader)
    if not (code or team_card or patient_keys):
        reader.require(Field.FAMILY_NAME)
    sex = reader.choose(Field.SEX, _SEXES) or ""
    residence = read_residence(reader.text)
    return Identity(
        family_name=reader.text(Field.FAMILY_NAME),
        given_name=reader.text(Field.GIVEN_NAME),
        birth_date=_read_birth_date(reader, code, sex, start),
        sex=sex,
        codice_fiscale=code,
        phone=reader.text(Field.PHONE),
        email=reader.text(Field.EMAIL),
        address=residence.text,
        residence=residence if has_parts(residence) else None,
        birth_place=read_birth_place(reader.text),
        team_card=team_card,
        team_number=identifiers.clean_code(reader.text(Field.TEAM_NUMBER)),
        ana_code=identifiers.clean_code(reader.text(Field.ANA_CODE)),
        language=_LANGUAGES.get(plain(reader.text(Field.LANGUAGE)).partition("-")[0], ""),
    )


def _read_person_code(reader: _Reader) -> str:
    code = identifiers.clean_code(reader.text(Field.CODICE_FISCALE))
    if code and not identifiers.is_person_code(code):
        reader.note(Field.CODICE_FISCALE, Reason.NOT_AN_IDENTIFIER)
        return ""
    if not identifiers.is_check_right(code):
        reader.note(Field.CODICE_FISCALE, Reason.CHECK_CHARACTER_WRONG)
    return code


def _read_team_card(reader: _Reader) -> str:
    card = identifiers.clean_code(reader.text(Field.TEAM_CARD))
    if card and not identifiers.is_team_card(card):
        reader.note(Field.TEAM_CARD, Reason.NOT_AN_IDENTIFIER)
        return ""
    return card


def _read_birth_date(reader: _Reader, code: str, sex: str, start: datetime | None) -> date | None:
    """As said, else from the codice fiscale; what the two say against each other is noted."""
    person = identifiers.find_person(code)
    said = reader.read(Field.BIRTH_DATE, parse_day_of)
    if said is not None and start is not None and said > start.astimezone(ROME).date():
        reader.note(Field.BIRTH_DATE, Reason.NOT_A_DATE)
        said = None
    if person is None:
        return said
    if sex and sex != person.sex:
        reader.notices.append(Notice(Field.SEX, Reason.SEX_DOES_NOT_MATCH))
    if said is None:
        return person.birth_date(start.astimezone(ROME).date()) if start is not None else None
    if not person.is_born(said):
        reader.notices.append(Notice(Field.BIRTH_DATE, Reason.BIRTH_DATE_DOES_NOT_MATCH))
    return said


def _read_details(reader: _Reader, service_code: str) -> Details:
    nre = identifiers.clean_code(reader.text(Field.NRE))
    if nre and not _NRE.fullmatch(nre):
        reader.note(Field.NRE, Reason.NOT_AN_IDENTIFIER)
    return Details(
        nre=nre,
        question=reader.text(Field.QUESTION),
        service_code=service_code,
        service_name=reader.text(Field.SERVICE_NAME),
        regional_code=reader.text(Field.REGIONAL_CODE),
        exemption=reader.text(Field.EXEMPTION),
        prescriber=reader.text(Field.PRESCRIBER),
        agenda=reader.text(Field.AGENDA),
        prescribed_on=reader.read(Field.PRESCRIBED_ON, parse_day_of),
        booked_on=reader.read(Field.BOOKED_ON, parse_day_of),
        offered_on=reader.read(Field.OFFERED_ON, parse_day_of),
        interpreter=_read_interpreter(reader),
    )


def _read_interpreter(reader: _Reader) -> str:
    """The language; a bare *yes* is that of the patient."""
    text = reader.text(Field.INTERPRETER)
    is_needed = _YES_AND_NO.get(plain(text))
    if is_needed is False:
        return ""
    return (reader.text(Field.LANGUAGE) or text) if is_needed else text
