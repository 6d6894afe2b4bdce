"""Certificates for tests: an authority, and who it vouches for."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from server.sources import Tls


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of one certificate and its key, and the authority's file."""

    certificate: Path
    private_key: Path
    authority: Path
    pin: str

    def trusting(self, *others: Certificate) -> Tls:
        """Settings of who has this certificate and lets those others in."""
        return Tls(
            certificate=str(self.certificate),
            private_key=str(self.private_key),
            authority=str(self.authority),
            pinned=[other.pin for other in others],
        )

    def client_context(self) -> ssl.SSLContext:
        """How a client shows this certificate."""
        context = ssl.create_default_context(cafile=self.authority)
        context.check_hostname = False
        context.load_cert_chain(self.certificate, self.private_key)
        return context


class Authority:
    """Signs certificates into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self._sign(self._name, self._key.public_key(), is_authority=True))

    def issue(
        self,
        name: str,
        address: str = "127.0.0.1",
        *,
        is_rsa: bool = False,
        ends_at: datetime | None = None,
    ) -> Certificate:
        key = _make_rsa_key() if is_rsa else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = self._sign(subject, key.public_key(), address, ends_at, is_authority=False)
        certificate, private_key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(pem)
        private_key.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        return Certificate(certificate, private_key, self.path, hashlib.sha256(der).hexdigest())

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        address: str = "127.0.0.1",
        ends_at: datetime | None = None,
        *,
        is_authority: bool,
    ) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(ends_at or now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]),
                critical=False,
            )
        )
        if is_authority:
            builder = builder.add_extension(_MAY_SIGN, critical=True)
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


_MAY_SIGN = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
"""Python 3.13 believes no authority without it (RFC 5280 §4.2.1.3)."""


@cache
def _make_rsa_key() -> rsa.RSAPrivateKey:
    """One for all: each takes a second to find on a slow machine."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
