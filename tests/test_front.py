"""One port for pages and sockets: who gets a connection, and how long it may hesitate."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession, WSServerHandshakeError, web

from signaling import front as front_module
from signaling.bus import LocalRoomLog
from signaling.front import Front
from signaling.handshake import Opening, find_opening
from signaling.hub import Hub
from signaling.ice import IceConfig
from signaling.messages import Role
from tests.test_sockets import FRESH, NOW, ORIGIN, Clock, Records

KEY = base64.b64encode(b"0123456789abcdef").decode()
FIELDS = {
    "Host": "visite.asl.test",
    "Origin": ORIGIN,
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Extensions": "permessage-deflate",
}


def a_head(line: str = "GET /ws HTTP/1.1", more: str = "", **fields: str | None) -> bytes:
    """A request head; a field of None is left out."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    kept = {name: value for name, value in (FIELDS | named).items() if value is not None}
    return "\r\n".join([line, *(f"{n}: {v}" for n, v in kept.items()), f"{more}\r\n"]).encode()


# ---- the handshake -----------------------------------------------------------------------------


def test_a_plain_handshake_is_found_as_browsers_write_it() -> None:
    head = a_head().replace(b"Origin: ", b"oRIGIN:\t ")

    assert find_opening(head) == Opening(ORIGIN, KEY)


@pytest.mark.parametrize(
    "head",
    [
        a_head("GET /ws?ticket=1 HTTP/1.1"),
        a_head("GET /ws HTTP/1.0"),
        a_head("POST /ws HTTP/1.1"),
        a_head(Origin=None),
        a_head(Host=None),
        a_head(Upgrade="h2c"),
        a_head(Connection="keep-alive"),
        a_head(Sec_WebSocket_Version="8"),
        a_head(Sec_WebSocket_Key="c2hvcnQ="),
        a_head(Sec_WebSocket_Key="no base64 of 16 bytes!!!"),
        a_head(Content_Length="5"),
        a_head(Transfer_Encoding="chunked"),
        a_head(more="Origin: https://evil.test\r\n"),
        a_head(more="X-Folded: a\r\n b\r\n"),
        a_head(more="X-Bare: a\nOrigin: https://evil.test\r\n"),
        a_head(more="no colon\r\n"),
        a_head() + b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_the_http_server(head: bytes) -> None:
    assert find_opening(head) is None


# ---- the port ----------------------------------------------------------------------------------


@dataclass
class Port:
    """A hub and some pages on one port."""

    number: int
    hub: Hub
    client: ClientSession

    async def say(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        writer.write(data)
        return reader, writer

    async def ask(self, data: bytes) -> bytes:
        """The first line of the answer."""
        reader, writer = await self.say(data)
        answer = await reader.readline()
        writer.close()
        return answer


async def _page(request: web.Request) -> web.Response:
    return web.Response(text="a page")


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    hub = Hub(
        log=LocalRoomLog(),
        key=b"k" * 32,
        hooks=Records(),
        ice=IceConfig(),
        allowed_origins=frozenset({ORIGIN}),
        clock=Clock(),
    )
    app = web.Application()
    app.router.add_get("/ws", hub.handle)
    app.router.add_get("/page", _page)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    front = Front(hub, runner.server)
    server = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    client = ClientSession(f"http://127.0.0.1:{number}")
    yield Port(number, hub, client)
    await client.close()
    await hub.close()
    server.close()
    front.close()
    await runner.cleanup()


async def test_a_head_that_comes_in_pieces_opens_a_socket(port: Port) -> None:
    head = a_head()
    reader, writer = await port.say(head[:9])
    for start in range(9, len(head), 50):
        await asyncio.sleep(0)
        writer.write(head[start : start + 50])

    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Extensions" not in answer


async def test_a_connection_that_was_used_for_pages_may_become_a_socket(port: Port) -> None:
    ticket = port.hub.issue_ticket("visit", "anna", Role.PATIENT, NOW, FRESH)
    for _ in range(2):
        async with port.client.get("/page") as response:
            assert await response.text() == "a page"
    async with port.client.ws_connect("/ws", headers={"Origin": ORIGIN}) as socket:
        await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket})
        welcome = await socket.receive_json()

    assert welcome["you"] == "anna"


async def test_refusals_are_spoken_in_http(port: Port) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await port.client.ws_connect("/ws", headers={"Origin": "https://evil.test"})
    async with port.client.get("/ws", headers={"Origin": ORIGIN}) as response:
        status = response.status

    assert (refused.value.status, status) == (403, 400)
    assert (await port.ask(a_head(Upgrade="h2c"))).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("start", [b"", b"GET /page HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_who_does_not_finish_the_head_is_cut(
    port: Port, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_module, "HEAD_WITHIN_SECONDS", 0.05)
    monkeypatch.setattr(front_module, "_SWEEP_SECONDS", 0.01)
    reader, writer = await port.say(start)

    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(_read_to_the_end(reader), 5)
    writer.close()


async def _read_to_the_end(reader: asyncio.StreamReader) -> None:
    if not await reader.read():
        raise ConnectionResetError


async def test_a_head_without_end_goes_to_the_http_server_and_is_refused(port: Port) -> None:
    answer = await port.ask(b"GET /page HTTP/1.1\r\nX-Long: " + b"x" * 20_000)

    assert b" 400 " in answer


async def test_a_frame_without_mask_ends_the_socket(port: Port) -> None:
    reader, writer = await port.say(a_head())
    await reader.readuntil(b"\r\n\r\n")

    writer.write(b"\x81\x02{}    ")

    assert await reader.readexactly(4) == b"\x88\x02\x03\xea"
    writer.close()
