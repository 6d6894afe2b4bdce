"""A certification authority of signatures for tests, and what pyhanko says of a signed PDF."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from cryptography.x509.oid import NameOID
from pyhanko.keys import load_certs_from_pemder_data
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

PIN = "girasole-1843"
CODICE_FISCALE = "BNCNNA75T50D612K"
NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """One for all: each takes a second to find on a slow machine."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


class SigningAuthority:
    """Issues PKCS#12 files; ``certificate`` is the root to trust."""

    def __init__(self, name: str = "CA di prova") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self._name, self._key, usage="", is_authority=True)

    def issue(
        self,
        *,
        codice_fiscale: str = CODICE_FISCALE,
        key: Key | None = None,
        usage: str = "content_commitment",
        begins_at: datetime = NOW - timedelta(days=30),
        ends_at: datetime = NOW + timedelta(days=700),
        purpose: x509.ObjectIdentifier | None = None,
    ) -> tuple[Key, x509.Certificate]:
        key = key or rsa_key()
        names = [
            x509.NameAttribute(NameOID.COMMON_NAME, "BIANCHI ANNA"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "IT"),
        ]
        if codice_fiscale:
            number = f"TINIT-{codice_fiscale}"
            names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, number))
        return key, self._sign(x509.Name(names), key, usage, begins_at, ends_at, purpose)

    def issue_file(self, pin: str = PIN, **wishes: Any) -> bytes:
        key, certificate = self.issue(**wishes)
        return pkcs12.serialize_key_and_certificates(
            b"firma", key, certificate, [self.certificate], BestAvailableEncryption(pin.encode())
        )

    def _sign(
        self,
        subject: x509.Name,
        key: Key,
        usage: str,
        begins_at: datetime = NOW - timedelta(days=365),
        ends_at: datetime = NOW + timedelta(days=3650),
        purpose: x509.ObjectIdentifier | None = None,
        *,
        is_authority: bool = False,
    ) -> x509.Certificate:
        names = (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
            "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        )  # fmt: skip
        wanted = {"key_cert_sign", "crl_sign"} if is_authority else {usage}
        allowed = x509.KeyUsage(**{name: name in wanted for name in names})
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins_at)
            .not_valid_after(ends_at)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(allowed, critical=True)
        )
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
        return builder.sign(self._key, SHA256())


async def verdict(pdf: bytes, root: x509.Certificate, now: datetime = NOW) -> Any:
    """What pyhanko says of the one signature."""
    [trusted] = load_certs_from_pemder_data(root.public_bytes(Encoding.DER))
    context = ValidationContext(
        trust_roots=[trusted], moment=now, allow_fetching=False, revocation_mode="soft-fail"
    )
    [signature] = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
    return await async_validate_pdf_signature(signature, context)
