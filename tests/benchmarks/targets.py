"""The servers that are measured: each is a real process on a port of the loopback.

What a server costs is read from the operating system: CPU time and resident memory of its
process and of all its children.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.benchmarks.report import ROOT

STARTS_WITHIN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    root: psutil.Process

    def cpu_seconds(self) -> float:
        """User and system time so far, of children that have ended too."""
        times = [process.cpu_times() for process in self._family()]
        ended = self.root.cpu_times()
        own = sum(time.user + time.system for time in times)
        return float(own + ended.children_user + ended.children_system)

    def rss_bytes(self) -> int:
        return sum(process.memory_info().rss for process in self._family())

    def _family(self) -> list[psutil.Process]:
        return [self.root, *self.root.children(recursive=True)]


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accanto_command(data_dir: Path) -> Sequence[str]:
    """The product as it is served: the installed console script and nothing added."""
    return (str(Path(sys.executable).parent / "accanto"), "serve", "--data", str(data_dir))


def peerjs_command(port: int) -> Sequence[str]:
    script = ROOT / "node_modules/peer/dist/bin/peerjs.js"
    return ("node", str(script), "-H", "127.0.0.1", "-p", str(port), "-c", "20000")


def relay_command(port: int) -> Sequence[str]:
    return (sys.executable, "-m", "tests.benchmarks.relay", str(port))


@asynccontextmanager
async def running(command: Sequence[str], port: int, log: Path) -> AsyncIterator[Server]:
    """Start a server, wait until it accepts connections, stop it at the end."""
    environment = {name: value for name, value in os.environ.items() if "ACCANTO" not in name}
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment, stdout=sink, stderr=sink
        )
    try:
        await _wait_until_open(process, port, log)
        yield Server(port, psutil.Process(process.pid))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _wait_until_open(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(STARTS_WITHIN_SECONDS):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return
    raise RuntimeError(f"a server ended: {log.read_text(errors='replace')[-2000:]}")
