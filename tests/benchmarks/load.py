"""The load: plays call set-ups against one server, from a process of its own.

It is made of picows and uvloop so that it costs less than what it measures. One JSON job comes
on standard input, one JSON line goes out: ``python -m tests.benchmarks.load``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec
import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tests.benchmarks.dialects import DIALECTS, Dialect, Heard, Seat, Signal

CALL_WITHIN_SECONDS: Final = 15.0


class Job(msgspec.Struct):
    """What to play. A pair holds the keys of the patient's and of the clinician's seat."""

    dialect: str
    port: int
    in_flight: int
    pairs: list[tuple[str, str]]
    is_held: bool = False
    """Only join, say so, and stay until standard input ends."""


class Result(msgspec.Struct):
    """``lost`` counts calls that did not get every frame across in time."""

    latency_ms: list[float]
    lost: int


class _Side(WSListener):
    """One socket of a call."""

    def __init__(self, call: _Call, seat: Seat) -> None:
        self.call = call
        self.seat = seat
        self.transport: WSTransport | None = None
        self.signals = 0
        self.is_in_room = False
        self.is_over = False

    async def connect(self) -> None:
        dialect, port = self.call.dialect, self.call.port
        headers = {"Origin": f"http://127.0.0.1:{port}"}
        try:
            await ws_connect(lambda: self, dialect.address(port, self.seat), extra_headers=headers)
        except Exception:
            self.call.end(is_lost=True)
            raise

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        hello = self.call.dialect.hello(self.seat)
        if hello is not None:
            transport.send(WSMsgType.TEXT, hello)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            heard = self.call.dialect.hear(self.seat, frame.get_payload_as_bytes())
            if heard is not Heard.NOTHING:
                self.call.on_heard(self, heard)
        elif frame.msg_type is WSMsgType.CLOSE:
            if not transport.is_close_frame_sent:
                transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.is_over = True
        self.call.on_disconnected()

    def signal(self, description: Signal) -> None:
        """The description and then the candidates."""
        assert self.transport is not None
        dialect, seat, send = self.call.dialect, self.seat, self.transport.send
        send(WSMsgType.TEXT, dialect.signal(seat, description))
        for _ in range(dialect.candidate_frames):
            send(WSMsgType.TEXT, dialect.signal(seat, Signal.CANDIDATE))

    def leave(self) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, self.call.dialect.farewell(self.seat))
        self.transport.send_close(WSCloseCode.OK)

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.disconnect(graceful=False)


class _Call:
    """Two sides from the first connect to the last close."""

    def __init__(
        self,
        dialect: Dialect,
        port: int,
        keys: tuple[str, str],
        on_over: Callable[[_Call], None],
        *,
        is_held: bool,
    ) -> None:
        self.dialect = dialect
        self.port = port
        self._on_over = on_over
        self._is_held = is_held
        self.patient = _Side(self, Seat(keys[0], keys[1], is_patient=True))
        self.clinician = _Side(self, Seat(keys[1], keys[0], is_patient=False))
        self.is_lost = False
        self._is_over = False
        self._signals_per_side = 1 + dialect.candidate_frames
        self.latency_ms = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._started_at = time.perf_counter()
        self._deadline = asyncio.get_running_loop().call_later(
            CALL_WITHIN_SECONDS, lambda: self.end(is_lost=True)
        )
        self._connect(self.patient)

    def _connect(self, side: _Side) -> None:
        self._tasks.append(asyncio.create_task(side.connect()))

    def on_heard(self, side: _Side, heard: Heard) -> None:
        match heard:
            case Heard.IN_ROOM:
                side.is_in_room = True
                self._on_in_room(side)
            case Heard.SIGNAL:
                side.signals += 1
                if side is self.patient and side.signals == 1:
                    side.signal(Signal.ANSWER)
                self._part_when_complete()
            case Heard.OTHER_LEFT if side is self.clinician:
                side.leave()

    def _on_in_room(self, side: _Side) -> None:
        if side is self.patient:
            self._connect(self.clinician)
        elif self._is_held:
            self.end(is_lost=False)
        else:
            side.signal(Signal.OFFER)

    def _part_when_complete(self) -> None:
        if self._is_complete():
            self.patient.leave()

    def on_disconnected(self) -> None:
        if self.patient.is_over and self.clinician.is_over:
            self.end(is_lost=not self._is_complete())

    def _is_complete(self) -> bool:
        return self.patient.signals == self.clinician.signals == self._signals_per_side

    def end(self, *, is_lost: bool) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._deadline.cancel()
        self.is_lost = is_lost
        self.latency_ms = (time.perf_counter() - self._started_at) * 1000
        if is_lost:
            self.patient.cut()
            self.clinician.cut()
        self._on_over(self)


async def play(job: Job) -> Result:
    """All calls of a job, ``in_flight`` at a time."""
    result = Result([], 0)
    done = asyncio.get_running_loop().create_future()
    waiting = list(reversed(job.pairs))
    calls: list[_Call] = []

    def start_next() -> None:
        if waiting:
            keys = waiting.pop()
            call = _Call(DIALECTS[job.dialect], job.port, keys, on_over, is_held=job.is_held)
            calls.append(call)
            call.start()

    def on_over(call: _Call) -> None:
        result.lost += call.is_lost
        result.latency_ms.append(call.latency_ms)
        if len(result.latency_ms) == len(job.pairs):
            done.set_result(None)
        start_next()

    for _ in range(job.in_flight):
        start_next()
    await done
    return result


async def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    result = await play(job)
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    sys.stdout.flush()
    if job.is_held:
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    uvloop.run(main())
