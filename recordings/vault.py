"""Sealing of bytes: C2SP chunked encryption with key commitment (Cobblestone-256).

One primitive for notes, identities, files and, later, recordings; ``FORMAT.md`` says it byte by
byte. Knows no key hierarchy, no database and no file: ``server.keyring`` gives it a data key and
the context that names the place, ``recordings.store`` keeps what it seals.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KEY_BYTES: Final = 32
HEADER: Final = b"TV1\x01"
"""Format, and suite 1: Cobblestone-256."""
KEY_ID_BYTES: Final = 16
SALT_BYTES: Final = 24
COMMITMENT_BYTES: Final = 32
PREFIX_BYTES: Final = SALT_BYTES + COMMITMENT_BYTES
CHUNK_BYTES: Final = 16 * 1024
TAG_BYTES: Final = 16
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
_NONCE_BYTES: Final = 12
_INFO: Final = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


class SealBroken(Exception):
    """The sealed bytes do not open here: altered, moved, or sealed under another key."""


class StreamSealer:
    """Seals one message piece by piece, into a buffer of the caller."""

    def __init__(self, key: bytes, context: bytes) -> None:
        self._encryptor = Cobblestone256Encryptor(key, context)

    @staticmethod
    def room_for(size: int) -> int:
        """How many bytes a buffer needs for a piece of ``size`` bytes, whatever came before."""
        return PREFIX_BYTES + (size // CHUNK_BYTES + 1) * SEALED_CHUNK_BYTES

    def seal_into(self, piece: bytes | memoryview, buffer: bytearray) -> int:
        """Returns how many bytes of the buffer were filled."""
        return self._encryptor.update_into(piece, buffer)

    def finish(self) -> bytes:
        return self._encryptor.finalize()


class StreamOpener:
    """Opens one message piece by piece.

    What it gives is authentic; that it was all is known only when :meth:`finish` has returned.
    """

    def __init__(self, key: bytes, context: bytes) -> None:
        self._decryptor = Cobblestone256Decryptor(key, context)

    def open(self, sealed: bytes | memoryview) -> bytes:
        """:raises SealBroken: for every failure alike."""
        try:
            return self._decryptor.update(sealed)
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error

    def finish(self) -> bytes:
        """:raises SealBroken: the message was cut or extended."""
        try:
            return self._decryptor.finalize()
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error


class ChunkOpener:
    """Opens single chunks of a message: the random access of C2SP chunked-encryption.

    The library has it only in a version that is not released.

    :raises SealBroken: the commitment is not that of this key and context.
    """

    def __init__(self, key: bytes, context: bytes, prefix: bytes) -> None:
        salt, commitment = prefix[:SALT_BYTES], prefix[SALT_BYTES:]
        size = KEY_BYTES + _NONCE_BYTES + COMMITMENT_BYTES
        derived = HKDFExpand(SHA512(), size, _INFO + salt + context).derive(key)
        if not hmac.compare_digest(derived[-COMMITMENT_BYTES:], commitment):
            raise SealBroken
        self._cipher = AESGCM(derived[:KEY_BYTES])
        nonce = derived[KEY_BYTES : KEY_BYTES + _NONCE_BYTES]
        self._base_nonce = int.from_bytes(nonce, "big")

    def open(self, number: int, sealed: bytes) -> bytes:
        """:raises SealBroken: not the chunk of this number, or altered."""
        nonce = (self._base_nonce ^ number).to_bytes(_NONCE_BYTES, "big")
        try:
            return self._cipher.decrypt(nonce, sealed, None)
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error


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
    opener = StreamOpener(key, context)
    return opener.open(sealed) + opener.finish()


def bind(
    organisation: str, object_type: str, object_id: str, field: str, visit: str, version: int,
    key_id: str,
) -> bytes:  # fmt: skip
    """The context of a place: length-prefixed fields in a fixed order, so that no two places have
    the same bytes."""
    fields = ("tv1", organisation, object_type, object_id, field, visit, str(version), key_id)
    encoded = [value.encode() for value in fields]
    return b"".join(len(value).to_bytes(4, "big") + value for value in encoded)


def count_plain_bytes(sealed_bytes: int) -> int:
    """How long the message is whose prefix and chunks take ``sealed_bytes``.

    :raises SealBroken: no message has this length.
    """
    full, rest = divmod(sealed_bytes - PREFIX_BYTES, SEALED_CHUNK_BYTES)
    if full < 0 or rest < TAG_BYTES:
        raise SealBroken
    return full * CHUNK_BYTES + rest - TAG_BYTES
