"""The floor of ``session``: a relay between two sockets and nothing else.

No ticket, no origin check, no limits, no log: the first frame names the room, every later one is
forwarded as received. It also serves the two bare pages of ``admit``, which signal over it.
Run as ``python -m tests.benchmarks.relay PORT``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import uvloop
from aiohttp import WSMsgType, web


class _Hello(msgspec.Struct):
    room: str


_rooms: dict[str, list[web.WebSocketResponse[bool]]] = {}


async def relay(request: web.Request) -> web.WebSocketResponse[bool]:
    socket: web.WebSocketResponse[bool] = web.WebSocketResponse(compress=False, decode_text=False)
    await socket.prepare(request)
    room = msgspec.json.decode((await socket.receive()).data, type=_Hello).room
    members = _rooms.setdefault(room, [])
    members.append(socket)
    await socket.send_frame(b'{"type":"welcome"}', WSMsgType.TEXT)
    async for message in socket:
        for member in members:
            if member is not socket:
                await member.send_frame(message.data, WSMsgType.TEXT)
    members.remove(socket)
    if not members:
        del _rooms[room]
    return socket


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/ws", relay)
    app.router.add_static("/floor", Path(__file__).parent / "floor")
    uvloop.install()
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        tcp_keepalive=False,
        print=lambda _: None,
    )
