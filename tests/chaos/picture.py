"""A picture for the fake camera that costs something to send: blocks that change all the time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

_WIDTH: Final = 640
_HEIGHT: Final = 480
_BLOCK: Final = 16
_FRAMES: Final = 40
_CHANGED: Final = 0.4
"""Share of the blocks that each frame changes."""
_SEED: Final = 4


def write_busy_video(path: Path) -> None:
    """Near a megabit a second at 20 frames."""
    chance = random.Random(_SEED)
    across, down = _WIDTH // _BLOCK, _HEIGHT // _BLOCK
    blocks = bytearray(chance.randbytes(across * down))
    colours = bytes([128]) * (_WIDTH * _HEIGHT // 2)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{_WIDTH} H{_HEIGHT} F20:1 Ip A1:1 C420jpeg\n".encode())
        for _ in range(_FRAMES):
            for place in range(len(blocks)):
                if chance.random() < _CHANGED:
                    blocks[place] = chance.randrange(256)
            rows = (blocks[row * across : (row + 1) * across] for row in range(down))
            light = b"".join(b"".join(bytes([b]) * _BLOCK for b in row) * _BLOCK for row in rows)
            file.write(b"FRAME\n" + light + colours)
