"""With what a clinician signs, and in which words a signature is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from server.models import SignerKind

LONGEST_FILE_BYTES: Final = 64 * 1024
"""A PKCS#12 file with a key and its certificates has 3 to 8 kB."""


class Refusal(StrEnum):
    """Why there is no signature; pages and commands have a sentence for each."""

    WRONG_PIN = "wrong_pin"
    LOCKED = "locked"
    """Too many wrong PINs: the means must be given again."""
    UNREADABLE = "unreadable"
    """Not a PKCS#12 file, or nothing in it that signs."""
    UNREACHABLE = "unreachable"
    """The token, its module or the time stamp authority does not answer."""
    NO_KEY = "no_key"
    """The token has no such key, or no certificate for it."""
    WEAK_KEY = "weak_key"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_KEY_USAGE = "wrong_key_usage"
    """The certificate is for something else than signing documents."""
    NOT_THE_DOCTOR = "not_the_doctor"
    """The certificate is of somebody else."""


class SigningRefused(Exception):
    """``reason`` is a :class:`Refusal`; nothing was signed."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Pkcs12File:
    """A file with key and certificates; its password is the PIN."""

    content: bytes

    kind = SignerKind.PKCS12


class Pkcs11Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key on a token that the computer of the platform reaches."""

    module: str
    """Path of the token's PKCS#11 library."""
    token: str
    """Label of the token."""
    key: str
    """Label of the private key and, unless ``certificate`` says otherwise, of its certificate."""
    certificate: str = ""

    @property
    def kind(self) -> SignerKind:
        return SignerKind.PKCS11


@dataclass(frozen=True, slots=True)
class SignerMeans:
    """The means of one clinician, opened from their row. ``codice_fiscale`` is the clinician's,
    empty when it is not known."""

    organisation: str
    user_id: str
    key: Pkcs12File | Pkcs11Key
    codice_fiscale: str = ""
