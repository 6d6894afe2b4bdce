"""The echo leg: a browser's sound, picture and messages come back to it, so that its line is
measured before a visit.

``python -m recordings.echo`` is one test of one patient in a process of its own: what aiortc does
there, the rooms of the server do not feel; its memory is walled, its life is short, and nothing
of the server (keys, database) is in it. ``recordings.echohost`` starts it. Lines of JSON: first
an :class:`Endpoint` on standard input, then offers; one answer to each on standard output. A new
offer replaces the leg before it (the browser reconnects).
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
from typing import Final

import msgspec
from aiortc import RTCDataChannel, RTCRtpTransceiver

from recordings.echowords import LIFE_SECONDS, LONGEST_LINE, Answer, Endpoint, Offer
from recordings.guard import BadOffer, GuardedPeerConnection, without_addresses
from recordings.passthrough import (
    FrameTrack,
    ask_key_frame,
    on_key_frame_wanted,
    prefer_codecs,
    tap,
)

IDLE_SECONDS: Final = 6.0
MOST_SENT_BYTES: Final = 2_000_000
_CHUNK: Final = bytes(8 * 1024)
_BUFFERED_BYTES: Final = 128 * 1024
_REPORT_SECONDS: Final = 0.2
_MEMORY_BYTES: Final = 2**30
_CPU_SECONDS: Final = 45
_NICENESS: Final = 5
_KINDS: Final = ("audio", "video")


def clean_offer(sdp: str) -> tuple[str, list[str]]:
    """The offer without addresses, and its kinds of media.

    :raises BadOffer: not at most one sound and one picture, and then one channel for messages.
    """
    clean, kinds = without_addresses(sdp)
    media = kinds[:-1]
    if kinds[-1:] != ["application"] or len(set(media)) < len(media) or set(media) - set(_KINDS):
        raise BadOffer(f"{len(kinds)} sections")
    return clean, media


class EchoLeg:
    """One connection with a browser. ``over`` is set when it has ended, whoever ended it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.over = asyncio.Event()
        self._connection = GuardedPeerConnection(endpoint)
        self._connection.on("connectionstatechange", self._follow)
        self._connection.on("datachannel", self._open_messages)
        self._messages: Messages | None = None

    async def answer(self, offer: str) -> str:
        """The answer to an offer; the leg listens from here on.

        :raises BadOffer: see :func:`clean_offer`.
        """
        sdp, kinds = clean_offer(offer)
        for kind in kinds:
            self._add(kind)
        return await self._connection.answer(sdp)

    async def close(self) -> None:
        self.over.set()
        if self._messages is not None:
            await self._messages.close()
        await self._connection.close()

    def _add(self, kind: str) -> None:
        track = FrameTrack(kind)
        transceiver: RTCRtpTransceiver = self._connection.addTransceiver(track)
        prefer_codecs(transceiver)
        receiver = transceiver.receiver
        tap(receiver, track.push)
        on_key_frame_wanted(transceiver.sender, lambda: ask_key_frame(receiver))

    def _follow(self) -> None:
        if self._connection.connectionState in {"failed", "closed"}:
            self.over.set()

    def _open_messages(self, channel: RTCDataChannel) -> None:
        if self._messages is None:
            self._messages = Messages(channel)


class Messages:
    """The probes. ``ping …`` comes back; binary is counted and the count reported while it comes;
    ``send`` asks for binary until ``stop``."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        self._received = 0
        self._reported_at = 0.0
        self._sending: asyncio.Task[None] | None = None
        self._has_room = asyncio.Event()
        channel.bufferedAmountLowThreshold = _BUFFERED_BYTES // 2
        channel.on("bufferedamountlow", self._has_room.set)
        channel.on("message", self._hear)

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _hear(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._count(len(message))
        elif message.startswith("ping "):
            self._channel.send(message[:64])
        elif message == "send" and self._sending is None:
            self._sending = asyncio.create_task(self._send())
        elif message == "stop" and self._sending is not None:
            self._sending.cancel()

    def _count(self, received_bytes: int) -> None:
        self._received += received_bytes
        now = asyncio.get_running_loop().time()
        if now - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = now
            self._channel.send(f"received {self._received}")

    async def _send(self) -> None:
        for _ in range(MOST_SENT_BYTES // len(_CHUNK)):
            while self._channel.bufferedAmount > _BUFFERED_BYTES:
                self._has_room.clear()
                await self._has_room.wait()
            if self._channel.readyState != "open":
                return
            self._channel.send(_CHUNK)


# ---- the process -----------------------------------------------------------------------


class Echo:
    """The legs of one test, one after another."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._leg: EchoLeg | None = None

    async def answer(self, line: bytes) -> bytes:
        """One line for one offer."""
        await self.close()
        self._leg = EchoLeg(self._endpoint)
        try:
            offer = msgspec.json.decode(line, type=Offer)
            answer = Answer(sdp=await self._leg.answer(offer.sdp))
        except (BadOffer, msgspec.MsgspecError):
            answer = Answer(is_refused=True)
        return msgspec.json.encode(answer) + b"\n"

    async def close(self) -> None:
        if self._leg is not None:
            await self._leg.close()

    async def wait_until_idle(self) -> None:
        """Returns when the browser has been gone for a while."""
        if self._leg is not None:
            await self._leg.over.wait()
        await asyncio.sleep(IDLE_SECONDS)


async def serve() -> None:
    """Answer offers until standard input ends, nobody is there, or the time is over."""
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    echo = Echo(msgspec.json.decode(await reader.readline(), type=Endpoint))
    try:
        async with asyncio.timeout(LIFE_SECONDS):
            while line := await _next_line(reader, echo):
                sys.stdout.buffer.write(await echo.answer(line))
                sys.stdout.buffer.flush()
    except TimeoutError:
        return
    finally:
        await echo.close()


async def _next_line(reader: asyncio.StreamReader, echo: Echo) -> bytes:
    """Empty when there is nothing more to do."""
    reading = asyncio.ensure_future(reader.readline())
    idling = asyncio.ensure_future(echo.wait_until_idle())
    try:
        await asyncio.wait({reading, idling}, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else b""
    finally:
        reading.cancel()
        idling.cancel()
        await asyncio.gather(reading, idling, return_exceptions=True)


def main() -> None:
    """The walls first: an attack on this process ends this process."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    os.nice(_NICENESS)
    logging.disable()  # aioice and aiortc log addresses
    asyncio.run(serve())


if __name__ == "__main__":
    main()
