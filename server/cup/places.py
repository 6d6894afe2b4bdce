"""Addresses and birth places out of the texts of a message. Pure."""

from __future__ import annotations

from collections.abc import Callable

from server.cup.booking import Field
from server.sealed import AddressParts

ReadText = Callable[[Field], str]


def read_residence(read: ReadText) -> AddressParts:
    """The address as it is shown, with its parts where the message has them.

    A message that names the town apart has often only the street in its address.
    """
    whole, street, city = read(Field.ADDRESS), read(Field.STREET), read(Field.CITY)
    if not street and city and city.casefold() not in whole.casefold():
        whole, street = "", whole
    parts = AddressParts(
        street=street,
        postal_code=read(Field.POSTAL_CODE),
        city=city,
        province=read(Field.PROVINCE),
        country=read(Field.COUNTRY),
    )
    if parts == AddressParts():
        return AddressParts(text=whole)
    town = " ".join(filter(None, (parts.postal_code, city, parts.province)))
    return AddressParts(
        text=whole or ", ".join(filter(None, (street, town))),
        street=street,
        postal_code=parts.postal_code,
        city=city,
        province=parts.province,
        country=parts.country,
    )


def read_birth_place(read: ReadText) -> AddressParts | None:
    """Where somebody was born; nothing when the message does not say."""
    place = AddressParts(
        city=read(Field.BIRTH_CITY),
        province=read(Field.BIRTH_PROVINCE),
        country=read(Field.BIRTH_COUNTRY),
    )
    return place if place != AddressParts() else None


def has_parts(place: AddressParts) -> bool:
    """Whether more than the text is known."""
    return place != AddressParts(text=place.text)
