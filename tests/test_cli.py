"""The console script as people run it: statuses, sentences, lines for machines."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.commands import ACCANTO, clean_environment, run_accanto

VECTORS = Path(__file__).parent / "vectors" / "cup"
PASSWORD = "gelsomino-ventaglio-44"


class Installation:
    """A data folder and the command line over it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = clean_environment(**environment)

    def __call__(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return run_accanto([*arguments, "--data", self.folder], self.environment, stdin=stdin)

    def succeed(self, *arguments: str | Path, stdin: str = "") -> str:
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fail(self, *arguments: str | Path, stdin: str = "") -> str:
        done = self(*arguments, stdin=stdin)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        return done.stderr or done.stdout

    def add_organisation(self, code: str) -> None:
        self.succeed(
            "organisation", "add", "--code", code, "--name", code, "--desk-phone", "055 000 1"
        )


@pytest.fixture(scope="session")
def first_installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    found = Installation(tmp_path_factory.mktemp("installation") / "data")
    found.succeed("migrate")
    found.add_organisation("ausl-toscana")
    return found


@pytest.fixture
def installation(first_installation: Installation, tmp_path: Path) -> Installation:
    """A migrated data folder with one organisation."""
    return Installation(Path(shutil.copytree(first_installation.folder, tmp_path / "data")))


@pytest.fixture
def on_both(template: Path | str, database_url: str, data_dir: Path) -> Iterator[Installation]:
    """An installation on each database, migrated already; the keys are still to be made."""
    is_sqlite = isinstance(template, Path)
    extra = {} if is_sqlite else {"ACCANTO_DATABASE_URL": database_url}
    if is_sqlite:
        (data_dir / "accanto.db").unlink()
    return Installation(data_dir, **extra)


def test_commands_say_that_there_is_nothing_yet(tmp_path: Path) -> None:
    fresh = Installation(tmp_path / "data")

    for arguments in (
        ("appointments",),
        ("cup", "import", VECTORS / "giornata.csv"),
        ("organisation", "add", "--code", "a", "--name", "a", "--desk-phone", "1"),
    ):
        assert "run 'accanto migrate'" in fresh.fail(*arguments)
    assert not fresh.folder.exists()


def test_migrate_makes_a_folder_that_only_its_owner_reads(tmp_path: Path) -> None:
    fresh = Installation(tmp_path / "data")

    fresh.succeed("migrate")
    fresh.succeed("migrate")

    modes = {
        path.relative_to(fresh.folder).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (fresh.folder, *fresh.folder.rglob("*"))
    }
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes


def test_lost_root_key_is_not_replaced(installation: Installation) -> None:
    (installation.folder / "keys" / "root.key").unlink()

    assert "root key" in installation.fail("migrate")


def test_import_list_and_import_again(installation: Installation) -> None:
    installation.add_organisation("ausl-emilia")

    first = installation.succeed("cup", "import", VECTORS / "giornata.csv")
    again = installation.succeed("cup", "import", VECTORS / "giornata.csv")
    lines = installation.succeed("appointments", "--json").splitlines()

    assert "5 imported" in first
    assert "TC-0001: to assign" in first
    assert "5 unchanged" in again
    rows = [json.loads(line) for line in lines]
    assert [row["booking_code"] for row in rows] == [
        "EM-0001", "TC-0001", "TC-0002", "TC-0003", "TC-0004"
    ]  # fmt: skip
    assert set(rows[0]) == {"id", "booking_code", "state", "start", "end", "organisation"}
    assert [row["state"] for row in rows] == ["booked"] * 4 + ["cancelled"]
    assert rows[0]["organisation"] == "ausl-emilia"
    assert datetime.fromisoformat(rows[0]["start"]).utcoffset() is not None
    assert len({row["id"] for row in rows}) == 5


def test_wrong_rows_are_named_by_line_and_field(installation: Installation) -> None:
    done = installation("cup", "import", VECTORS / "righe-sbagliate.csv")

    assert done.returncode == 1
    assert "2 imported" in done.stdout
    assert done.stderr.splitlines() == [
        "line 3, booking_code: missing",
        "line 4, start: not a date",
        "line 5, family_name: not utf 8",
        "line 6, end: ends before start",
        "line 7, row: broken quotes",
        "line 8, row: too many cells",
    ]


def test_file_that_cannot_be_read_is_a_sentence(installation: Installation, tmp_path: Path) -> None:
    junk = tmp_path / "junk.csv"
    junk.write_bytes(bytes(range(255, 0, -1)))

    assert "No such file" in installation.fail("cup", "import", tmp_path / "niente.csv")
    assert "not UTF-8" in installation.fail("cup", "import", junk)
    assert "no organisation x" in installation.fail(
        "cup", "import", "--organisation", "x", VECTORS / "giornata.csv"
    )


def test_user_is_added_and_the_password_is_not_stored(installation: Installation) -> None:
    arguments = (
        "user", "add", "--organisation", "ausl-toscana", "--username", "anna",
        "--role", "clinician", "--code", "M1", "--password-stdin",
    )  # fmt: skip

    installation.succeed(*arguments, stdin=PASSWORD + "\n")

    assert "already a user" in installation.fail(*arguments, stdin=PASSWORD + "\n")
    database = sqlite3.connect(installation.folder / "accanto.db")
    (password_hash,) = database.execute('SELECT password_hash FROM "user"').fetchone()
    database.close()
    assert password_hash.startswith("$argon2id$")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--organisation": "ausl-lazio"}, "there are: ausl-toscana"),
        ({"--code": ""}, "--code"),
        ({"--role": "surgeon"}, "surgeon"),
    ],
)
def test_wrong_user_is_refused_in_words(
    installation: Installation, changes: dict[str, str], words: str
) -> None:
    options = {
        "--organisation": "ausl-toscana",
        "--username": "anna",
        "--role": "clinician",
        "--code": "M1",
    } | changes
    arguments = [part for option in options.items() for part in option]

    said = installation.fail("user", "add", *arguments, "--password-stdin", stdin=PASSWORD)

    assert words in said


def test_weak_password_is_refused(installation: Installation) -> None:
    said = installation.fail(
        "user", "add", "--organisation", "ausl-toscana", "--username", "a", "--role", "desk",
        "--password-stdin", stdin="corta\n",
    )  # fmt: skip

    assert said == "The password is too short\n"


def test_check_says_what_is_not_covered(installation: Installation) -> None:
    good = installation.succeed("check")
    assert "a stolen disk is not covered" in good
    assert "reachable and migrated" in good

    (installation.folder / "keys" / "root.key").chmod(0o644)
    assert "readable by others" in installation.fail("check")


def test_settings_are_printed_without_secrets(tmp_path: Path) -> None:
    installation = Installation(
        tmp_path,
        ACCANTO_TURN_SECRET="segretissimo",
        ACCANTO_DATABASE_URL="postgresql+asyncpg://u:parolachiave@h/d",
    )

    printed = installation.succeed("settings")

    assert "ACCANTO_TURN_SECRET = (set)" in printed
    assert "segretissimo" not in printed
    assert "parolachiave" not in printed
    assert "ACCANTO_PORT = 8080" in printed


def test_unknown_or_wrong_setting_is_a_sentence(tmp_path: Path) -> None:
    assert "ACCANTO_PROT" in Installation(tmp_path, ACCANTO_PROT="1").fail("settings")
    assert "ACCANTO_BASE_URL" in Installation(tmp_path, ACCANTO_BASE_URL="http://x.it").fail(
        "settings"
    )


def test_data_folder_may_come_from_the_environment(installation: Installation) -> None:
    done = subprocess.run(
        [ACCANTO, "appointments", "--json"],
        env=clean_environment(ACCANTO_DATA_DIR=str(installation.folder)),
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == b""


async def test_import_works_on_both_databases(on_both: Installation) -> None:
    await asyncio.to_thread(_import_on, on_both)


def _import_on(installation: Installation) -> None:
    (installation.folder / "keys").mkdir(mode=0o700)
    (installation.folder / "keys" / "root.key").touch(mode=0o600)
    (installation.folder / "keys" / "root.key").write_bytes(bytes(32))
    installation.succeed("migrate")
    installation.add_organisation("ausl-toscana")
    installation.add_organisation("ausl-emilia")

    assert "5 imported" in installation.succeed("cup", "import", VECTORS / "giornata.csv")
    assert len(installation.succeed("appointments").splitlines()) == 5


def test_database_that_is_away_is_a_sentence(tmp_path: Path) -> None:
    url = f"postgresql+asyncpg://postgres@/x?host={tmp_path}"
    installation = Installation(tmp_path / "data", ACCANTO_DATABASE_URL=url)

    assert "cannot be used" in installation.fail("appointments")
    assert "cannot be reached" in installation.fail("check")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_makes_its_database_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [ACCANTO, "serve", "--data", tmp_path / "data"],
        env=clean_environment(ACCANTO_PORT="0"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "serving on port" in line)
        process.send_signal(number)
        rest = process.stderr.read()

    assert process.returncode == 0, line + rest
    assert "Traceback" not in rest


async def test_serve_refuses_a_database_that_is_not_migrated(
    postgres_address: str, tmp_path: Path
) -> None:
    url = "postgresql+asyncpg" + postgres_address.format("postgres")
    installation = Installation(tmp_path / "data", ACCANTO_DATABASE_URL=url)

    said = await asyncio.to_thread(installation.fail, "serve")

    assert "accanto migrate" in said
