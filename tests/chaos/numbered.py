"""Synthetic people in a room, as the pages' ``wire.js`` behaves: each numbers what it signals,
keeps it until it is acknowledged, goes on at any node, and writes down what arrives.

They have no media and are not admitted: signals pass before that.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

_FIRST_RETRY_SECONDS: Final = 0.25
_LONGEST_RETRY_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 2.0
_PING_EVERY_SECONDS: Final = 3.0
_DEAD_AFTER_SECONDS: Final = 7.0

Frame = dict[str, Any]


@dataclass
class Seat:
    """One participant of one room. ``take_ticket`` gives the right to join it."""

    session: ClientSession
    base_url: str
    partner: str
    take_ticket: Callable[[], str]
    signal_every_seconds: float
    sent: int = 0
    is_silent: bool = False
    """Signals nothing new."""
    heard: list[tuple[float, int]] = field(default_factory=list)
    """When, and the partner's number; monotonic seconds, as all times here."""
    welcomes: list[tuple[float, bool]] = field(default_factory=list)
    """When, and whether it was the same page that went on."""
    losses: list[float] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """What this page would tell of the partner: away or gone."""

    def __post_init__(self) -> None:
        self._kept: dict[int, Frame] = {}
        self._cseq = 0
        self._seq = 0
        self._resume: Frame | None = None
        self._generations: dict[str, int] = {}
        self._is_up = self._was_up = False

    @property
    def is_together(self) -> bool:
        """Both have joined."""
        return self._is_up and len(self._generations) == 2

    @property
    def is_acknowledged(self) -> bool:
        return not self._kept

    def forget(self) -> None:
        """Number anew what is signalled; the last welcome stays."""
        self.sent = 0
        del self.welcomes[:-1]
        for kept in (self.heard, self.losses, self.notices):
            kept.clear()

    async def live(self) -> None:
        """Until it is cancelled."""
        pause = _FIRST_RETRY_SECONDS
        while True:
            with suppress(ClientError, OSError, TimeoutError):
                await self._connect()
            pause = _FIRST_RETRY_SECONDS if self._was_up else min(2 * pause, _LONGEST_RETRY_SECONDS)
            self._was_up = False
            await asyncio.sleep(pause)

    async def _connect(self) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            url = self.base_url.replace("http", "ws", 1) + "/ws"
            socket = await self.session.ws_connect(url, origin=self.base_url, autoping=True)
        speaking = asyncio.create_task(self._speak(socket))
        try:
            await self._say_hello(socket)
            await self._listen(socket)
        finally:
            speaking.cancel()
            await asyncio.wait({speaking})
            if self._is_up:
                self.losses.append(time.monotonic())
            self._is_up, self._was_up = False, self._is_up
            await socket.close()

    async def _say_hello(self, socket: ClientWebSocketResponse) -> None:
        go_on = self._resume and {**self._resume, "seq": self._seq}
        key = go_on or {"ticket": self.take_ticket()}
        await socket.send_json({"type": "hello", "versions": [1], **key})

    async def _listen(self, socket: ClientWebSocketResponse) -> None:
        while True:
            async with asyncio.timeout(_DEAD_AFTER_SECONDS):
                message = await socket.receive()
            if message.type is not WSMsgType.TEXT:
                return
            frame = json.loads(message.data)
            if frame["type"] == "bye" and frame["action"] != "resume":
                self._resume = None
            await self._hear(frame, socket)

    async def _hear(self, frame: Frame, socket: ClientWebSocketResponse) -> None:
        match frame["type"]:
            case "welcome":
                await self._take_seat(frame, socket)
            case "ack":
                self._acknowledge(frame["cseq"])
            case "error":
                raise AssertionError(frame)
            case kind if "seq" in frame and frame["seq"] > self._seq:
                self._seq = frame["seq"]
                self._apply(kind, frame)

    async def _take_seat(self, welcome: Frame, socket: ClientWebSocketResponse) -> None:
        self.welcomes.append((time.monotonic(), welcome["resumed"]))
        self._resume = {"resume": welcome["resume"], "epoch": welcome["epoch"]}
        if not welcome["resumed"]:
            self._seq = welcome["seq"]
            self._kept.clear()
            self._cseq = welcome["cseq"]
        self._generations = {
            one["participant"]: one["generation"]
            for one in welcome["participants"]
            if one["state"] not in {"gone", "turned_away"}
        }
        # Also what the server says it has: who doubles a signal then is seen.
        for kept in list(self._kept.values()):
            await socket.send_json(kept)
        self._acknowledge(welcome["cseq"])
        self._is_up = True

    def _apply(self, kind: str, frame: Frame) -> None:
        if kind == "joined":
            self._generations[frame["participant"]] = frame["seq"]
        elif kind in {"away", "gone"} and frame["participant"] == self.partner:
            self.notices.append(kind)
        elif kind == "candidates" and frame["generation"] == max(self._generations.values()):
            self.heard.append((time.monotonic(), frame["payload"]["number"]))

    def _acknowledge(self, cseq: int) -> None:
        self._kept = {number: kept for number, kept in self._kept.items() if number > cseq}

    async def _speak(self, socket: ClientWebSocketResponse) -> None:
        pinged_at = time.monotonic()
        while True:
            await asyncio.sleep(self.signal_every_seconds)
            frame: Frame | None = None
            if self.is_together and not self.is_silent:
                frame = self._next_signal()
            elif time.monotonic() - pinged_at > _PING_EVERY_SECONDS:
                pinged_at = time.monotonic()
                frame = {"type": "ping"}
            if frame:
                with suppress(ClientError, OSError):
                    await socket.send_json(frame)

    def _next_signal(self) -> Frame:
        self.sent += 1
        self._cseq += 1
        frame = {
            "type": "candidates",
            "cseq": self._cseq,
            "to": self.partner,
            "generation": max(self._generations.values()),
            "payload": {"number": self.sent},
        }
        self._kept[self._cseq] = frame
        return frame


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the numbered signals of some calls."""

    lost: int
    doubled: int
    reordered: int
    rejoined: int
    """How often somebody had to join afresh."""
    notices: int
    """How often somebody was told that the other is away or gone."""
    moved: int
    """How often somebody lost the socket."""


def count(pairs: list[tuple[Seat, Seat]]) -> Count:
    """Compare what each has sent with what the other has heard, and begin anew."""
    lost = doubled = reordered = 0
    for sender, hearer in [way for one, other in pairs for way in ((one, other), (other, one))]:
        numbers = [number for _, number in hearer.heard]
        lost += sender.sent - len(set(numbers))
        doubled += len(numbers) - len(set(numbers))
        reordered += sum(later < sooner for sooner, later in pairwise(numbers))
    seats = [seat for pair in pairs for seat in pair]
    counted = Count(
        lost,
        doubled,
        reordered,
        rejoined=sum(not is_same for seat in seats for _, is_same in seat.welcomes[1:]),
        notices=sum(len(seat.notices) for seat in seats),
        moved=sum(len(seat.losses) for seat in seats),
    )
    for seat in seats:
        seat.forget()
    return counted
