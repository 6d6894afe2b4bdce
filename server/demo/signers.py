"""Signatures of the demonstration: an authority that nobody trusts and a PKCS#12 file for each
clinician, made when the demonstration is; none is ever shipped, and no key of the authority kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from cryptography.x509.oid import NameOID
from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import Keyring
from server.models import User
from server.sealed import open_codice_fiscale
from server.signing import Pkcs12File, SignerMeans, inspect_means, put_signer

AUTHORITY_FILE: Final = "demo-signatures.pem"
"""In the demonstration's folder: the root to trust when a program verifies its signatures."""
_LIFETIME: Final = timedelta(days=3 * 365)
_PIN_DIGITS: Final = 6
_BIT_NAMES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class DemoAuthority:
    """Issues certificates while it is in memory."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "Accanto, firme di prova senza valore")]
        )
        self.certificate = self._sign(self._name, self._key, "key_cert_sign")

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(self, user: User, codice_fiscale: str, pin: str) -> bytes:
        """A PKCS#12 file in the form of a certificate of signature (ETSI EN 319 412-2)."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = {
            NameOID.COUNTRY_NAME: "IT",
            NameOID.SURNAME: user.family_name,
            NameOID.GIVEN_NAME: user.given_name,
            NameOID.COMMON_NAME: f"{user.family_name} {user.given_name}".upper(),
        }
        if codice_fiscale:
            names[NameOID.SERIAL_NUMBER] = f"TINIT-{codice_fiscale}"
        subject = x509.Name([x509.NameAttribute(oid, name) for oid, name in names.items()])
        certificate = self._sign(subject, key, "content_commitment")
        sealing = BestAvailableEncryption(pin.encode())
        return pkcs12.serialize_key_and_certificates(
            b"firma", key, certificate, [self.certificate], sealing
        )

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, usage: str
    ) -> x509.Certificate:
        is_authority = usage == "key_cert_sign"
        bits = {name: name == usage for name in _BIT_NAMES}
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(days=1))
            .not_valid_after(self._now + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**bits), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        return builder.sign(self._key, SHA256())


def demo_pin(keyring: Keyring, username: str) -> str:
    """Derived from the root key as the passwords are: stored nowhere, the same after a restart."""
    digest = int.from_bytes(keyring.derive(f"demo-signature|{username}"), "big")
    return f"{digest % 10**_PIN_DIGITS:0{_PIN_DIGITS}d}"


async def make_demo_signer(
    authority: DemoAuthority, keyring: Keyring, session: AsyncSession, user: User, now: datetime
) -> str:
    """Give a clinician with codice fiscale a signature; returns its PIN."""
    codice_fiscale = await open_codice_fiscale(keyring, session, user)
    pin = demo_pin(keyring, user.username)
    file = Pkcs12File(authority.issue(user, codice_fiscale, pin))
    means = SignerMeans(user.organisation_id, user.id, file, codice_fiscale)
    await put_signer(keyring, session, means, await inspect_means(means, pin, now), now)
    return pin
