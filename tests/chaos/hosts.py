"""Test hosts on one machine: network namespaces on a switch. Needs root, iproute2, /dev/net/tun."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from tests.chaos.switch import Line, Order

_ROOT: Final = Path(__file__).parents[2]
_FORWARD: Final = Path(__file__).with_name("forward.py")
_ADDRESSES: Final = itertools.cycle(f"10.99.0.{number}" for number in range(100, 250))
"""For who changes; never one that another had a moment ago."""
_CLEAN: Final = Line()
_CUT: Final = Line(is_cut=True)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


class Cables:
    """The switch's process and the orders to it."""

    def __init__(self, namespaces: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.switch", *namespaces],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._wait_for(b"ready\n")

    def obey(self, order: Order) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        self._wait_for(b"done\n")

    def _wait_for(self, word: bytes) -> None:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer == word, answer

    def close(self) -> None:
        with self._process:
            self._process.kill()


class Host:
    """One namespace with one address, and its cable."""

    def __init__(self, namespace: str, address: str, cables: Cables) -> None:
        self.namespace = namespace
        self.address = address
        self.inside = ("ip", "netns", "exec", namespace)
        self._cables = cables
        self._forwarders: list[subprocess.Popen[str]] = []
        run(*self.inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        self._settle_at(address)

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

    def shape(self, *, up: Line = _CLEAN, down: Line = _CLEAN) -> None:
        """From now on this host's cable is like this; without arguments it is a good one."""
        self._cables.obey(Order(self.namespace, up, down))

    def cut(self) -> None:
        """Silence both ways. Nothing in the host says so, as where a radio has no signal."""
        self.shape(up=_CUT, down=_CUT)

    def mend(self) -> None:
        self.shape()

    def change_address(self) -> None:
        """Another network: the old address is gone, with all that was bound to it."""
        run("ip", "-n", self.namespace, "addr", "del", f"{self.address}/24", "dev", "eth0")
        self.address = next(_ADDRESSES)
        self._settle_at(self.address)

    def _settle_at(self, address: str) -> None:
        run("ip", "-n", self.namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", self.namespace, "route", "add", "default", "dev", "eth0")

    def lose(self, other: Host) -> None:
        """No direct way to another host any more."""
        run("ip", "-n", self.namespace, "route", "add", "blackhole", f"{other.address}/32")

    def close(self) -> None:
        for process in self._forwarders:
            with process:
                process.kill()


class Network:
    """A switch with a server, a patient and a clinician on it."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise RuntimeError("The chaos checks need root and the package iproute2")
        for name in _left_over():
            run("ip", "netns", "del", name)
        names = [f"accanto-{host}" for host in ("server", "patient", "clinician")]
        for name in names:
            run("ip", "netns", "add", name)
        self._cables = Cables(names)
        self.server, self.patient, self.clinician = (
            Host(name, f"10.99.0.{number}", self._cables) for number, name in enumerate(names, 1)
        )
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
        self._cables.close()
        for name in _left_over():
            run("ip", "netns", "del", name)


def _left_over() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True)
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
    return [name for name in names if name.startswith("accanto-")]
