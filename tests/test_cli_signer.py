"""``accanto user signer``: what it takes, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.cli import main
from tests.signers import PIN, SigningAuthority
from tests.test_cli import PASSWORD

SIGNER = ("user", "signer", "anna.bianchi", "--pin-stdin")


class Installation:
    """The commands over one data folder, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str | Path, stdin: str = "") -> tuple[int, str]:
        words = [*map(str, arguments), "--data", str(self.folder)]
        done = CliRunner().invoke(main, words, input=stdin)
        return done.exit_code, done.output

    def succeed(self, *arguments: str | Path, stdin: str = "") -> str:
        status, said = self(*arguments, stdin=stdin)
        assert status == 0, said
        return said

    def fail(self, *arguments: str | Path, stdin: str = "") -> str:
        status, said = self(*arguments, stdin=stdin)
        assert status == 1, said
        return said


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    found = Installation(tmp_path_factory.mktemp("signer") / "data")
    found.succeed("migrate")
    found.succeed(
        "organisation", "add", "--code", "ausl", "--name", "AUSL", "--desk-phone", "055 000 1"
    )
    for username, role in (("anna.bianchi", "clinician"), ("paola.neri", "desk")):
        found.succeed(
            "user", "add", "--organisation", "ausl", "--username", username, "--role", role,
            "--code", username, "--password-stdin", stdin=PASSWORD,
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, now = tmp_path_factory.mktemp("p12") / "firma.p12", datetime.now(UTC)
    validity = {"begins_at": now - timedelta(days=1), "ends_at": now + timedelta(days=365)}
    path.write_bytes(SigningAuthority().issue_file(**validity))
    return path


def test_sets_and_removes_a_file(installation: Installation, file: Path) -> None:
    said = installation.succeed(*SIGNER, "--pkcs12", file, stdin=f"{PIN}\n")
    removed = installation.succeed(*SIGNER, "--remove")
    again = installation.fail(*SIGNER, "--remove")

    assert "signs as BIANCHI ANNA (CA di prova), until 20" in said
    assert "has no signature any more" in removed
    assert "has no signature" in again
    assert PIN not in said + removed + again


def test_says_what_is_wrong(installation: Installation, file: Path) -> None:
    token = ("--pkcs11", "/nowhere.so", "--token", "a", "--key", "b")
    desk = ("user", "signer", "paola.neri", "--pin-stdin")

    assert "The PIN is wrong" in installation.fail(*SIGNER, "--pkcs12", file, stdin="no")
    assert "not a PKCS#12 file" in installation.fail(*SIGNER, "--pkcs12", __file__, stdin=PIN)
    assert "--pkcs11 with --token" in installation.fail(*SIGNER)
    assert "A token needs" in installation.fail(*SIGNER, "--pkcs11", "/x.so", stdin=PIN)
    assert "does not answer" in installation.fail(*SIGNER, *token, stdin=PIN)
    assert "no clinician" in installation.fail(*desk, "--pkcs12", file, stdin=PIN)
