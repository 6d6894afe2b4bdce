"""A real PKCS#11 library (SoftHSM2) signs a report: the key never leaves the token.

``apt install softhsm2``. Each test has a token of its own in a folder of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.signers import CODICE_FISCALE, PIN, SigningAuthority, rsa_key, verdict

ROOT = Path(__file__).parents[2]
LIBRARIES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
)
LABEL = "Firma Bianchi"
WORK = """
import asyncio, sys
from datetime import datetime
from pathlib import Path
from server.report.pdf import render_pdf
from server.signing import Pkcs11Key, SignerMeans, SigningRefused, sign_pdf
from tests.pdfs import pdfa_faults
from tests.reports import FULL
from tests.signers import NOW

library, token, key, pin, codice_fiscale, target = sys.argv[1:]
found = Pkcs11Key(module=library, token=token, key=key)
means = SignerMeans("body", "doctor", found, codice_fiscale)
pdf = render_pdf(FULL, b"<ClinicalDocument/>")

async def sign():
    for _ in range(3):
        signed = await sign_pdf(pdf, means, pin, NOW)
    return signed

try:
    signed = asyncio.run(sign())
except SigningRefused as refused:
    sys.exit(refused.reason.value)
assert not pdfa_faults(signed)
Path(target).write_bytes(signed)
"""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of SoftHSM2 and how it is reached."""

    folder: Path
    library: Path
    authority: SigningAuthority

    def tool(self, program: str, *arguments: str) -> None:
        subprocess.run([program, *arguments], env=self.environment, check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def sign(
        self, *, token: str = LABEL, key: str = "firma", pin: str = PIN, owner: str = CODICE_FISCALE
    ) -> bytes | str:
        """The signed report, or the word of the refusal. The library reads its settings once, so
        it is another process each time."""
        target = self.folder / "signed.pdf"
        done = subprocess.run(
            [sys.executable, "-c", WORK, self.library, token, key, pin, owner, target],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stderr.strip() if done.returncode else target.read_bytes()


@pytest.fixture
def token(tmp_path: Path) -> Token:
    library = next((path for path in LIBRARIES if path.exists()), None)
    if library is None or shutil.which("softhsm2-util") is None:
        pytest.fail("SoftHSM2 is missing: apt install softhsm2")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    made = Token(tmp_path, library, SigningAuthority())
    made.tool(
        "softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", PIN
    )
    put_certificate(made)
    return made


def put_certificate(token: Token) -> None:
    """The key by the token's own tool, its certificate by PKCS#11."""
    key, certificate = token.authority.issue(key=rsa_key())
    pem = token.folder / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    token.tool(
        "softhsm2-util", "--import", str(pem), "--token", LABEL, "--label", "firma",
        "--id", "01", "--pin", PIN,
    )  # fmt: skip
    pem.unlink()
    der = token.folder / "certificate.der"
    der.write_bytes(certificate.public_bytes(Encoding.DER))
    token.tool(
        sys.executable, "-c",
        "import sys, pkcs11\n"
        "from pathlib import Path\n"
        "from pkcs11.util.x509 import decode_x509_certificate\n"
        "library, label, pin, der = sys.argv[1:]\n"
        "token = pkcs11.lib(library).get_token(token_label=label)\n"
        "with token.open(user_pin=pin, rw=True) as session:\n"
        "    words = decode_x509_certificate(Path(der).read_bytes())\n"
        "    words |= {pkcs11.Attribute.LABEL: 'firma', pkcs11.Attribute.TOKEN: True}\n"
        "    session.create_object(words)\n",
        str(token.library), LABEL, PIN, str(der),
    )  # fmt: skip


async def test_token_signs_a_report_that_validates(token: Token) -> None:
    signed = token.sign()

    assert isinstance(signed, bytes), signed
    assert (await verdict(signed, token.authority.certificate)).bottom_line
    changed = bytearray(signed)
    changed[200] ^= 1
    assert not (await verdict(bytes(changed), token.authority.certificate)).bottom_line


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"pin": "sbagliato"}, "wrong_pin"),
        ({"token": "Un altro"}, "unreachable"),
        ({"key": "un'altra"}, "no_key"),
        ({"owner": "VRDGNN60A01D612Y"}, "not_the_doctor"),
    ],
)
def test_token_refuses_with_a_word(change: dict[str, str], word: str, token: Token) -> None:
    assert token.sign(**change) == word


async def test_wrong_pins_do_not_block_the_token_for_the_right_one(token: Token) -> None:
    assert [token.sign(pin="sbagliato") for _ in range(2)] == ["wrong_pin"] * 2
    signed = token.sign()
    assert isinstance(signed, bytes), signed
    assert (await verdict(signed, token.authority.certificate)).bottom_line
