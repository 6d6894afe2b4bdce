"""The floor of the ``mllp`` benchmark: the server of the library ``hl7`` that reads, parses and
acknowledges each message, and stores nothing. ``python -m tests.benchmarks.hl7floor PORT``."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server


async def acknowledge(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
    try:
        while True:
            message = await reader.readmessage()
            writer.writemessage(message.create_ack())
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


async def main(port: int) -> None:
    server = await start_hl7_server(acknowledge, "127.0.0.1", port, encoding="utf-8")
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
