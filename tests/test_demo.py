"""The demonstration: a day around any hour, one line when ready, the same again on resume."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import psutil
import pytest
from codicefiscale import codicefiscale
from test_cli import Installation

from server.cup.booking import Booking
from server.cup.csvfile.mapping import parse_csv
from server.demo import month, people, run_demo
from server.demo.day import (
    MAIN_BOOKING,
    codice_fiscale_of,
    first_start,
    plan_day,
    render_bundle,
    render_csv,
)
from server.errors import CommandFailed
from server.passwords import hash_password
from server.sources import SourceSettings
from tests.commands import ACCANTO, clean_environment

pytestmark = pytest.mark.timeout(400)

ROME = ZoneInfo("Europe/Rome")
KEYS = {
    "base_url", "patient_url", "patient_birth_date", "clinician_url", "clinician_username",
    "clinician_password", "other_clinician_username", "other_clinician_password",
    "desk_username", "desk_password", "manager_username", "manager_password", "data_dir",
    "administrator_username", "administrator_password", "clinician_code",
    "mllp_host", "mllp_port", "fhir_url", "fhir_token", "smtp_outbox_url",
}  # fmt: skip


@contextmanager
def running_demo(folder: Path, *arguments: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The announcement of a demo that runs; the list has the rest of stdout after its stop."""
    rest: list[str] = []
    with subprocess.Popen(
        [ACCANTO, "demo", "--json", "--data", folder, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), rest
        finally:
            process.send_signal(signal.SIGINT)
            rest += process.stdout.readlines()
    assert process.returncode == 0


@dataclass(frozen=True, slots=True)
class Made:
    """A demonstration that was made for a person, stopped, and went on for a machine."""

    folder: Path
    banner: str
    announced: dict[str, Any]
    rest: list[str]
    while_running: bytes
    """Everything that was in the folder."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    banner, folder, while_running = make_demo(tmp_path_factory.mktemp("made"))
    with running_demo(folder) as (announced, rest):
        assert urlopen(announced["base_url"] + "/healthz").status == 200  # noqa: S310
        assert urlopen(announced["patient_url"].partition("#")[0]).status == 200  # noqa: S310
        while_running += read_folder(folder)
    return Made(folder, banner, announced, rest, while_running)


def make_demo(place: Path) -> tuple[str, Path, bytes]:
    """The banner, the folder and what was in it, of a demo that somebody starts in ``place``."""
    lines: list[str] = []
    with subprocess.Popen(
        [ACCANTO, "demo", "--port", "0"],
        cwd=place,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line)
                if "Ctrl-C" in line:
                    break
            (folder,) = (place / "demo-data").iterdir()
            while_running = read_folder(folder)
        finally:
            process.terminate()
    assert process.returncode == 0
    return "".join(lines), folder, while_running


def test_demo_announces_itself_stops_cleanly_and_resumes_the_same(made: Made) -> None:
    first = made.announced
    assert set(first) == KEYS
    assert first["patient_url"].startswith(first["base_url"] + "/v/")
    assert "#" in first["patient_url"]
    date.fromisoformat(first["patient_birth_date"])
    assert Path(first["data_dir"]) == made.folder
    hash_password(first["clinician_password"])
    assert made.rest == []
    before = Installation(made.folder).succeed("appointments", "--json")

    with running_demo(made.folder) as (second, _):
        assert second == first

    assert Installation(made.folder).succeed("appointments", "--json") == before


def test_folder_of_a_demo_holds_no_name_of_a_patient_and_no_secret(made: Made) -> None:
    everything = made.while_running + read_folder(made.folder)

    for person in (people.ROSA, *people.PATIENTS, *month.PATIENTS):
        for text in (person.family_name, codice_fiscale_of(person), person.address):
            assert text.encode() not in everything, text
    secret = made.announced["patient_url"].partition("#")[2]
    for text in (
        secret,
        secret[:26],
        made.announced["clinician_password"],
        "gonfiore alle caviglie",
        "prendere due autobus",
        "000 100",
    ):
        assert text.encode() not in everything, text


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where PostgreSQL's own user may go, too: this may run as root."""
    with tempfile.TemporaryDirectory(prefix="accanto-demo-") as folder:
        yield Path(folder)


def test_nodes_share_a_port_and_outlive_one_of_them(open_folder: Path) -> None:
    folder = open_folder / "demo"

    with running_demo(folder, "--nodes", "2", "--port", "0") as (announced, _):
        assert set(announced) == KEYS | {"node_urls", "node_pids"}
        nodes = [psutil.Process(pid) for pid in announced["node_pids"]]
        beside = nodes[0].parent().children()
        beside.append(psutil.Process(read_pid(folder / "postgres" / "postmaster.pid")))
        assert len(beside) == 4
        own, foreign = announced["node_urls"], "http://127.0.0.1:1"
        for url in (announced["base_url"], *own):
            wait_until_ready(url)
        assert [open_socket(own[0], origin) for origin in (own[0], own[1], foreign)] == [
            101, 403, 403,
        ]  # fmt: skip
        assert [log_in(own[0], origin) for origin in (own[0], own[1])] == [401, 403]

        nodes[0].kill()
        nodes[0].wait()

        for url in (announced["base_url"], own[1]):
            wait_until_ready(url)
        assert "ACCANTO_DATABASE_URL=postgresql+asyncpg://" in (folder / "accanto.env").read_text()
    _, left = psutil.wait_procs(beside, 30)
    assert not left

    with pytest.raises(CommandFailed, match="with --nodes"):
        asyncio.run(run_demo(folder, 0, 1, is_json=True, now=datetime.now(UTC)))


def wait_until_ready(url: str) -> None:
    end = time.monotonic() + 30
    while True:
        with suppress(HTTPError):
            urlopen(url + "/readyz").close()  # noqa: S310
            return
        assert time.monotonic() < end
        time.sleep(0.1)


def read_pid(path: Path) -> int:
    return int(path.read_text().split()[0])


def open_socket(url: str, origin: str) -> int:
    """The status of a handshake as a page of ``origin`` makes it."""
    place = url.removeprefix("http://")
    host, port = place.split(":")
    head = (
        f"GET /ws HTTP/1.1\r\nHost: {place}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(head.encode())
        return int(connection.recv(64).split()[1])


def log_in(url: str, origin: str) -> int:
    """The status of an empty log-in form that a page of ``origin`` sends."""
    request = Request(url + "/login", b"username=&password=", {"Origin": origin})  # noqa: S310
    with pytest.raises(HTTPError) as refused:
        urlopen(request)  # noqa: S310
    refused.value.close()
    return refused.value.code


def read_folder(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_folder_that_is_not_a_demo_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "tesi.txt").write_text("mia")

    said = Installation(tmp_path).fail("demo", "--port", "0")

    assert "not a demonstration" in said
    assert [path.name for path in tmp_path.iterdir()] == ["tesi.txt"]


def test_taken_port_is_a_sentence_and_leaves_no_folder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        said = Installation(tmp_path / "demo").fail("demo", "--port", str(port))

    assert said.startswith(f"Port {port} is taken")
    assert not (tmp_path / "demo").exists()


def test_banner_is_for_people_and_the_folder_is_dated(made: Made) -> None:
    assert "/v/" in made.banner
    assert people.CLINICIAN.username in made.banner
    assert "Two-factor login is off" in made.banner
    assert str(made.folder.relative_to(made.folder.parents[1])) in made.banner
    assert re.match(r"\d{4}-?\d\d-?\d\d", made.folder.name)


@pytest.mark.parametrize(
    "local",
    [
        datetime(2026, 11, 22, 9, 41, 7, tzinfo=ROME),
        datetime(2026, 11, 22, 23, 58, tzinfo=ROME),
        datetime(2026, 11, 23, 3, 0, tzinfo=ROME),
        datetime(2026, 3, 29, 1, 57, tzinfo=ROME),
        datetime(2026, 10, 25, 2, 31, tzinfo=ROME, fold=0),
        datetime(2026, 10, 25, 2, 31, tzinfo=ROME, fold=1),
        datetime(2026, 12, 31, 23, 59, 59, tzinfo=ROME),
    ],
)
def test_day_is_around_now_at_any_hour(local: datetime) -> None:
    now = local.astimezone(UTC)

    tuscan, emilian = plan_day(now)

    agenda = [slot for slot in tuscan if slot.clinician_code == people.CLINICIAN.code]
    main = next(slot for slot in agenda if slot.booking_code == MAIN_BOOKING)
    assert timedelta(minutes=5) <= main.start - now < timedelta(minutes=10)
    assert main.start.minute % 5 == 0
    assert main.person == people.ROSA
    assert 10 <= len(agenda) <= 14
    assert sum(slot.is_cancelled for slot in agenda) == 2
    assert sum(slot.is_first_visit for slot in agenda) == 1
    assert {slot.priority for slot in agenda} == set("UBDP")
    names = [slot.person.family_name for slot in tuscan + emilian]
    assert len(set(names)) == len(names)
    assert "Della Gherardesca-Sforza" in names
    for earlier, later in pairwise(agenda):
        assert earlier.end <= later.start
    rows = list(parse_csv(io.BytesIO(render_csv(emilian)), SourceSettings(), now))
    assert [row.body.start for row in rows if isinstance(row.body, Booking)] == [
        slot.start for slot in emilian
    ]
    assert render_bundle(tuscan, now)


def test_start_is_on_the_grid() -> None:
    assert first_start(datetime(2026, 1, 1, 10, 0, tzinfo=UTC)).minute == 5
    assert first_start(datetime(2026, 1, 1, 10, 0, 1, tzinfo=UTC)).minute == 10


def test_invented_people_have_a_valid_code() -> None:
    for person in (people.ROSA, *people.PATIENTS, *month.PATIENTS):
        assert codicefiscale.is_valid(codice_fiscale_of(person)), person.family_name
