"""Real processes: several on one port, ended, killed and renewed; and one that ends gently."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
from click.testing import CliRunner

from server.cli import main
from tests.commands import ACCANTO, clean_environment
from tests.valkeys import running_valkey

WAIT_SECONDS = 100
KEEPER = """
import asyncio, logging, sys
from server.supervisor import Supervisor

async def keep(command):
    await Supervisor(command, 2).run()

logging.basicConfig(level="INFO")
asyncio.run(keep(sys.argv[1:]))
"""
CHILD = """
import os, pathlib, signal, sys
folder, line = pathlib.Path(sys.argv[1]), int(sys.argv[-1])
if (folder / "broken").exists():
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
(folder / f"{os.getpid()}.pid").touch()
os.write(line, b"r")
os.read(line, 1)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A process that keeps others, and what it has written."""

    def __init__(self, log: Path, command: list[str | Path], environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = psutil.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=file
            )

    @property
    def workers(self) -> set[psutil.Process]:
        return set(self.process.children())

    def said(self, words: str) -> int:
        return self.log.read_text().count(words)

    def wait_for_log(self, words: str, count: int = 1) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while self.said(words) < count:
            assert self.process.is_running(), self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status: int = self.process.wait(WAIT_SECONDS)
        return status


@contextmanager
def running(
    log: Path, command: list[str | Path], environment: dict[str, str] | None = None
) -> Iterator[Running]:
    """Ends whatever is left of it."""
    one = Running(log, command, environment or clean_environment())
    try:
        yield one
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [one.process, *one.process.children(recursive=True)]:
                process.kill()
        one.process.wait()


@contextmanager
def keeping(folder: Path) -> Iterator[Running]:
    """A supervisor of two children that only wait."""
    child = [sys.executable, "-c", CHILD, folder]
    with running(folder / "log", [sys.executable, "-c", KEEPER, *child]) as keeper:
        keeper.wait_for_log(" serves", 2)
        yield keeper


@contextmanager
def serving(folder: Path, *arguments: str, valkey_url: str = "") -> Iterator[tuple[Running, str]]:
    """``accanto serve`` on a port of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = clean_environment(
        ACCANTO_PORT=str(port), ACCANTO_BASE_URL=url, ACCANTO_VALKEY_URL=valkey_url
    )
    command = [ACCANTO, "serve", "--data", folder / "data", *arguments]
    with running(folder / "log", command, environment) as server:
        yield server, url


def ask(url: str) -> tuple[int, str]:
    """The status, and what was said of the connection."""
    try:
        with urlopen(url, timeout=30) as answer:  # noqa: S310 - http only
            return answer.status, answer.headers["Connection"]
    except HTTPError as error:
        return error.code, error.headers["Connection"]


def wait_until_gone(processes: set[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, WAIT_SECONDS)
    assert not left


def test_child_that_dies_is_replaced_and_all_end_together(tmp_path: Path) -> None:
    with keeping(tmp_path) as keeper:
        first = keeper.workers
        killed = first.copy().pop()

        killed.kill()
        keeper.wait_for_log(" serves", 3)

        second = keeper.workers
        assert len(second) == 2
        assert second & first == first - {killed}
        assert keeper.end() == 0
        wait_until_gone(first | second)


def test_renewal_replaces_every_child(tmp_path: Path) -> None:
    with keeping(tmp_path) as keeper:
        first = keeper.workers

        keeper.process.send_signal(signal.SIGHUP)
        keeper.wait_for_log("every process is new")

        assert len(keeper.workers) == 2
        assert not keeper.workers & first
        assert not keeper.said("ended by itself")
        assert keeper.end(signal.SIGINT) == 0


def test_version_that_does_not_start_changes_nothing(tmp_path: Path) -> None:
    with keeping(tmp_path) as keeper:
        first = keeper.workers
        (tmp_path / "broken").touch()

        keeper.process.send_signal(signal.SIGHUP)
        keeper.wait_for_log("the old ones go on")

        assert keeper.workers == first
        assert keeper.end() == 0


def test_children_end_when_nobody_keeps_them(tmp_path: Path) -> None:
    with keeping(tmp_path) as keeper:
        children = keeper.workers

        keeper.process.kill()

        wait_until_gone(children)


def test_children_that_never_start_are_a_failure(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    child = [sys.executable, "-c", CHILD, tmp_path]
    with running(tmp_path / "log", [sys.executable, "-c", KEEPER, *child]) as keeper:
        assert keeper.process.wait(WAIT_SECONDS) == 1
        assert "do not start" in keeper.log.read_text()


def test_workers_serve_one_port_and_one_of_them_leads(tmp_path: Path) -> None:
    with (
        running_valkey() as valkey,
        serving(tmp_path, "--workers", "2", valkey_url=valkey.url) as (server, url),
    ):
        server.wait_for_log("serving on port", 2)
        workers = server.workers
        assert len(workers) == 2
        assert server.said("this process leads") == 1

        workers.copy().pop().kill()

        server.wait_for_log("ended by itself")
        assert ask(url + "/readyz")[0] == 200
        server.wait_for_log("serving on port", 3)
        assert server.end() == 0
        wait_until_gone(workers)


def test_process_that_ends_says_so_and_goes_on_answering(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, url):
        server.wait_for_log("serving on port")
        assert ask(url + "/readyz")[0] == 200

        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("draining")

        assert ask(url + "/readyz") == (503, "close")
        assert ask(url + "/login") == (200, "close")
        assert server.process.wait(WAIT_SECONDS) == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "set ACCANTO_VALKEY_URL"),
        ({"ACCANTO_VALKEY_URL": "unix:///nowhere", "ACCANTO_PORT": "0"}, "set ACCANTO_PORT"),
        ({"ACCANTO_VALKEY_URL": "unix:///nowhere"}, "Cannot listen on 127.0.0.1"),
        ({"ACCANTO_VALKEY_URL": "http://nowhere"}, "must look like unix://"),
    ],
)
def test_workers_that_cannot_serve_are_a_sentence(
    tmp_path: Path, settings: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"handlers": [], "level": logging.INFO}.items():
        monkeypatch.setattr(logging.root, name, value)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {"ACCANTO_PORT": str(taken.getsockname()[1])} | settings
        arguments = ["serve", "--workers", "2", "--data", str(tmp_path)]
        done = CliRunner().invoke(main, arguments, env=settings)

    assert done.exit_code == 1
    assert words in done.output
