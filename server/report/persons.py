"""Who the patient is for the national record: identifier, residence, birth place. Pure.

CUP sends one text, parts, or nothing. What cannot be known stays empty: the forms have a word for
*unknown*, and a guess in a signed document would be a false statement.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from babel import Locale
from codicefiscale import codicefiscale

from server.models import Patient as PatientRow
from server.report.content import Address, Identifier, IdentifierKind
from server.sealed import AddressParts, Identity

ITALY: Final = "Italia"
CODICE_FISCALE: Final = re.compile(r"[A-Z0-9]{16}", re.ASCII)
"""ERRORE-59: the form, not the check character; a person's code is what the register says it is."""
_FOREIGN_PROVINCE: Final = "EE"
_ITALY: Final = frozenset({"I", "IT", "ITA", "100", "ITALIA", "ITALY"})
_WITH_POSTAL_CODE: Final = re.compile(
    r"(?P<street>.+?)\s*[,;]\s*(?P<postal_code>\d{5})\s+(?P<city>[^\d,()]+?)"
    r"(?:\s+\(?(?P<province>[A-Z]{2})\)?)?(?:\s*,\s*(?P<country>[^\d,()]+))?",
    re.ASCII | re.DOTALL,
)
_LONGEST: Final = 300
"""A longer text is no address."""
_WITHOUT: Final = re.compile(
    r"(?P<street>.+?)\s*[,;]\s*(?P<city>[^\d,()]+?)(?:\s+\(?(?P<province>[A-Z]{2})\)?)?", re.DOTALL
)


def identifier_of(identity: Identity, row: PatientRow) -> Identifier:
    """The best of what is known. The provisional codice fiscale of eleven digits is none for the
    national record: then, as without any, it is the number that the organisation gave."""
    code = identity.codice_fiscale.upper()
    if CODICE_FISCALE.fullmatch(code):
        return Identifier(kind=_kind_of(code), value=code)
    if identity.ana_code:
        return Identifier(kind=IdentifierKind.ANA, value=identity.ana_code)
    if identity.team_card and identity.team_number:
        return Identifier(
            kind=IdentifierKind.TEAM, value=identity.team_number, card=identity.team_card
        )
    return Identifier(kind=IdentifierKind.REGIONAL, value=row.id)


def _kind_of(code: str) -> IdentifierKind:
    if code.startswith("STP") and code[3:].isdigit():
        return IdentifierKind.STP
    if code.startswith("ENI") and code[3:].isdigit():
        return IdentifierKind.ENI
    return IdentifierKind.CODICE_FISCALE


def residence_of(identity: Identity, said_now: str) -> Address:
    """The parts of CUP while their text is the address; else what an Italian address tells.

    ``said_now`` is where the patient says to be at check-in: better than nothing.
    """
    parts = identity.residence
    if parts is not None and parts.text == identity.address:
        return _address_of(parts)
    return parse_address(identity.address or said_now)


def birth_place_of(identity: Identity) -> Address:
    """As CUP says it, else as the codice fiscale has it."""
    if identity.birth_place is not None:
        return _address_of(identity.birth_place)
    return _born_where(identity.codice_fiscale)


def parse_address(text: str) -> Address:
    """``Via X 1, 50124 Firenze FI`` in its parts, cautiously: without a postal code the last part
    is a town only when Italy has one of that name. What is not understood is all street."""
    text = " ".join(text.split())
    if len(text) > _LONGEST:
        return Address(street=text)
    match = _WITH_POSTAL_CODE.fullmatch(text)
    if match is None:
        match = _WITHOUT.fullmatch(text)
        if match is None or not is_italian_town(match["city"]):
            return Address(street=text)
    found = match.groupdict(default="")
    country = country_name(found.get("country", ""))
    if not country and (found["province"] or is_italian_town(found["city"])):
        country = ITALY
    return Address(
        street=found["street"],
        postal_code=found.get("postal_code", ""),
        city=found["city"].strip(),
        province=found["province"],
        country=country,
    )


def country_name(text: str) -> str:
    """The Italian name of a country by its ISO 3166 code; another text as it is."""
    word = text.strip()
    if word.upper() in _ITALY:
        return ITALY
    known = Locale("it").territories
    return str(known[word.upper()]) if word.upper() in known and len(word) == 2 else word


def _address_of(parts: AddressParts) -> Address:
    """A town without a country is Italian where the province says so or Italy has it."""
    country = country_name(parts.country)
    if not country and parts.city and is_italian_town(parts.city):
        country = ITALY
    return Address(
        street=parts.street,
        postal_code=parts.postal_code,
        city=parts.city,
        province=parts.province,
        country=country,
    )


@lru_cache(maxsize=1024)
def is_italian_town(name: str) -> bool:
    try:
        code = codicefiscale.encode_birthplace(name)
    except ValueError:
        return False
    return not str(code).startswith("Z")


@lru_cache(maxsize=1024)
def _born_where(code: str) -> Address:
    """Nothing of an STP, ENI or provisional code, or with a wrong check character."""
    try:
        place = codicefiscale.decode(code)["birthplace"]
    except ValueError:
        return Address()
    if place["province"] == _FOREIGN_PROVINCE:
        is_plain = "'" not in place["name"]
        return Address(country=place["name"] if is_plain else place["name_alt"] or place["name"])
    return Address(city=place["name"], province=place["province"], country=ITALY)
