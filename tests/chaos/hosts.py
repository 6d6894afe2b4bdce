"""Test hosts on one machine: network namespaces on a switch. Needs root and iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SWITCH: Final = "accanto-switch"
_FORWARD: Final = Path(__file__).with_name("forward.py")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


class Host:
    """One namespace with one address; ``cut`` and ``mend`` pull and plug its cable."""

    def __init__(self, name: str, address: str) -> None:
        self.namespace = f"accanto-{name}"
        self.address = address
        self.inside = ("ip", "netns", "exec", self.namespace)
        self._port = f"port-{name}"
        self._forwarders: list[subprocess.Popen[str]] = []
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", SWITCH, "link", "add", self._port, "type", "veth", "peer", "name", "eth0",
            "netns", self.namespace)  # fmt: skip
        run("ip", "-n", SWITCH, "link", "set", self._port, "master", "bridge", "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        run("ip", "-n", self.namespace, "route", "add", "default", "dev", "eth0")

    def forward(self, listen: str, target: str) -> None:
        """Start a forwarder in this host and wait until it listens."""
        process = subprocess.Popen(
            [*self.inside, sys.executable, str(_FORWARD), listen, target],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        self._forwarders.append(process)

    def cut(self) -> None:
        run("ip", "-n", SWITCH, "link", "set", self._port, "down")

    def mend(self) -> None:
        run("ip", "-n", SWITCH, "link", "set", self._port, "up")

    def lose(self, other: Host) -> None:
        """No direct way to another host any more."""
        run("ip", "-n", self.namespace, "route", "add", "blackhole", f"{other.address}/32")

    def close(self) -> None:
        for process in self._forwarders:
            with process:
                process.kill()
        run("ip", "netns", "del", self.namespace)


class Network:
    """A switch with a server, a patient and a clinician on it."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise RuntimeError("The chaos checks need root and the package iproute2")
        for name in _left_over():
            run("ip", "netns", "del", name)
        run("ip", "netns", "add", SWITCH)
        run("ip", "-n", SWITCH, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", SWITCH, "link", "set", "bridge", "up")
        self.server = Host("server", "10.99.0.1")
        self.patient = Host("patient", "10.99.0.2")
        self.clinician = Host("clinician", "10.99.0.3")
        here = f"127.0.0.1:{self._port}"
        self.server.forward(f"{self.server.address}:{self._port}", here)
        for host in (self.patient, self.clinician):
            host.forward(here, f"{self.server.address}:{self._port}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for host in (self.patient, self.clinician, self.server):
            host.close()
        run("ip", "netns", "del", SWITCH)


def _left_over() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True)
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
    return [name for name in names if name.startswith("accanto-")]
