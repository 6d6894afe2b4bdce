"""Many synthetic patients at once, to put load on a server: some to a process, all of them ended.

Loads no media library. Called by ``accanto bot``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from recordings.botwords import Figures, Orders

PATIENTS_OF_A_PROCESS: Final = 8
_LEAVE_SECONDS: Final = 15.0
_COMMAND: Final = (sys.executable, "-I", "-m", "recordings.bot")


async def run_crowd(crowd: Sequence[Orders], seconds: float) -> list[Figures]:
    """They come, stay so long (or until their visits are over) and leave; what each of them saw.
    Those of a process that died are missing."""
    starts = range(0, len(crowd), PATIENTS_OF_A_PROCESS)
    parts = [crowd[start : start + PATIENTS_OF_A_PROCESS] for start in starts]
    found = await asyncio.gather(*(_run(part, seconds) for part in parts))
    return [figures for part in found for figures in part]


async def _run(orders: Sequence[Orders], seconds: float) -> list[Figures]:
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={}
    )
    try:
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in orders)
        return await _talk(process, lines, seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _talk(process: asyncio.subprocess.Process, lines: bytes, seconds: float) -> list[Figures]:
    if process.stdin is None or process.stdout is None:
        return []
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(lines)
        await process.stdin.drain()
    reading = asyncio.create_task(process.stdout.read())
    await asyncio.wait({reading}, timeout=seconds)
    process.stdin.close()
    try:
        async with asyncio.timeout(_LEAVE_SECONDS):
            said = await reading
            await process.wait()
    except TimeoutError:
        return []
    return [msgspec.json.decode(line, type=Figures) for line in said.splitlines()]
