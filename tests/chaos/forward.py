"""Forwards TCP from one address to another, byte by byte: ``forward.py FROM:PORT TO:PORT``.

Each test host sees the server as 127.0.0.1, which browsers trust with cameras. A cut network is
felt as it is outside: open connections fall silent, new ones hang for as long as the browser
waits, and what it sent on one that it gave up never arrives later.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

_CHUNK = 65536


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


async def hear(reader: asyncio.StreamReader, heard: bytearray) -> None:
    """Keep what comes; returns when the other end has closed."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            heard += data


async def main(listen: str, target: str) -> None:
    host, port = target.split(":")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        connecting = asyncio.create_task(asyncio.open_connection(host, int(port)))
        hearing = asyncio.create_task(hear(reader, heard))
        await asyncio.wait({connecting, hearing}, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            connecting.cancel()
        hearing.cancel()
        await asyncio.wait({connecting, hearing})
        if connecting.cancelled() or connecting.exception():
            writer.close()
            return
        up_reader, up_writer = connecting.result()
        up_writer.write(heard)
        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))

    listen_host, listen_port = listen.split(":")
    server = await asyncio.start_server(forward, listen_host, int(listen_port))
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
