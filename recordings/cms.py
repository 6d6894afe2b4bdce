"""A message sealed to a certificate as CMS, written piece by piece (RFC 5083, 5084, 5652).

AuthEnvelopedData with AES-256-GCM: whoever opens it notices each changed byte. The key goes to the
recipient by RSAES-OAEP with SHA-256 (RFC 3560), or by ephemeral ECDH (RFC 5753) for a key on a
curve. DER with lengths that are known beforehand, so nothing but one piece is in memory.
``openssl cms -decrypt -binary -inform DER`` opens it from version 3.0 on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_LEAST_RSA_BITS: Final = 2048
_AES_256_GCM: Final = (2, 16, 840, 1, 101, 3, 4, 1, 46)
_AES_256_WRAP: Final = (2, 16, 840, 1, 101, 3, 4, 1, 45)
_SHA256: Final = (2, 16, 840, 1, 101, 3, 4, 2, 1)
_ECDH_SHA256: Final = (1, 3, 132, 1, 11, 1)
_EC_KEY: Final = (1, 2, 840, 10045, 2, 1)
_RSA_OAEP: Final = (1, 2, 840, 113549, 1, 1, 7)
_MGF1: Final = (1, 2, 840, 113549, 1, 1, 8)
_AUTH_ENVELOPED: Final = (1, 2, 840, 113549, 1, 9, 16, 1, 23)
_DATA: Final = (1, 2, 840, 113549, 1, 7, 1)
_SEQUENCE, _SET, _INTEGER, _BITS, _OCTETS, _NULL, _OID = 0x30, 0x31, 0x02, 0x03, 0x04, 0x05, 0x06
_CONTENT, _EXPLICIT_0, _EXPLICIT_1, _EXPLICIT_2 = 0x80, 0xA0, 0xA1, 0xA2


class Unfit(StrEnum):
    """Why nothing can be sealed to a certificate."""

    UNREADABLE = "unreadable"
    NOT_NOW = "not_now"
    """Expired, or not valid yet."""
    NOT_FOR_THIS = "not_for_this"
    """Its use or the kind of its key does not allow it."""


class CertificateUnfit(Exception):
    def __init__(self, problem: Unfit) -> None:
        super().__init__(problem)
        self.problem = problem


class Recipient:
    """Who can open a message: the owner of the private key of a certificate.

    :raises CertificateUnfit: from the constructor.
    """

    def __init__(self, content: bytes, now: datetime) -> None:
        self._certificate = _load(content)
        self._check(now)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return self._certificate.fingerprint(SHA256()).hex()

    def seal(self, size: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The message; the pieces have ``size`` bytes together.

        :raises ValueError: they have not, after their last; what was given is no message then.
        """
        key, nonce = os.urandom(_KEY_BYTES), os.urandom(_NONCE_BYTES)
        yield _head(self._wrap(key), nonce, size)
        encryptor = Cipher(algorithms.AES256(key), modes.GCM(nonce)).encryptor()
        left = size
        for piece in pieces:
            left -= len(piece)
            yield encryptor.update(piece)
        if left:
            raise ValueError("the content has another length than was said")
        encryptor.finalize()
        yield _der(_OCTETS, encryptor.tag)

    def count_bytes(self, size: int) -> int:
        """How long the message of ``size`` bytes is."""
        head = _head(self._wrap(bytes(_KEY_BYTES)), bytes(_NONCE_BYTES), size)
        return len(head) + size + len(_der(_OCTETS, bytes(_TAG_BYTES)))

    def _check(self, now: datetime) -> None:
        certificate = self._certificate
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise CertificateUnfit(Unfit.NOT_NOW)
        public = certificate.public_key()
        is_rsa = isinstance(public, rsa.RSAPublicKey) and public.key_size >= _LEAST_RSA_BITS
        is_ec = isinstance(public, ec.EllipticCurvePublicKey)
        if not (is_rsa or is_ec):
            raise CertificateUnfit(Unfit.NOT_FOR_THIS)
        try:
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound:
            return
        if not (usage.key_encipherment if is_rsa else usage.key_agreement):
            raise CertificateUnfit(Unfit.NOT_FOR_THIS)

    def _wrap(self, key: bytes) -> bytes:
        """The content key for the recipient, as one RecipientInfo."""
        public = self._certificate.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            return _wrap_by_rsa(public, self._name(), key)
        if isinstance(public, ec.EllipticCurvePublicKey):
            return _wrap_by_curve(public, self._name(), key)
        raise CertificateUnfit(Unfit.NOT_FOR_THIS)

    def _name(self) -> bytes:
        """IssuerAndSerialNumber."""
        issuer = self._certificate.issuer.public_bytes()
        return _der(_SEQUENCE, issuer, _integer(self._certificate.serial_number))


def _load(content: bytes) -> x509.Certificate:
    load = x509.load_pem_x509_certificate if b"-----BEGIN" in content else None
    try:
        return (load or x509.load_der_x509_certificate)(content)
    except ValueError as error:
        raise CertificateUnfit(Unfit.UNREADABLE) from error


def _wrap_by_rsa(public: rsa.RSAPublicKey, name: bytes, key: bytes) -> bytes:
    """RFC 3560, with the parameters of RFC 4055 §4.1."""
    sha256 = _der(_SEQUENCE, _oid(_SHA256), _der(_NULL))
    mask = _der(_SEQUENCE, _oid(_MGF1), sha256)
    parameters = _der(_SEQUENCE, _der(_EXPLICIT_0, sha256), _der(_EXPLICIT_1, mask))
    wrapped = public.encrypt(key, padding.OAEP(padding.MGF1(SHA256()), SHA256(), label=None))
    algorithm = _der(_SEQUENCE, _oid(_RSA_OAEP), parameters)
    return _der(_SEQUENCE, _integer(0), name, algorithm, _der(_OCTETS, wrapped))


def _wrap_by_curve(public: ec.EllipticCurvePublicKey, name: bytes, key: bytes) -> bytes:
    """A key of this message alone agrees with the recipient's (RFC 5753 §3.1, §7.2)."""
    own = ec.generate_private_key(public.curve)
    wrapping = _der(_SEQUENCE, _oid(_AES_256_WRAP))
    length = _der(_EXPLICIT_2, _der(_OCTETS, (8 * _KEY_BYTES).to_bytes(4, "big")))
    shared = X963KDF(SHA256(), _KEY_BYTES, _der(_SEQUENCE, wrapping, length))
    wrapped = aes_key_wrap(shared.derive(own.exchange(ec.ECDH(), public)), key)
    point = own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    curve = _der(_SEQUENCE, _oid(_EC_KEY))
    originator = _der(_EXPLICIT_1, curve, _der(_BITS, b"\0" + point))
    return _der(
        _EXPLICIT_1,
        _integer(3),
        _der(_EXPLICIT_0, originator),
        _der(_SEQUENCE, _oid(_ECDH_SHA256), wrapping),
        _der(_SEQUENCE, _der(_SEQUENCE, name, _der(_OCTETS, wrapped))),
    )


def _head(recipient: bytes, nonce: bytes, size: int) -> bytes:
    """Everything before the first byte of the content."""
    parameters = _der(_SEQUENCE, _der(_OCTETS, nonce), _integer(_TAG_BYTES))
    algorithm = _der(_SEQUENCE, _oid(_AES_256_GCM), parameters)
    content = _tag(_CONTENT, size)
    info = _oid(_DATA) + algorithm + content
    info = _tag(_SEQUENCE, len(info) + size) + info
    enveloped = _integer(0) + _der(_SET, recipient) + info
    after = size + len(_der(_OCTETS, bytes(_TAG_BYTES)))
    enveloped = _tag(_SEQUENCE, len(enveloped) + after) + enveloped
    explicit = _tag(_EXPLICIT_0, len(enveloped) + after) + enveloped
    whole = _oid(_AUTH_ENVELOPED) + explicit
    return _tag(_SEQUENCE, len(whole) + after) + whole


def _oid(numbers: tuple[int, ...]) -> bytes:
    """The first two share an octet, the others are in groups of seven bits (X.690 §8.19)."""
    content = bytearray((40 * numbers[0] + numbers[1],))
    for number in numbers[2:]:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | (number & 0x7F))
        content += bytes(reversed(groups))
    return _der(_OID, bytes(content))


def _integer(number: int) -> bytes:
    """Of no negative number."""
    return _der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return _tag(tag, len(content)) + content


def _tag(tag: int, length: int) -> bytes:
    """Identifier and length octets (X.690 §8.1.3, the shortest form)."""
    if length < 0x80:
        return bytes((tag, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets
