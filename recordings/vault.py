"""Sealing of bytes: C2SP chunked encryption with key commitment (Cobblestone-256).

One primitive for notes, identities and, later, recordings. Knows no key hierarchy and no
database: ``server.keyring`` gives it a data key and the context that names the place.
"""

from __future__ import annotations

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

KEY_BYTES = 32


class SealBroken(Exception):
    """The sealed bytes do not open here: altered, moved, or sealed under another key."""


def new_key() -> bytes:
    """Return 32 random bytes."""
    return Cobblestone256Encryptor.generate_key()


def seal(key: bytes, context: bytes, plaintext: bytes) -> bytes:
    """Encrypt ``plaintext`` so that it opens only with ``key`` and the same ``context``."""
    encryptor = Cobblestone256Encryptor(key, context)
    return encryptor.update(plaintext) + encryptor.finalize()


def unseal(key: bytes, context: bytes, sealed: bytes) -> bytes:
    """Decrypt what :func:`seal` made.

    :raises SealBroken: for every failure alike.
    """
    try:
        decryptor = Cobblestone256Decryptor(key, context)
        return decryptor.update(sealed) + decryptor.finalize()
    except (InvalidTag, ValueError) as error:
        raise SealBroken from error
