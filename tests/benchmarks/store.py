"""What the store of sealed files costs beside the library's own encryptor: a GiB there and back.

Both sides write to the same disk, to a file of its own that is synced, and read it again. The bare
loop has no names, no SHA-256 of the sealed file and no proof of the length before the first piece.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

from recordings.store import SealedFolder
from recordings.vault import new_key
from tests.benchmarks.report import Goal, Report, Spread, ratios

_PIECE_BYTES: Final = 1024 * 1024
_PIECES: Final = 1024
_ROUNDS: Final = 5
_KEY_ID: Final = "0123456789abcdef"
_CONTEXT: Final = b"a place"
Times = tuple[float, float]
"""Wall and CPU seconds."""


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "store",
        "store: 1 GiB sealed into a file and opened again (median [quartiles])",
        ("who", "MiB / s", "CPU s"),
    )
    piece, key = os.urandom(_PIECE_BYTES), new_key()
    sealed_folder = SealedFolder(folder / "store")
    sides: dict[str, Callable[[], None]] = {
        "store": lambda: _through_store(sealed_folder, key, piece),
        "bare loop": lambda: _bare(folder / "bare", key, piece),
    }
    found: dict[str, list[Times]] = {name: [] for name in sides}
    for number in range(min(rounds, _ROUNDS)):
        names = list(sides) if number % 2 else list(reversed(sides))
        for name in names:
            found[name].append(_time(sides[name]))
    for name, times in found.items():
        speed = Spread([_PIECES / wall for wall, _ in times])
        report.rows.append((name, speed.text(0), Spread([cpu for _, cpu in times]).text()))
    for place, word in enumerate(("time", "CPU")):
        shares = ratios(
            [times[place] for times in found["bare loop"]],
            [times[place] for times in found["store"]],
        )
        report.figures[f"bare ÷ store, {word}"] = shares.content()
        if word == "time":
            words = "store ÷ bare loop, time (speed of the store at least 0.8)"
            report.goals = [Goal(words, 1 / shares.median, 1 / 0.8)]
        report.notes.append(f"speed of the store ÷ bare loop by {word}: {shares.text()}")
    return report


def _time(act: Callable[[], None]) -> Times:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


def _through_store(folder: SealedFolder, key: bytes, piece: bytes) -> None:
    folder.write("one", _KEY_ID, key, _CONTEXT, _repeat(piece))
    size = sum(len(plain) for plain in folder.read("one", key, _CONTEXT))
    folder.delete("one")
    _check(size)


def _repeat(piece: bytes) -> Iterator[bytes]:
    for _ in range(_PIECES):
        yield piece


def _bare(path: Path, key: bytes, piece: bytes) -> None:
    encryptor = Cobblestone256Encryptor(key, _CONTEXT)
    with path.open("wb", buffering=0) as file:
        for _ in range(_PIECES):
            file.write(encryptor.update(piece))
        file.write(encryptor.finalize())
        os.fsync(file.fileno())
    decryptor = Cobblestone256Decryptor(key, _CONTEXT)
    size = 0
    with path.open("rb", buffering=0) as file:
        while sealed := file.read(_PIECE_BYTES):
            size += len(decryptor.update(sealed))
        size += len(decryptor.finalize())
    path.unlink()
    _check(size)


def _check(size: int) -> None:
    if size != _PIECES * _PIECE_BYTES:
        raise RuntimeError("what was opened is not what was sealed")
