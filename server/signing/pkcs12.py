"""A signing key from a PKCS#12 file (RFC 7292), opened in memory for one signature."""

from __future__ import annotations

import re
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from pyhanko.keys import load_certs_from_pemder_data, load_private_key_from_pemder_data
from pyhanko.sign import SimpleSigner
from pyhanko_certvalidator.registry import SimpleCertificateStore

from server.signing.means import LONGEST_FILE_BYTES, Pkcs12File, Refusal, SigningRefused

_BEGINNING: Final = re.compile(rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...)\x02\x01\x03", re.DOTALL)


def open_pkcs12(file: Pkcs12File, pin: str) -> tuple[SimpleSigner, x509.Certificate]:
    """What signs, and its certificate.

    :raises SigningRefused: the file cannot be read, or this is not its password.
    """
    _check_form(file.content)
    try:
        bag = pkcs12.load_pkcs12(file.content, pin.encode())
    except ValueError as error:
        raise SigningRefused(Refusal.WRONG_PIN) from error
    except UnsupportedAlgorithm as error:
        raise SigningRefused(Refusal.UNREADABLE) from error
    key = bag.key
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or bag.cert is None:
        raise SigningRefused(Refusal.UNREADABLE)
    certificate = bag.cert.certificate
    registry = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    chain = [certificate, *(other.certificate for other in bag.additional_certs)]
    translated = list(
        load_certs_from_pemder_data(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    )
    registry.register_multiple(translated[1:])
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    signer = SimpleSigner(
        signing_cert=translated[0],
        signing_key=load_private_key_from_pemder_data(private, passphrase=None),
        cert_registry=registry,
        embed_roots=False,
    )
    return signer, certificate


def _check_form(content: bytes) -> None:
    """Tell a file of another kind from a wrong password: ``PFX ::= SEQUENCE { version 3, …``."""
    if len(content) > LONGEST_FILE_BYTES or not _BEGINNING.match(content):
        raise SigningRefused(Refusal.UNREADABLE)
