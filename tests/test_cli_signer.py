"""``accanto user signer`` as people run it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.signers import PIN, SigningAuthority
from tests.test_cli import PASSWORD, Installation

SIGNER = ("user", "signer", "anna.bianchi")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    found = Installation(tmp_path_factory.mktemp("signer") / "data")
    found.succeed("migrate")
    found.add_organisation("ausl-toscana")
    for username, role in (("anna.bianchi", "clinician"), ("paola.neri", "desk")):
        found.succeed(
            "user", "add", "--organisation", "ausl-toscana", "--username", username,
            "--role", role, "--code", username, "--password-stdin", stdin=PASSWORD,
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, now = tmp_path_factory.mktemp("p12") / "firma.p12", datetime.now(UTC)
    validity = {"begins_at": now - timedelta(days=1), "ends_at": now + timedelta(days=365)}
    path.write_bytes(SigningAuthority().issue_file(**validity))
    return path


def test_sets_and_removes_a_file(installation: Installation, file: Path) -> None:
    said = installation.succeed(*SIGNER, "--pkcs12", file, "--pin-stdin", stdin=f"{PIN}\n")
    removed = installation.succeed(*SIGNER, "--remove")
    again = installation.fail(*SIGNER, "--remove")

    assert "signs as BIANCHI ANNA (CA di prova), until 20" in said
    assert "has no signature any more" in removed
    assert "has no signature" in again


def test_says_what_is_wrong(installation: Installation, file: Path) -> None:
    pin = ("--pin-stdin",)

    assert "The PIN is wrong" in installation.fail(*SIGNER, "--pkcs12", file, *pin, stdin="no")
    assert "not a PKCS#12 file" in installation.fail(*SIGNER, "--pkcs12", __file__, *pin, stdin=PIN)
    assert "--pkcs11 with --token" in installation.fail(*SIGNER)
    assert "A token needs" in installation.fail(*SIGNER, "--pkcs11", "/x.so", *pin, stdin=PIN)
    token = ("--pkcs11", "/nowhere.so", "--token", "a", "--key", "b")
    assert "does not answer" in installation.fail(*SIGNER, *token, *pin, stdin=PIN)
    other = ("user", "signer", "paola.neri", "--pkcs12", file)
    assert "no clinician" in installation.fail(*other, *pin, stdin=PIN)
