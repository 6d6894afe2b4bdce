"""Forwards TCP from one address to another, byte by byte: ``forward.py FROM:PORT TO:PORT``.

Each test host sees the server as 127.0.0.1, which browsers trust with cameras. A cut network is
felt as it is outside: open connections fall silent, new ones hang.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

CONNECT_SECONDS = 2


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def main(listen: str, target: str) -> None:
    host, port = target.split(":")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                up_reader, up_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))

    listen_host, listen_port = listen.split(":")
    server = await asyncio.start_server(forward, listen_host, int(listen_port))
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
