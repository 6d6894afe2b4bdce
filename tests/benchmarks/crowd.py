"""Crowds of pages against one server, from a process of its own: all come back at once, or many
do not read. One JSON job on standard input, one JSON line out: ``python -m
tests.benchmarks.crowd``.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import time
from contextlib import suppress
from typing import Final

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

JOIN_AT_ONCE: Final = 50
BACK_WITHIN_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.25
BULK_FRAMES: Final = 12
BULK: Final = b'"%b"' % (b"x" * 40_000)
PROBE_EVERY_SECONDS: Final = 0.05
CUT_WITHIN_SECONDS: Final = 40.0


class Job(msgspec.Struct):
    """``act``: ``storm``, ``slow``, or ``hold``: the patients join and stay until standard input
    ends. A pair holds the tickets of patient and clinician."""

    act: str
    port: int
    pairs: list[tuple[str, str]]
    jitter_seconds: float = 0.0
    sleepers: int = 0
    """How many patients of the first pairs do not read; the other pairs ask the time."""


class Result(msgspec.Struct):
    """Of a storm: when each was back. Of slow readers: what the others waited for an answer."""

    seconds: list[float]
    lost: int
    cut: int = 0


class Page(WSListener):
    """One seat: joins with a ticket, resumes with what its ``welcome`` said."""

    def __init__(self, port: int, ticket: str, *, is_asleep: bool = False) -> None:
        self.port = port
        self._hello: dict[str, object] = {"ticket": ticket}
        self._is_asleep = is_asleep
        self.transport: WSTransport | None = None
        self.welcomed = asyncio.Event()
        self.away = asyncio.Event()
        """The other one of the room was lost."""
        self.pong = asyncio.Event()
        self.generation = 0
        self._seq = 0

    async def connect(self) -> None:
        self.welcomed.clear()
        headers = {"Origin": f"http://127.0.0.1:{self.port}"}
        url = f"ws://127.0.0.1:{self.port}/ws"
        more = {"socket_factory": self._connect_small} if self._is_asleep else {}
        await ws_connect(lambda: self, url, extra_headers=headers, **more)

    async def _connect_small(self, _: object) -> socket.socket:
        """A connection that takes little before the server feels that nobody reads."""
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", self.port))
        return small

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.send({"type": "hello", "versions": [1], **self._hello})

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        head = msgspec.json.decode(payload)
        self._seq = max(self._seq, head.get("seq", 0))
        match head["type"]:
            case "welcome":
                self._hello = {"resume": head["resume"], "epoch": head["epoch"]}
                self.generation = max(one["generation"] for one in head["participants"])
                self.welcomed.set()
            case "away":
                self.away.set()
            case "pong":
                self.pong.set()
            case "bye":
                transport.disconnect()

    def send(self, message: dict[str, object]) -> None:
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, msgspec.json.encode(message))

    def drop(self) -> None:
        if self.transport is not None:
            self.transport.disconnect(graceful=False)

    async def come_back(self, delay: float) -> float:
        """Seconds from now to the next ``welcome``; tries until it is there."""
        start = time.perf_counter()
        await asyncio.sleep(delay)
        self._hello["seq"] = self._seq
        while time.perf_counter() - start < BACK_WITHIN_SECONDS:
            try:
                async with asyncio.timeout(10):
                    await self.connect()
                    await self.welcomed.wait()
            except (OSError, TimeoutError, RuntimeError):
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return time.perf_counter() - start
        return float("inf")


async def join_all(pages: list[Page]) -> None:
    """Some at a time, so that joining is not what is measured."""
    gate = asyncio.Semaphore(JOIN_AT_ONCE)

    async def join(page: Page) -> None:
        async with gate:
            await page.connect()
            await asyncio.wait_for(page.welcomed.wait(), 30)

    await asyncio.gather(*map(join, pages))


async def storm(job: Job) -> Result:
    pages = [Page(job.port, ticket) for pair in job.pairs for ticket in pair]
    await join_all(pages)
    for page in pages:
        page.drop()
    delays = [random.uniform(0, job.jitter_seconds) for _ in pages]
    returns = (page.come_back(delay) for page, delay in zip(pages, delays, strict=True))
    found = await asyncio.gather(*returns)
    back = [seconds for seconds in found if seconds != float("inf")]
    return Result(back, len(found) - len(back))


async def slow(job: Job) -> Result:
    patients = [
        Page(job.port, pair[0], is_asleep=number < job.sleepers)
        for number, pair in enumerate(job.pairs)
    ]
    clinicians = [Page(job.port, pair[1]) for pair in job.pairs]
    await join_all(patients)
    await join_all(clinicians)
    for page in patients[: job.sleepers]:
        assert page.transport is not None
        page.transport.underlying_transport.pause_reading()
    probing = asyncio.create_task(probe(patients[job.sleepers :]))
    talkers = clinicians[: job.sleepers]
    for number in range(BULK_FRAMES):
        for page in talkers:
            await talk(page, number + 1)
    with suppress(TimeoutError):
        async with asyncio.timeout(CUT_WITHIN_SECONDS):
            await asyncio.gather(*(page.away.wait() for page in talkers))
    probing.cancel()
    waits = (await asyncio.gather(probing, return_exceptions=True))[0]
    assert not isinstance(waits, BaseException)
    cut = sum(page.away.is_set() for page in talkers)
    return Result(waits, len(talkers) - cut, cut)


async def talk(page: Page, cseq: int) -> None:
    assert page.transport is not None
    page.transport.send(
        WSMsgType.TEXT,
        b'{"type":"candidates","cseq":%d,"to":"patient","generation":%d,"payload":%b}'
        % (cseq, page.generation, BULK),
    )
    await asyncio.sleep(0)


async def probe(pages: list[Page]) -> list[float]:
    """The others ask for a ``pong`` in turns; how long each answer took."""
    waits: list[float] = []
    try:
        while True:
            for page in pages:
                page.pong.clear()
                start = time.perf_counter()
                page.send({"type": "ping"})
                await page.pong.wait()
                waits.append(time.perf_counter() - start)
                await asyncio.sleep(PROBE_EVERY_SECONDS / len(pages))
    except asyncio.CancelledError:
        return waits


async def hold(job: Job) -> Result:
    await join_all([Page(job.port, pair[0]) for pair in job.pairs])
    return Result([], 0)


async def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    result = await {"storm": storm, "slow": slow, "hold": hold}[job.act](job)
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    sys.stdout.flush()
    if job.act == "hold":
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    uvloop.run(main())
