"""A switch between test hosts, in user space, that can spoil each direction of each cable.

The kernel's own way to do so (netem) is not on every machine; TAP devices are. It runs as a
process of its own, so that neither the test's event loop nor the switch disturbs the other:
``python -m tests.chaos.switch NAMESPACE...`` opens an ``eth0`` in each namespace and says "ready".
Each line of standard input is then one order, answered by "done"; at its end the switch is gone.
Frames of one direction keep their order, as on a cable.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import random
import struct
import sys
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

_CLONE_NEWNET: Final = 0x4000_0000
_TUNSETIFF: Final = 0x4004_54CA
_TAP_WITHOUT_HEADER: Final = 0x1002
_LONGEST_FRAME: Final = 2048
_FRAMES_AT_ONCE: Final = 64
_ORDER_SECONDS: Final = 1e-6
"""Between two frames that are due together, so that the second stays behind the first."""
_SEED: Final = 4


class Line(msgspec.Struct, frozen=True):
    """What one direction of a cable does to frames."""

    loss: float = 0.0
    """Share of the frames, 0 to 1."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """The delay is up to this much more or less."""
    kilobits_per_second: float = 0.0
    """0: as fast as the machine."""
    queue_ms: float = 300.0
    """Where there is a rate: who would wait longer than this is dropped."""
    is_cut: bool = False


class Order(msgspec.Struct, frozen=True):
    """From now on the cable of a namespace is like this."""

    namespace: str
    up: Line
    """From the host."""
    down: Line
    """To the host."""


class _Lane:
    """One direction of one cable."""

    def __init__(self, chance: random.Random) -> None:
        self.line = Line()
        self._chance = chance
        self._sent_at = 0.0
        self._leaves_at = 0.0

    def plan(self, length: int, now: float) -> float | None:
        """When a frame that comes in now goes out; None: it is lost."""
        line = self.line
        if line.is_cut or (line.loss and self._chance.random() < line.loss):
            return None
        due = now
        if line.kilobits_per_second:
            sent_at = max(self._sent_at, now) + length * 8 / (line.kilobits_per_second * 1000)
            if sent_at - now > line.queue_ms / 1000:
                return None
            due = self._sent_at = sent_at
        if line.delay_ms or line.jitter_ms:
            due += max(0.0, line.delay_ms + self._chance.uniform(-1, 1) * line.jitter_ms) / 1000
        self._leaves_at = max(due, self._leaves_at + _ORDER_SECONDS)
        return self._leaves_at


@dataclass(frozen=True, slots=True)
class _Port:
    file: int
    up: _Lane
    down: _Lane


class Switch:
    """Learns which address is behind which port, as any switch does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chance = random.Random(_SEED)
        self._ports: dict[str, _Port] = {}
        self._known: dict[bytes, _Port] = {}

    def open(self, namespace: str) -> None:
        port = _Port(_open_tap(namespace), _Lane(self._chance), _Lane(self._chance))
        self._ports[namespace] = port
        self._loop.add_reader(port.file, self._read, port)

    def obey(self, order: Order) -> None:
        port = self._ports[order.namespace]
        port.up.line, port.down.line = order.up, order.down

    def _read(self, port: _Port) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame = os.read(port.file, _LONGEST_FRAME)
            except BlockingIOError:
                return
            self._known[frame[6:12]] = port
            known = self._known.get(frame[:6])
            self._pass(port, [known] if known else list(self._ports.values()), frame)

    def _pass(self, port: _Port, others: list[_Port], frame: bytes) -> None:
        now = self._loop.time()
        through = port.up.plan(len(frame), now)
        if through is None:
            return
        for other in others:
            if other is port:
                continue
            due = other.down.plan(len(frame), through)
            if due is None:
                continue
            if due <= now + _ORDER_SECONDS:
                _write(other.file, frame)
            else:
                self._loop.call_at(due, _write, other.file, frame)


def _write(file: int, frame: bytes) -> None:
    try:
        os.write(file, frame)
    except OSError as problem:
        print("frame not delivered:", problem, file=sys.stderr)


def _open_tap(namespace: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(place, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"no way into {namespace}")
    os.close(place)
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", b"eth0", _TAP_WITHOUT_HEADER))
    return file


async def main(namespaces: list[str]) -> None:
    loop = asyncio.get_running_loop()
    switch = Switch(loop)
    for namespace in namespaces:
        switch.open(namespace)
    print("ready", flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, orders), sys.stdin)
    while line := await orders.readline():
        switch.obey(msgspec.json.decode(line, type=Order))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
