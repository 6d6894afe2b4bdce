"""What is sealed to a certificate: openssl, which did not make it, opens it or refuses it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from recordings.cms import CertificateUnfit, Recipient, Unfit

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey


def make_certificate(
    key: Key, *, until: datetime = NOW + timedelta(days=100), usage: x509.KeyUsage | None = None
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tribunale di Prova")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=100))
        .not_valid_after(until)
    )
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(key, SHA256())


def make_key(kind: str) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


def open_by_openssl(folder: Path, key: Key, certificate: x509.Certificate, sealed: bytes) -> bytes:
    """:raises CalledProcessError: openssl refuses it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    paths = {name: folder / name for name in ("key", "certificate", "sealed", "opened")}
    paths["key"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    paths["certificate"].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths["sealed"].write_bytes(sealed)
    subprocess.run(
        [
            openssl, "cms", "-decrypt", "-binary", "-inform", "DER", "-in", paths["sealed"],
            "-recip", paths["certificate"], "-inkey", paths["key"], "-out", paths["opened"],
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return paths["opened"].read_bytes()


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 70_000, 17_000_000])
def test_openssl_opens_what_was_sealed(tmp_path: Path, kind: str, size: int) -> None:
    key = make_key(kind)
    certificate, content = make_certificate(key), os.urandom(size)
    recipient = Recipient(certificate.public_bytes(Encoding.PEM), NOW)

    pieces = (content[start : start + 1_000_001] for start in range(0, size, 1_000_001))
    sealed = b"".join(recipient.seal(size, pieces))

    assert open_by_openssl(tmp_path, key, certificate, sealed) == content
    assert len(sealed) == recipient.count_bytes(size)
    assert size < 1000 or content[:100] not in sealed


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_openssl_refuses_a_changed_byte_and_another_key(tmp_path: Path, kind: str) -> None:
    key, other = make_key(kind), make_key(kind)
    certificate = make_certificate(key)
    recipient = Recipient(certificate.public_bytes(Encoding.DER), NOW)
    sealed = b"".join(recipient.seal(1000, [bytes(1000)]))

    for place in (-1, -20, -500):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(subprocess.CalledProcessError):
            open_by_openssl(tmp_path, key, certificate, bytes(changed))
    with pytest.raises(subprocess.CalledProcessError):
        open_by_openssl(tmp_path, other, make_certificate(other), sealed)


def test_content_of_another_length_is_never_a_message() -> None:
    key = make_key("p256")
    recipient = Recipient(make_certificate(key).public_bytes(Encoding.PEM), NOW)

    with pytest.raises(ValueError, match="another length"):
        b"".join(recipient.seal(10, [b"nine byte"]))


def usage(**is_set: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: is_set.get(name, False) for name in names})


def _unfit() -> Iterator[tuple[bytes, Unfit]]:
    rsa_key, ec_key = make_key("rsa"), make_key("p256")
    old = make_certificate(ec_key, until=NOW - timedelta(seconds=1))
    yield b"", Unfit.UNREADABLE
    yield b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", Unfit.UNREADABLE
    yield old.public_bytes(Encoding.PEM), Unfit.NOT_NOW
    for key, allowed in ((rsa_key, "key_agreement"), (ec_key, "digital_signature")):
        certificate = make_certificate(key, usage=usage(**{allowed: True}))
        yield certificate.public_bytes(Encoding.PEM), Unfit.NOT_FOR_THIS
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 -- it is refused
    for unfit in (short, dsa.generate_private_key(2048)):
        yield make_certificate(unfit).public_bytes(Encoding.DER), Unfit.NOT_FOR_THIS


def test_a_certificate_that_cannot_receive_is_refused_with_its_reason() -> None:
    for content, problem in _unfit():
        with pytest.raises(CertificateUnfit) as caught:
            Recipient(content, NOW)
        assert caught.value.problem is problem


def test_a_certificate_that_says_it_may_receive_is_taken() -> None:
    for kind, allowed in (("rsa", "key_encipherment"), ("p256", "key_agreement")):
        certificate = make_certificate(make_key(kind), usage=usage(**{allowed: True}))
        recipient = Recipient(certificate.public_bytes(Encoding.DER), NOW)
        assert recipient.fingerprint == certificate.fingerprint(SHA256()).hex()
