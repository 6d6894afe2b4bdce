"""The two ends of ``recorder``, each a process of its own: who sends, and who keeps.

``python -m tests.benchmarks.recordpeers source COUNT [ADDRESS]`` sends ``COUNT`` times sound and a
picture that were encoded once, from an address of this machine. ``… floor|recorder|mediarecorder
FOLDER`` receives. Lines of JSON: the source says its offers and takes the answers, the others take
offers and say answers; after an empty line the source stops, after the next one each says what it
sent or kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import aioice.ice
import av
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaRecorder
from av.video.frame import PictureType

from recordings.deck import Deck
from recordings.echowords import Endpoint
from recordings.finishing import Finished
from recordings.guard import GuardedPeerConnection
from recordings.passthrough import tap
from recordings.tapes import TapeKey, tracks_on_tape
from recordings.vault import new_key
from tests.flashes import SOUNDS_A_SECOND, LoopTrack, Start, sound_loop

SIZE = (640, 480)
PICTURES_A_SECOND = 30
FRAMES_A_SECOND = PICTURES_A_SECOND + SOUNDS_A_SECOND
BITS_A_SECOND = 850_000
HERE = Endpoint("127.0.0.1")
_LOOP_SECONDS = 4
_CODECS = {"audio": ("audio/opus",), "video": ("video/vp8", "video/rtx")}


def moving_pictures() -> tuple[bytes, ...]:
    """ffmpeg's test picture in VP8, at the rate of a camera."""
    width, height = SIZE
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, PICTURES_A_SECOND)
    encoder.framerate = Fraction(PICTURES_A_SECOND)
    encoder.gop_size = 2 * PICTURES_A_SECOND
    encoder.bit_rate = BITS_A_SECOND
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    packets: list[bytes] = []
    count = _LOOP_SECONDS * PICTURES_A_SECOND
    source = f"testsrc2=size={width}x{height}:rate={PICTURES_A_SECOND}"
    with av.open(source, format="lavfi") as pictures:
        for number, frame in enumerate(islice(pictures.decode(video=0), count)):
            frame.pts = number
            frame.time_base = encoder.time_base
            frame.pict_type = PictureType.NONE
            packets += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(packets)


class End(Protocol):
    """One of the processes."""

    async def take(self, line: dict[str, str]) -> str:
        """The answer to a line."""

    async def stop(self) -> dict[str, Any]:
        """What came of it."""


class Source:
    def __init__(self) -> None:
        self._pictures = moving_pictures()
        self._waiting: deque[RTCPeerConnection] = deque()
        self._connections: list[RTCPeerConnection] = []
        self._tracks: list[LoopTrack] = []

    async def offer(self) -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        start = Start()
        for kind, frames, a_second in (
            ("audio", sound_loop(), SOUNDS_A_SECOND),
            ("video", self._pictures, PICTURES_A_SECOND),
        ):
            track = LoopTrack(kind, frames, a_second, start)
            connection.addTransceiver(track, "sendonly")
            self._tracks.append(track)
        await connection.setLocalDescription(await connection.createOffer())
        self._waiting.append(connection)
        self._connections.append(connection)
        return str(connection.localDescription.sdp)

    async def take(self, line: dict[str, str]) -> str:
        connection = self._waiting.popleft()
        await connection.setRemoteDescription(RTCSessionDescription(line["sdp"], "answer"))
        return ""

    async def hold(self) -> None:
        for track in self._tracks:
            track.is_held = True

    async def stop(self) -> dict[str, Any]:
        for connection in self._connections:
            await connection.close()
        return {"sent": sum(track.sent for track in self._tracks)}


class Recorder:
    """The product, without its room."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = TapeKey(new_key(), "key0000000000001", "organisation", "visit")
        self._deck = Deck(HERE, folder, self._key, lambda _: True, lambda _: None, {})
        self._running = asyncio.create_task(self._deck.run())
        self._count = 0

    async def take(self, line: dict[str, str]) -> str:
        self._count += 1
        return await self._deck.answer(f"person{self._count}", line["sdp"])

    async def stop(self) -> dict[str, Any]:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._deck.close()
        found = [Finished(self._folder, one, self._key) for one in tracks_on_tape(self._folder)]
        kept = sum(one.figures.frames + one.figures.packets for one in found)
        return {"kept": kept, "bytes": sum(one.size for one in found)}


class Receiver:
    """An aiortc connection as our legs have it; what is done with what comes is the other's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connections: list[GuardedPeerConnection] = []

    async def take(self, line: dict[str, str]) -> str:
        connection = GuardedPeerConnection(HERE)
        self._connections.append(connection)
        receivers = [self._add(connection, kind) for kind in _CODECS]
        self.tap(receivers)
        await connection.setRemoteDescription(RTCSessionDescription(line["sdp"], "offer"))
        await self.keep(receivers)
        await connection.setLocalDescription(await connection.createAnswer())
        return str(connection.localDescription.sdp)

    def _add(self, connection: GuardedPeerConnection, kind: str) -> RTCRtpReceiver:
        transceiver = connection.addTransceiver(kind, "recvonly")
        codecs = RTCRtpReceiver.getCapabilities(kind).codecs
        transceiver.setCodecPreferences(
            [one for one in codecs if one.mimeType.lower() in _CODECS[kind]]
        )
        return transceiver.receiver

    def tap(self, receivers: list[RTCRtpReceiver]) -> None:
        """Before they have tracks."""

    async def keep(self, receivers: list[RTCRtpReceiver]) -> None:
        """When they have tracks."""

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()


class Floor(Receiver):
    """Encoded frames are received and dropped."""

    kept = 0

    def tap(self, receivers: list[RTCRtpReceiver]) -> None:
        for receiver in receivers:
            tap(receiver, self._drop)

    def _drop(self, *_: object) -> None:
        self.kept += 1

    async def stop(self) -> dict[str, Any]:
        await self.close()
        return {"kept": self.kept}


class ByMediaRecorder(Receiver):
    """aiortc's own recorder: decodes, encodes again, into MP4."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._recorders: list[MediaRecorder] = []

    async def keep(self, receivers: list[RTCRtpReceiver]) -> None:
        """Its picture is lost where the sound comes first (it sets a size that is fixed by then),
        so it is told the size before."""
        recorder = MediaRecorder(str(self._folder / f"{len(self._recorders)}.mp4"))
        for receiver in receivers:
            recorder.addTrack(receiver.track)
        for track, context in recorder._MediaRecorder__tracks.items():  # type: ignore[attr-defined]
            if track.kind == "video":
                context.stream.width, context.stream.height = SIZE
                context.started = True
        await recorder.start()
        self._recorders.append(recorder)

    async def stop(self) -> dict[str, Any]:
        for recorder in self._recorders:
            await recorder.stop()
        await self.close()
        return {"kept": sum(map(_count, self._folder.glob("*.mp4")))}


def _count(path: Path) -> int:
    """Frames of the picture, and of the sound as many as came in packets of 20 ms."""
    with av.open(str(path)) as container:
        pictures = sum(packet.size > 0 for packet in container.demux(video=0))
        sound = container.streams.audio[0]
        seconds = float((sound.duration or 0) * (sound.time_base or 0))
    return pictures + round(seconds * SOUNDS_A_SECOND)


SINKS: dict[str, Any] = {"floor": Floor, "recorder": Recorder, "mediarecorder": ByMediaRecorder}


async def main(role: str, argument: str, address: str = "127.0.0.1") -> None:
    aioice.ice.get_host_addresses = lambda **_: [address]
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    end: Any = Source() if role == "source" else SINKS[role](Path(argument))
    if role == "source":
        for _ in range(int(argument)):
            _say({"sdp": await end.offer()})
    while (line := await reader.readline()) not in (b"\n", b""):
        answer = await end.take(json.loads(line))
        if answer:
            _say({"sdp": answer})
    if role == "source":
        await end.hold()
        await reader.readline()
    _say(await end.stop())


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(main(*sys.argv[1:]))
