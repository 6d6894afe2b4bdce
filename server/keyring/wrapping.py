"""One key wrapped by another: AES-256-GCM over 32 bytes, bound to what the key is for.

``wrapped`` is a random nonce of 12 bytes and the ciphertext with its tag. A key check value names
a key without telling anything of it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from recordings.vault import SealBroken
from server.db import OrganisationId

_NONCE_BYTES: Final = 12
_CHECK_VALUE_BYTES: Final = 8


class Secret(bytes):
    """Bytes of a key: neither a traceback nor a log line shows them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<sealed>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)


class Wrapper:
    """A key that wraps keys."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def __repr__(self) -> str:
        return "<sealed>"

    def wrap(self, secret: bytes, aad: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret, aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        """:raises SealBroken: altered, of another purpose, or wrapped by another key."""
        try:
            return Secret(self._aead.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], aad))
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error


def check_value(key: bytes) -> str:
    """The key check value: 16 hex characters, the same for the same key only."""
    return hmac.digest(key, b"accanto|key-check", hashlib.sha256)[:_CHECK_VALUE_BYTES].hex()


def derive(key: bytes, purpose: str) -> Secret:
    """A 32-byte secret of its own for each purpose."""
    return Secret(hmac.digest(key, f"accanto|{purpose}".encode(), hashlib.sha256))


def organisation_key_aad(organisation: OrganisationId, purpose: str, version: int) -> bytes:
    return f"accanto|organisation-key|{organisation}|{purpose}|{version}".encode()


def data_key_aad(organisation: OrganisationId, owner: str, key_id: str, kek_version: int) -> bytes:
    return f"accanto|data-key|{organisation}|{owner}|{key_id}|{kek_version}".encode()
