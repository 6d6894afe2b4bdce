"""Debian's Janus as a peer of ``recorder``: it writes the RTP packets as they came into ``.mjr``.

It has a folder of configuration of its own, speaks over a socket of that folder and opens no port
but those of the one connection's media.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
from aiortc.rtp import RtpPacket

PROGRAM: Final = shutil.which("janus")
_PLUGIN: Final = "janus.plugin.recordplay"
_LIBRARIES: Final = ("/usr/lib/*/janus", "/usr/lib/janus")
_PATIENCE: Final = 30.0
_LONGEST_WORD: Final = 2**18
_MAGIC: Final = b"MJR00002"
_PACKET: Final = b"MEET"
_START_OF_FRAME: Final = (0x17, 0x10)
"""Mask and value of the first byte of a VP8 payload (RFC 7741 §4.2: S is set, PID is 0)."""
_SETTINGS: Final = {
    "janus.jcfg": """general: {{
  configs_folder = "{folder}"
  plugins_folder = "{libraries}/plugins"
  transports_folder = "{libraries}/transports"
  debug_level = 2
  session_timeout = 0
  admin_secret = "{secret}"
}}
nat: {{ ice_enforce_list = "{address}" }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
""",
    "janus.transport.pfunix.jcfg": """general: {{
  enabled = true
  json = "compact"
  path = "{folder}/socket"
  type = "SOCK_SEQPACKET"
}}
admin: {{ admin_enabled = false }}
""",
    "janus.plugin.recordplay.jcfg": """general: {{ path = "{folder}/kept" }}
""",
}


class Janus:
    """Has the words of the other ends."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self._folder = folder
        self._process = process
        self._speech = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._speech.setblocking(False)
        self._session: dict[str, Any] = {}
        self._asked: asyncio.Task[dict[str, Any]] | None = None
        self.measured = psutil.Process(process.pid)

    async def find(self) -> bool:
        """Its socket. False: Janus has ended, as it does when the thread of the socket runs before
        what it waits for is set."""
        loop = asyncio.get_running_loop()
        while self._process.returncode is None:
            try:
                await loop.sock_connect(self._speech, str(self._folder / "socket"))
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.1)
            else:
                return True
        return False

    async def open(self) -> None:
        session = await self._ask("success", janus="create")
        self._session = {"session_id": session["data"]["id"]}
        handle = await self._ask("success", janus="attach", plugin=_PLUGIN)
        self._session["handle_id"] = handle["data"]["id"]

    async def close(self) -> None:
        self._speech.close()
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()

    def say(self, words: dict[str, Any] | None) -> None:
        """An offer, or that it is over."""
        asked = self._end() if words is None else self._record(words["sdp"])
        self._asked = asyncio.create_task(asked)

    async def hear(self) -> dict[str, Any]:
        if self._asked is None:
            raise ValueError("nothing was said")
        return await self._asked

    def cpu(self) -> float:
        times = self.measured.cpu_times()
        return times.user + times.system

    async def _record(self, offer: str) -> dict[str, Any]:
        found = await self._ask(
            "event",
            janus="message",
            body={"request": "record", "name": "bench", "filename": "bench"},
            jsep={"type": "offer", "sdp": offer},
        )
        return {"sdp": found["jsep"]["sdp"]}

    async def _end(self) -> dict[str, Any]:
        await self._ask("event", janus="message", body={"request": "stop"})
        await self._ask("success", janus="detach")
        await self.close()
        kept = self._folder / "kept"
        counts = {"audio": _count_packets, "video": _count_pictures}
        return {"kept": sum(count(kept / f"bench-{kind}.mjr") for kind, count in counts.items())}

    async def _ask(self, kind: str, **words: Any) -> dict[str, Any]:
        """The first answer of this kind; others are on their way, too."""
        loop = asyncio.get_running_loop()
        transaction = secrets.token_hex(8)
        line = msgspec.json.encode(words | self._session | {"transaction": transaction})
        await loop.sock_sendall(self._speech, line)
        async with asyncio.timeout(_PATIENCE):
            while True:
                found: dict[str, Any] = msgspec.json.decode(
                    await loop.sock_recv(self._speech, _LONGEST_WORD)
                )
                if found["janus"] == "error":
                    raise ValueError(found["error"]["reason"])
                if found["janus"] == kind and found.get("transaction") == transaction:
                    return found


def own_address() -> str:
    """Janus takes no loopback address; what goes to another one of the machine stays on it, too."""
    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    return found[0] if found else "127.0.0.1"


@asynccontextmanager
async def start_janus(program: str, folder: Path) -> AsyncIterator[Janus]:
    """One process with nothing but what records."""
    (folder / "kept").mkdir()
    libraries = next(path for one in _LIBRARIES for path in Path("/").glob(one[1:]))
    values = {
        "folder": folder,
        "libraries": libraries,
        "secret": secrets.token_hex(16),
        "address": own_address(),
        "plugins": _others(libraries / "plugins", "recordplay"),
        "transports": _others(libraries / "transports", "pfunix"),
    }
    for name, text in _SETTINGS.items():
        (folder / name).write_text(text.format(**values))
    janus = await _start(program, folder)
    try:
        async with asyncio.timeout(_PATIENCE):
            while not await janus.find():
                await janus.close()
                janus = await _start(program, folder)
        await janus.open()
        yield janus
    finally:
        await janus.close()


async def _start(program: str, folder: Path) -> Janus:
    process = await asyncio.create_subprocess_exec(
        program, "--configs-folder", folder, "--disable-colors",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return Janus(folder, process)


def _others(folder: Path, wanted: str) -> str:
    return ",".join(path.name for path in folder.glob("*.so") if wanted not in path.name)


# ---- .mjr: a head in JSON, then RTP packets as they came -------------------------------


def _packets(path: Path) -> Iterator[RtpPacket]:
    """All but a last one that was cut when Janus ended."""
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise ValueError("no .mjr")
    at = len(_MAGIC)
    at += 2 + int.from_bytes(data[at : at + 2])
    while data[at : at + 4] == _PACKET:
        size = int.from_bytes(data[at + 8 : at + 10])
        packet = data[at + 10 : at + 10 + size]
        if len(packet) < size:
            return
        yield RtpPacket.parse(packet)
        at += 10 + size


def _count_packets(path: Path) -> int:
    return len({packet.sequence_number for packet in _packets(path)})


def _count_pictures(path: Path) -> int:
    """Those without a missing packet."""
    pictures: dict[int, dict[int, RtpPacket]] = defaultdict(dict)
    for packet in _packets(path):
        pictures[packet.timestamp][packet.sequence_number] = packet
    return sum(_is_whole(picture) for picture in pictures.values())


def _is_whole(picture: dict[int, RtpPacket]) -> bool:
    mask, value = _START_OF_FRAME
    starts = [one for one, packet in picture.items() if packet.payload[0] & mask == value]
    ends = [one for one, packet in picture.items() if packet.marker]
    return bool(starts and ends) and (ends[0] - starts[0]) & 0xFFFF == len(picture) - 1
