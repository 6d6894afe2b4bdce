"""What a person at the desk typed as a contact: cleaned and checked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from server.sealed import Identity

_LONGEST: Final = 200
_PHONE: Final = re.compile(r"\+?\d{6,15}", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+\.[^@\s<>,;.]+")


@dataclass(frozen=True, slots=True)
class Contact:
    """The three fields the desk may change, as they will be kept."""

    phone: str
    email: str
    address: str

    def wrong_fields(self) -> frozenset[str]:
        """The names of the fields that cannot be right; empty fields are."""
        checks = {
            "phone": not self.phone or _PHONE.fullmatch(self.phone) is not None,
            "email": not self.email or _EMAIL.fullmatch(self.email) is not None,
            "address": self.address.isprintable(),
        }
        long = {name for name in checks if len(getattr(self, name)) > _LONGEST}
        return frozenset({name for name, is_right in checks.items() if not is_right} | long)

    def changed_fields(self, identity: Identity) -> list[str]:
        return [
            name
            for name in ("phone", "email", "address")
            if getattr(self, name) != getattr(identity, name)
        ]

    def apply(self, identity: Identity) -> Identity:
        return msgspec.structs.replace(
            identity, phone=self.phone, email=self.email, address=self.address
        )


def contact_of(identity: Identity) -> Contact:
    return Contact(identity.phone, identity.email, identity.address)


def read_contact(form: Mapping[str, object]) -> Contact:
    """The fields of the form; blanks, points and dashes of a telephone number are dropped."""
    texts = {name: str(form.get(name, "")).strip() for name in ("phone", "email", "address")}
    return Contact(
        phone=re.sub(r"[\s./()-]", "", texts["phone"]),
        email=texts["email"],
        address=" ".join(texts["address"].split()),
    )
