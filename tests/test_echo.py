"""The echo leg: what comes goes back as it came, in a process of its own that always ends."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aioice.ice
import av
import psutil
import pytest
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack

from recordings.echo import BadOffer, clean_offer
from recordings.echohost import EchoBusy, EchoHost, EchoRefused
from recordings.echowords import Endpoint
from recordings.passthrough import MAX_WAITING_FRAMES, FrameTap, FrameTrack, tap
from tests.test_guard import plain

HERE = Endpoint("127.0.0.1")
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


@pytest.fixture
async def host() -> AsyncIterator[EchoHost]:
    host = EchoHost(HERE, most=2)
    yield host
    await host.close()
    assert echo_processes() == []


@dataclass
class Browser:
    """Somebody who tests the line."""

    connection: RTCPeerConnection
    channel: RTCDataChannel
    heard: asyncio.Queue[str | bytes] = field(default_factory=asyncio.Queue)
    frames: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    async def hear(self, start: str) -> str:
        """The next text that starts so."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.heard.get()
                if isinstance(message, str) and message.startswith(start):
                    return message

    async def watch(self, track: MediaStreamTrack) -> None:
        async with asyncio.timeout(PATIENCE):
            for _ in range(10):
                await track.recv()
        self.frames[track.kind].release()


@asynccontextmanager
async def browser_at(host: EchoHost, key: str, *tracks: MediaStreamTrack) -> AsyncIterator[Browser]:
    connection = plain()
    for track in tracks:
        connection.addTrack(track)
    browser = Browser(connection, connection.createDataChannel("line"))
    browser.frames = {track.kind: asyncio.Semaphore(0) for track in tracks}
    is_open = asyncio.Event()
    browser.channel.on("open", is_open.set)
    browser.channel.on("message", browser.heard.put_nowait)
    connection.on("track", browser.watch)
    try:
        await connection.setLocalDescription(await connection.createOffer())
        answer = await host.answer(key, connection.localDescription.sdp)
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(PATIENCE):
            await is_open.wait()
        yield browser
    finally:
        await connection.close()


def echo_processes() -> list[psutil.Process]:
    """The living children of this process that are echo legs."""
    children = psutil.Process().children()
    return [one for one in children if "recordings.echo" in " ".join(one.cmdline())]


async def offer_text() -> str:
    connection = plain()
    connection.createDataChannel("line")
    await connection.setLocalDescription(await connection.createOffer())
    await connection.close()
    return str(connection.localDescription.sdp)


# ---- what comes back -------------------------------------------------------------------


async def test_sound_picture_and_messages_come_back(host: EchoHost) -> None:
    async with browser_at(host, "visit", AudioStreamTrack(), VideoStreamTrack()) as browser:
        for kind in ("audio", "video"):
            async with asyncio.timeout(PATIENCE):
                await browser.frames[kind].acquire()
        browser.channel.send("ping 7")

        assert await browser.hear("ping") == "ping 7"


async def test_what_is_sent_is_counted_and_what_is_asked_for_comes(host: EchoHost) -> None:
    async with browser_at(host, "visit") as browser:
        browser.channel.send(bytes(5000))
        assert await browser.hear("received") == "received 5000"

        browser.channel.send("send")
        received = 0
        async with asyncio.timeout(PATIENCE):
            while received < 1_000_000:
                message = await browser.heard.get()
                received += len(message) if isinstance(message, bytes) else 0
        browser.channel.send("stop")
        browser.channel.send("ping after")

        assert await browser.hear("ping") == "ping after"


async def test_a_second_offer_replaces_the_leg_in_the_same_process(host: EchoHost) -> None:
    async with browser_at(host, "visit"):
        [before] = echo_processes()
    async with browser_at(host, "visit") as browser:
        browser.channel.send("ping 2")
        await browser.hear("ping")

        assert echo_processes() == [before]
        assert host.running == 1


async def test_encoded_frames_pass_as_they_are() -> None:
    connection = plain()
    receiver: RTCRtpReceiver = connection.addTransceiver("video").receiver
    known = RTCRtpReceiver.getCapabilities("video")
    assert known is not None
    track, codec = FrameTrack("video"), known.codecs[0]
    tap(receiver, track.push)  # type: ignore[arg-type]
    decoder = receiver._RTCRtpReceiver__decoder_queue  # type: ignore[attr-defined]
    frames = [os.urandom(900) for _ in range(MAX_WAITING_FRAMES + 6)]
    for number, data in enumerate(frames):
        decoder.put((codec, JitterFrame(data, 3000 * number)))
    packets: list[av.Packet] = [await track.recv() for _ in range(MAX_WAITING_FRAMES)]  # type: ignore[type-arg]

    assert isinstance(decoder, FrameTap)
    assert decoder.qsize() == 0
    assert [bytes(packet) for packet in packets] == frames[6:]
    assert packets[0].pts == 3000 * 6
    await connection.close()


# ---- who may, and how long -------------------------------------------------------------


async def test_more_than_may_run_are_told_to_come_later(host: EchoHost) -> None:
    async with browser_at(host, "one"), browser_at(host, "two"):
        with pytest.raises(EchoBusy):
            await host.answer("three", await offer_text())

        assert host.running == 2


async def test_a_process_ends_when_its_browser_has_gone(host: EchoHost) -> None:
    async with browser_at(host, "one"):
        pass
    async with asyncio.timeout(PATIENCE):
        while host.running:
            await asyncio.sleep(0.05)

    assert echo_processes() == []


async def test_a_process_does_not_outlive_the_server(host: EchoHost) -> None:
    """A server that was killed says nothing: its end of the pipe just closes."""
    async with browser_at(host, "one"):
        [process] = echo_processes()
        started = await host._tests["one"]._process
        assert started is not None
        assert started.stdin is not None
        started.stdin.close()
        async with asyncio.timeout(PATIENCE):
            await started.wait()

    assert not process.is_running()


async def test_a_process_that_died_is_replaced(host: EchoHost) -> None:
    async with browser_at(host, "one"):
        [before] = echo_processes()
        before.kill()
    async with browser_at(host, "one") as browser:
        browser.channel.send("ping 2")
        await browser.hear("ping")


async def test_a_process_inherits_nothing_of_the_server(
    host: EchoHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCANTO_TURN_SECRET", "a-secret")
    async with browser_at(host, "one"):
        [process] = echo_processes()

        assert not {name for name in process.environ() if name.startswith("ACCANTO")}
        assert process.nice() > psutil.Process().nice()
        assert process.rlimit(psutil.RLIMIT_AS)[1] < 2**31


# ---- what is answered ------------------------------------------------------------------


@pytest.mark.parametrize("sdp", ["", "v=0", "m=audio 9 x 0\r\n", "\x00" * 2000])
async def test_nonsense_is_refused_and_ends_nothing(host: EchoHost, sdp: str) -> None:
    with pytest.raises(EchoRefused):
        await host.answer("one", sdp)
    async with browser_at(host, "one") as browser:
        browser.channel.send("ping 1")
        await browser.hear("ping")


@pytest.mark.parametrize(
    "sections",
    [[], ["audio"], ["application", "audio"], ["audio", "audio", "application"],
     ["text", "application"], ["application", "application"]],
)  # fmt: skip
def test_only_the_sections_of_our_page_are_taken(sections: list[str]) -> None:
    with pytest.raises(BadOffer):
        clean_offer("v=0\r\n" + "".join(f"m={kind} 9 X 0\r\n" for kind in sections))


async def test_nothing_is_sent_to_an_address_that_an_offer_names(host: EchoHost) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as third:
        third.bind(("127.0.0.1", 0))
        third.setblocking(False)
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        channel = connection.createDataChannel("line")
        is_open = asyncio.Event()
        channel.on("open", is_open.set)
        await connection.setLocalDescription(await connection.createOffer())
        port = third.getsockname()[1]
        named = f"a=candidate:1 1 udp 4294967295 127.0.0.1 {port} typ host\r\n"
        offer = connection.localDescription.sdp + named
        answer = await host.answer("one", offer)
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(PATIENCE):
            await is_open.wait()

        with pytest.raises(BlockingIOError):
            third.recv(2048)
        await connection.close()
