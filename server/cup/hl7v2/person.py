"""Persons in HL7 v2: PID and MRG to the texts of a patient, XCN to a name, XTN to contacts.

Pure. Called by :mod:`server.cup.hl7v2` only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from server.cup.booking import Field, FieldError, Merge, Notice, Reason
from server.cup.hl7v2.wire import Path, Repetition, Segments, component
from server.cup.identifiers import clean_code, is_person_code, is_team_card
from server.cup.values import parse_identity

_PERSON_TYPES: Final = frozenset({"CF", "NNITA", "STP", "ENI"})
"""CX-5 of what is a person's code whatever it looks like (table 0203; STP and ENI by use)."""
_PERSON_AUTHORITIES: Final = frozenset(
    f"2.16.840.1.113883.2.9.4.3.{number}" for number in (2, 17, 18)
)
"""Codice fiscale, STP, ENI in HL7 Italia's register."""
_TEAM_AUTHORITY: Final = "2.16.840.1.113883.2.9.4.3.7"
_TEAM_NUMBER_AUTHORITY: Final = "2.16.840.1.113883.2.9.4.3.3"
_ANA_AUTHORITY: Final = "2.16.840.1.113883.2.9.4.3.15"
_LONG_CODE: Final = 16
"""Eleven digits are a codice fiscale only where the message says so: many numbers look like it."""
_KEY_CHARACTERS: Final = 400
_MOBILES: Final = frozenset({"CP", "MC", "SAT"})
_NO_ITALIAN_SPOKEN: Final = "A8"
"""PV1-15 (table 0009): does not speak the language of the place."""


def person_texts(segments: Segments) -> dict[Field, str]:
    """Everything about the patient that PID and PV1 say."""
    numbers = segments.repetitions("PID", 3)
    others = [each for number in (2, 4, 19) for each in segments.repetitions("PID", number)]
    phone, email = _contacts(segments)
    texts = {
        Field.CODICE_FISCALE: _person_code(numbers, others),
        Field.TEAM_CARD: next(filter(None, map(_team_card, numbers)), ""),
        Field.PHONE: phone,
        Field.EMAIL: email,
        Field.TEAM_NUMBER: _number_of(numbers, _TEAM_NUMBER_AUTHORITY),
        Field.ANA_CODE: _number_of(numbers, _ANA_AUTHORITY),
        **next(filter(None, map(_address_texts, segments.repetitions("PID", 11))), {}),
        Field.BIRTH_CITY: segments.text(Path("PID", 23)),
        Field.PRESCRIBER: _prescriber(segments),
    }
    for name in segments.repetitions("PID", 5):
        if component(name, 1):
            texts[Field.FAMILY_NAME] = component(name, 1)
            texts[Field.GIVEN_NAME] = _joined(component(name, 2), component(name, 3))
            break
    if segments.text(Path("PV1", 15)).upper() == _NO_ITALIAN_SPOKEN:
        texts[Field.INTERPRETER] = "yes"
    return texts


def patient_keys(numbers: Iterable[Repetition]) -> tuple[str, ...]:
    """All numbers of a list of CX, each with who gave it and what it is."""
    keys = (f"{_authority(number)}|{component(number, 5).upper()}|{component(number, 1)}"
            for number in numbers if component(number, 1))  # fmt: skip
    return tuple(dict.fromkeys(key for key in keys if len(key) <= _KEY_CHARACTERS))


def parse_merge(segments: Segments, texts: Mapping[Field, str]) -> tuple[Merge, tuple[Notice, ...]]:
    """MRG into PID.

    :raises FieldError: one of the two has no number, or the message merges more than two.
    """
    if segments.count("MRG") > 1 or segments.count("PID") > 1:
        raise FieldError(Field.PATIENT_ID, Reason.UNREADABLE)
    retired = segments.repetitions("MRG", 1)
    keys, retired_keys = patient_keys(segments.repetitions("PID", 3)), patient_keys(retired)
    if not keys or not retired_keys:
        raise FieldError(Field.PATIENT_ID, Reason.MISSING)
    identity, notices = parse_identity(texts, patient_keys=keys)
    merge = Merge(
        patient_keys=keys,
        retired_keys=retired_keys,
        identity=identity,
        retired_codice_fiscale=_person_code(retired, []),
    )
    return merge, notices


def _person_code(numbers: list[Repetition], others: list[Repetition]) -> str:
    """The best of a patient's numbers: what says that it is one, before what looks like one."""
    said = [component(number, 1) for number in numbers if _is_said_to_be_person(number)]
    seen = [clean_code(component(number, 1)) for number in numbers + others]
    long = [code for code in seen if len(code) == _LONG_CODE and is_person_code(code)]
    ordered = sorted(said, key=lambda code: not is_person_code(clean_code(code))) + long
    return next(iter(sorted(ordered, key=_is_for_foreigners)), "")


def _is_for_foreigners(code: str) -> bool:
    return clean_code(code).startswith(("STP", "ENI"))


def _is_said_to_be_person(number: Repetition) -> bool:
    is_typed = component(number, 5).upper() in _PERSON_TYPES
    authorities = (component(number, 4, at) for at in (1, 2))
    return is_typed or any(authority in _PERSON_AUTHORITIES for authority in authorities)


def _team_card(number: Repetition) -> str:
    is_said = component(number, 5).upper() == "TEAM" or _TEAM_AUTHORITY in (
        component(number, 4),
        component(number, 4, 2),
    )
    card = clean_code(component(number, 1))
    return card if is_said and is_team_card(card) else ""


def _number_of(numbers: Iterable[Repetition], authority: str) -> str:
    for number in numbers:
        if authority in (component(number, 4), component(number, 4, 2)):
            return component(number, 1)
    return ""


def _authority(number: Repetition) -> str:
    """CX-4 by its name, else by its OID: the same in a booking and in a merge."""
    return component(number, 4) or component(number, 4, 2)


def _contacts(segments: Segments) -> tuple[str, str]:
    """The number that a short message reaches, else the first one; the first e-mail address."""
    mobiles: list[str] = []
    phones: list[str] = []
    emails: list[str] = []
    for number in (13, 14, 40):
        for contact in segments.repetitions("PID", number):
            texts = (component(contact, 4), component(contact, 1))
            emails += [text for text in texts if "@" in text][:1]
            phone = _phone(contact)
            if phone:
                is_mobile = component(contact, 3).upper() in _MOBILES
                (mobiles if is_mobile else phones).append(phone)
    return next(iter(mobiles + phones), ""), next(iter(emails), "")


def _phone(contact: Repetition) -> str:
    """XTN-1 of old, else XTN-12, else its parts (XTN-5 to 7)."""
    if component(contact, 3).upper() in {"INTERNET", "X.400", "FX", "BP"}:
        return ""
    for text in (component(contact, 1), component(contact, 12)):
        if any(char.isdigit() for char in text) and "@" not in text:
            return text
    country, area, local = (component(contact, at).strip() for at in (5, 6, 7))
    if not local:
        return ""
    prefix = f"+{country.lstrip('+0')}" if country.lstrip("+0") else ""
    return f"{prefix}{area}{local}"


def _address_texts(address: Repetition) -> dict[Field, str]:
    """``Via dei Serragli 12, 50124 Firenze FI`` and its parts; none where there is nothing."""
    parts = [component(address, 1, at) for at in (1, 2, 3)]
    parts[1:] = [part for part in parts[1:] if part not in parts[0]]
    street = _joined(*parts, component(address, 2))
    town = _joined(*(component(address, at) for at in (5, 3, 4)))
    whole = ", ".join(filter(None, (street, town)))
    if not whole:
        return {}
    return {
        Field.ADDRESS: whole,
        Field.STREET: street,
        Field.POSTAL_CODE: component(address, 5),
        Field.CITY: component(address, 3),
        Field.PROVINCE: component(address, 4),
        Field.COUNTRY: component(address, 6),
    }


def _prescriber(segments: Segments) -> str:
    """Who ordered it (ORC-12, OBR-16), else who referred the patient (PV1-8)."""
    for segment, number in (("ORC", 12), ("OBR", 16), ("PV1", 8)):
        for person in segments.repetitions(segment, number):
            name = _joined(*(component(person, at) for at in (6, 3, 2)))
            if name or component(person, 1):
                return name or component(person, 1)
    return ""


def _joined(*texts: str) -> str:
    return re.sub(r"\s+", " ", " ".join(filter(None, texts))).strip()
