"""Who a certificate is of, and whether it may sign a report now.

Whether its authority is a qualified one (eIDAS) is not asked here: that is the organisation's
choice when it gives out the means, and of whoever verifies the signature.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from server.signing.means import Refusal, SigningRefused

_TAX_NUMBER: Final = re.compile(r"(?:TINIT-|IT:)([A-Z0-9]{16})")
"""In ``serialNumber`` (ETSI EN 319 412-1 §5.1.3; ``IT:`` in certificates of before)."""
_SHORTEST_RSA_BITS: Final = 2048
_SHORTEST_EC_BITS: Final = 256


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a clinician sees of their certificate."""

    subject: str
    issuer: str
    codice_fiscale: str
    valid_from: datetime
    valid_until: datetime
    sha256: str


def describe_certificate(certificate: x509.Certificate) -> CertificateFacts:
    return CertificateFacts(
        subject=_name_of(certificate.subject),
        issuer=_name_of(certificate.issuer),
        codice_fiscale=_codice_fiscale_of(certificate.subject),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def check_certificate(certificate: x509.Certificate, codice_fiscale: str, now: datetime) -> None:
    """
    :raises SigningRefused: it may not sign for the clinician of this codice fiscale now.
    """
    if now < certificate.not_valid_before_utc:
        raise SigningRefused(Refusal.NOT_YET_VALID)
    if now > certificate.not_valid_after_utc:
        raise SigningRefused(Refusal.EXPIRED)
    if not _may_sign(certificate):
        raise SigningRefused(Refusal.WRONG_KEY_USAGE)
    if not _is_strong(certificate):
        raise SigningRefused(Refusal.WEAK_KEY)
    named = _codice_fiscale_of(certificate.subject)
    if named and codice_fiscale and named != codice_fiscale.upper():
        raise SigningRefused(Refusal.NOT_THE_DOCTOR)


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether it is for content commitment (ETSI EN 319 412-2 §4.3.2), and of no authority."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return usage.content_commitment and not usage.key_cert_sign


def _is_strong(certificate: x509.Certificate) -> bool:
    match certificate.public_key():
        case rsa.RSAPublicKey() as key:
            return key.key_size >= _SHORTEST_RSA_BITS
        case ec.EllipticCurvePublicKey() as key:
            return key.key_size >= _SHORTEST_EC_BITS
        case _:
            return False


def _codice_fiscale_of(name: x509.Name) -> str:
    for attribute in name.get_attributes_for_oid(NameOID.SERIAL_NUMBER):
        if found := _TAX_NUMBER.fullmatch(str(attribute.value).upper()):
            return found[1]
    return ""


def _name_of(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(oid):
            return str(attribute.value)
    return name.rfc4514_string()
