"""From texts to a booking: dates, codes and words as Italian booking centres write them.

Pure. Raises :class:`~server.cup.booking.FieldError` with the field that is wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from codicefiscale import codicefiscale

from server.cup.booking import Booking, Field, FieldError, Reason
from server.models import AppointmentStatus
from server.sealed import Details, Identity

ROME: Final = ZoneInfo("Europe/Rome")
CELL_CHARACTERS: Final = 65_536
_DEFAULT_DURATION: Final = timedelta(minutes=30)
_LONGEST_DURATION: Final = timedelta(hours=24)
_YEARS: Final = range(1890, 2101)
_LONGEST: Final[Mapping[Field, int]] = {
    Field.BOOKING_CODE: 64,
    Field.CLINICIAN_CODE: 64,
    Field.CLINIC_CODE: 64,
    Field.CLINIC_NAME: 200,
    Field.FAMILY_NAME: 200,
    Field.GIVEN_NAME: 200,
    Field.PHONE: 64,
    Field.EMAIL: 254,
    Field.NRE: 64,
}
_STATUSES: Final[Mapping[str, AppointmentStatus]] = {
    **dict.fromkeys(
        ("", "booked", "pending", "arrived", "checked-in", "fulfilled", "noshow", "prenotata",
         "prenotato", "confermata", "confermato", "spostata", "spostato"),
        AppointmentStatus.BOOKED,
    ),
    **dict.fromkeys(
        ("cancelled", "entered-in-error", "annullata", "annullato", "disdetta", "disdetto",
         "cancellata", "cancellato"),
        AppointmentStatus.CANCELLED,
    ),
}  # fmt: skip
_PRIORITIES: Final[Mapping[str, str]] = {
    "": "",
    **dict.fromkeys(("u", "s", "stat", "urgente"), "U"),
    **dict.fromkeys(("b", "a", "asap", "urgent", "breve"), "B"),
    **dict.fromkeys(("d", "el", "differibile"), "D"),
    **dict.fromkeys(("p", "r", "routine", "programmata", "programmabile"), "P"),
}
"""PNGLA classes, HL7 ActPriority (S, A, EL, R) and FHIR request priorities, to U, B, D, P."""
_YES_AND_NO: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "s", "si", "x", "y", "yes", "true", "vero", "primo"), True),
    **dict.fromkeys(("", "0", "n", "no", "false", "falso", "controllo"), False),
}
_SEXES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("m", "male", "maschio"), "M"),
    **dict.fromkeys(("f", "female", "femmina"), "F"),
}
_FIRST_VISIT_CODE: Final = "89.7"
"""First visits of the national nomenclature: 89.7 and its specialties (89.7A.3…)."""
_DATE: Final = re.compile(
    r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})|(\d{4})-(\d{2})-(\d{2})|(\d{8})", re.ASCII
)
_TIME: Final = re.compile(r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?", re.ASCII)
_IDENTIFIER: Final = re.compile(
    r"[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]"
    r"|\d{11}|(?:STP|ENI)\d{13}",
    re.ASCII,
)
"""Codice fiscale with its omocodes (HL7 Italia it-core), the provisional one of 11 digits, STP
and ENI. The check character is not verified: test cases of the ministry have a wrong one."""

Texts = Mapping[Field, str]
_Value = TypeVar("_Value")


def parse_booking(
    texts: Texts,
    *,
    organisation_codes: tuple[str, ...],
    clinician_codes: tuple[str, ...],
) -> Booking:
    """Build the booking of one row.

    :raises FieldError: names the field and what is wrong with it.
    """
    texts = {field: clean_text(field, text) for field, text in texts.items()}
    start, end = _parse_times(texts)
    service_code = texts.get(Field.SERVICE_CODE, "").upper()
    is_first_visit = _choose(texts, Field.FIRST_VISIT, _YES_AND_NO)
    return Booking(
        booking_code=_require(texts, Field.BOOKING_CODE),
        organisation_codes=organisation_codes,
        clinician_codes=tuple(clean_text(Field.CLINICIAN_CODE, code) for code in clinician_codes),
        clinic_code=texts.get(Field.CLINIC_CODE, ""),
        clinic_name=texts.get(Field.CLINIC_NAME, ""),
        start=start,
        end=end,
        status=_choose(texts, Field.STATUS, _STATUSES),
        priority=_choose(texts, Field.PRIORITY, _PRIORITIES),
        is_first_visit=is_first_visit or service_code.startswith(_FIRST_VISIT_CODE),
        identity=_parse_identity(texts, start),
        details=Details(
            nre=texts.get(Field.NRE, "").upper(),
            question=texts.get(Field.QUESTION, ""),
            service_code=service_code,
            service_name=texts.get(Field.SERVICE_NAME, ""),
            exemption=texts.get(Field.EXEMPTION, ""),
            prescriber=texts.get(Field.PRESCRIBER, ""),
        ),
    )


def clean_text(field: Field, text: str) -> str:
    """A text that every database and screen can hold: NFC, without control or direction
    characters, not too long."""
    if len(text) > CELL_CHARACTERS:
        raise FieldError(field, Reason.TOO_LONG)
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    if not text.isprintable():
        text = "".join(char for char in text if unicodedata.category(char) != "Cf")
        if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text):
            raise FieldError(field, Reason.CONTROL_CHARACTER)
    if len(text) > _LONGEST.get(field, CELL_CHARACTERS):
        raise FieldError(field, Reason.TOO_LONG)
    return text


def parse_day(field: Field, text: str) -> date:
    """``gg/mm/aaaa``, ``ggmmaaaa`` or ISO."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise FieldError(field, Reason.NOT_A_DATE)
    day, month, year, iso_year, iso_month, iso_day, digits = match.groups()
    if digits:
        day, month, year = digits[:2], digits[2:4], digits[4:]
    try:
        parsed = date(int(year or iso_year), int(month or iso_month), int(day or iso_day))
    except ValueError as error:
        raise FieldError(field, Reason.NOT_A_DATE) from error
    if parsed.year not in _YEARS:
        raise FieldError(field, Reason.NOT_A_DATE)
    return parsed


def parse_instant(field: Field, text: str) -> datetime:
    """A date and a time; of Europe/Rome unless the text has an offset."""
    if "T" in text:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError as error:
            raise FieldError(field, Reason.NOT_A_DATE) from error
        if parsed.year not in _YEARS:
            raise FieldError(field, Reason.NOT_A_DATE)
        return parsed.astimezone(UTC) if parsed.tzinfo else _at_rome(field, parsed)
    day, _, clock = text.partition(" ")
    return _at_rome(field, datetime.combine(parse_day(field, day), _parse_clock(field, clock)))


def birth_date_of(codice_fiscale: str) -> date | None:
    """The birth date inside a codice fiscale; none in an STP, ENI or provisional code."""
    if not codicefiscale.is_valid(codice_fiscale):
        return None
    born: datetime = codicefiscale.decode(codice_fiscale)["birthdate"]
    return born.date()


def _parse_times(texts: Texts) -> tuple[datetime, datetime]:
    if texts.get(Field.START):
        start = parse_instant(Field.START, texts[Field.START])
    else:
        day = parse_day(Field.DATE, _require(texts, Field.DATE))
        clock = _parse_clock(Field.TIME, _require(texts, Field.TIME))
        start = _at_rome(Field.TIME, datetime.combine(day, clock))
    end = _parse_end(texts, start)
    if not timedelta(0) < end - start <= _LONGEST_DURATION:
        raise FieldError(Field.END, Reason.ENDS_BEFORE_START)
    return start, end


def _parse_end(texts: Texts, start: datetime) -> datetime:
    text = texts.get(Field.END, "")
    if _TIME.fullmatch(text):
        day = start.astimezone(ROME).date()
        end = _at_rome(Field.END, datetime.combine(day, _parse_clock(Field.END, text)))
        return end if end > start else end + timedelta(days=1)
    if text:
        return parse_instant(Field.END, text)
    minutes = texts.get(Field.MINUTES, "")
    if not minutes:
        return start + _DEFAULT_DURATION
    if not re.fullmatch(r"[0-9]{1,4}", minutes) or int(minutes) == 0:
        raise FieldError(Field.MINUTES, Reason.NOT_A_DURATION)
    return start + timedelta(minutes=int(minutes))


def _parse_clock(field: Field, text: str) -> time:
    match = _TIME.fullmatch(text)
    if match is None:
        raise FieldError(field, Reason.NOT_A_TIME)
    try:
        return time(int(match[1]), int(match[2]), int(match[3] or 0))
    except ValueError as error:
        raise FieldError(field, Reason.NOT_A_TIME) from error


def _at_rome(field: Field, local: datetime) -> datetime:
    """The instant of a local time; the hour that the change to summer time skips is refused."""
    instant = local.replace(tzinfo=ROME).astimezone(UTC)
    if instant.astimezone(ROME).replace(tzinfo=None) != local:
        raise FieldError(field, Reason.NOT_A_TIME)
    return instant


def _parse_identity(texts: Texts, start: datetime) -> Identity:
    code = texts.get(Field.CODICE_FISCALE, "").replace(" ", "").upper()
    if code and not _IDENTIFIER.fullmatch(code):
        raise FieldError(Field.CODICE_FISCALE, Reason.NOT_AN_IDENTIFIER)
    text = texts.get(Field.BIRTH_DATE, "")
    birth_date = parse_day(Field.BIRTH_DATE, text) if text else birth_date_of(code)
    if birth_date is None:
        raise FieldError(Field.BIRTH_DATE, Reason.MISSING)
    if birth_date > start.date():
        raise FieldError(Field.BIRTH_DATE, Reason.NOT_A_DATE)
    return Identity(
        family_name=_require(texts, Field.FAMILY_NAME),
        given_name=texts.get(Field.GIVEN_NAME, ""),
        birth_date=birth_date,
        sex=_SEXES.get(texts.get(Field.SEX, "").casefold(), ""),
        codice_fiscale=code,
        phone=texts.get(Field.PHONE, ""),
        email=texts.get(Field.EMAIL, ""),
        address=texts.get(Field.ADDRESS, ""),
    )


def _require(texts: Texts, field: Field) -> str:
    text = texts.get(field, "")
    if not text:
        raise FieldError(field, Reason.MISSING)
    return text


def _choose(texts: Texts, field: Field, words: Mapping[str, _Value]) -> _Value:
    word = unicodedata.normalize("NFD", texts.get(field, "").casefold())
    word = "".join(char for char in word if not unicodedata.combining(char))
    if word not in words:
        raise FieldError(field, Reason.NOT_KNOWN)
    return words[word]
