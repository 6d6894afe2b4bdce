"""Recorders that are killed, disks that are full, and what may be found on them.

``ROUNDS`` kills; the disk needs root.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aioice.ice
import av
import pytest

from recordings.finishing import Finished
from recordings.recorderwords import GapReason, TrackBegan, Trouble, TroubleOver, TroubleReason
from recordings.tapes import tracks_on_tape
from signaling.recordingevents import RecordingAnswered
from tests.chaos.test_disk import BACK_WITHIN_SECONDS, fill, small_disk
from tests.flashes import flash_and_beep, picture_loop, sound_loop
from tests.recordground import (
    ASK,
    KEY,
    Page,
    Process,
    Sender,
    recording,
    said,
    tell,
    until,
    visit,
)
from tests.test_sockets import House, build, house, make_log, valkey

__all__ = ["build", "house", "make_log", "valkey"]

ROUNDS = int(os.environ.get("ROUNDS", "100"))
LOSS_MS = 2000
DISK_MIB = 48
MOST_MIB = 512
PSEUDO = {
    "proc",
    "sysfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "mqueue",
    "devtmpfs",
    "debugfs",
    "securityfs",
}
in_one_process = pytest.mark.parametrize("make_log", ["local"], indirect=True)


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


@asynccontextmanager
async def agreed(house: House) -> AsyncIterator[tuple[Page, Page]]:
    async with visit(house) as (bruno, anna):
        await tell(house, RecordingAnswered(ask=ASK, participant="anna", accepted=True))
        yield bruno, anna


async def connect(*pages: Page) -> None:
    """Anew, as pages do when there is another recorder."""
    for page in pages:
        await page.sender.close()
        page.sender = Sender.of(*flash_and_beep())
    await asyncio.gather(*(page.connect() for page in pages))


# ---- kills -----------------------------------------------------------------------------


@pytest.mark.timeout(60 + ROUNDS * 30)
@in_one_process
async def test_whatever_is_killed_plays_and_lacks_two_seconds_at_most(
    house: House, tmp_path: Path
) -> None:
    chance = random.Random(f"{ROUNDS}")
    began_at = time.time()
    parts: dict[str, int] = {}
    losses: list[float] = []
    async with agreed(house) as pages:
        for number in range(ROUNDS):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            for page in pages:
                page.forget_recorder()
            async with recording(house, folder, began_at=began_at, parts=parts) as process:
                await connect(*pages)
                await until(lambda folder=folder: len(tracks_on_tape(folder)) == 2)
                await asyncio.sleep(chance.uniform(0, 4))
                os.kill(process.recorder.pid, signal.SIGKILL)
                sent = {page.who: page.sender.sent_at - began_at for page in pages}
            losses += [sent[who] * 1000 - end for who, end in check(process, parts)]
            parts = dict.fromkeys(("anna", "bruno"), number + 1)
    losses.sort()
    print(f"\n{ROUNDS} kills: lost ms median {losses[len(losses) // 2]:.0f}, most {losses[-1]:.0f}")
    assert losses[-1] <= LOSS_MS


def check(process: Process, parts: dict[str, int]) -> Iterator[tuple[str, float]]:
    """When the track of each ends; all of it plays."""
    began = said(process.words, TrackBegan)
    assert {word.participant: word.part for word in began} == {
        who: parts.get(who, 0) for who in ("anna", "bruno")
    }
    for word in began:
        finished = Finished(process.folder, word.track, KEY)
        figures = finished.figures
        assert figures.is_cut
        assert figures.gaps[-1][2] is GapReason.CUT
        file = b"".join(finished.pieces())
        with av.open(io.BytesIO(file)) as container:
            assert sum(1 for _ in container.decode(video=0)) == figures.frames
        with av.open(io.BytesIO(file)) as container:
            assert sum(packet.size > 0 for packet in container.demux(audio=0)) == figures.packets
        yield word.participant, word.offset_ms + figures.duration_ms


# ---- a full disk -----------------------------------------------------------------------


@in_one_process
async def test_a_full_disk_is_told_and_recording_goes_on_when_there_is_room(
    house: House, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, DISK_MIB):
        async with agreed(house) as pages, recording(house, disk) as process:
            await connect(*pages)
            await until(lambda: len(tracks_on_tape(disk)) == 2)
            ballast = fill(disk)
            await until(lambda: said(process.words, Trouble))
            assert said(process.words, Trouble) == [Trouble(reason=TroubleReason.DISK_FULL)]
            await asyncio.sleep(3)
            assert said(process.words, TroubleOver) == []
            assert {page.sender.connection.connectionState for page in pages} == {"connected"}
            ballast.unlink()
            freed = time.monotonic()
            await until(lambda: said(process.words, TroubleOver))
            assert time.monotonic() - freed < BACK_WITHIN_SECONDS
            await asyncio.sleep(3)
        for finished, file in process.files():
            [(start, end, reason)] = finished.figures.gaps
            assert reason is GapReason.DISK_FULL
            assert end - start > 3000
            assert finished.figures.duration_ms > end + 1000
            assert not finished.figures.is_cut
            with av.open(io.BytesIO(file)) as container:
                assert sum(1 for _ in container.decode(video=0)) == finished.figures.frames


# ---- nothing in the clear --------------------------------------------------------------


def writable_mounts() -> list[Path]:
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [
        Path(words[1])
        for words in lines
        if words[2] not in PSEUDO and "rw" in words[3].split(",") and os.access(words[1], os.W_OK)
    ]


def changed_files(since: float) -> list[Path]:
    """On all writable mounts; not what is larger than memory allows."""
    roots = {mount.stat().st_dev: mount for mount in reversed(writable_mounts())}
    command = ("find", *map(str, roots.values()), "-xdev", "-type", "f", "-newermt", f"@{since}")
    done = subprocess.run(
        [*command, "-size", f"-{MOST_MIB}M", "-print0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return [Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name]


def open_files(pid: int) -> list[Path]:
    """Also those that have no name any more."""
    return [entry for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_file()]


def find(needles: list[bytes], paths: list[Path]) -> list[Path]:
    """Files that hold one of them."""
    found = []
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if any(needle in content for needle in needles):
            found.append(path)
    return found


def needles() -> list[bytes]:
    """Pieces of the tone and the picture as they travel, long enough to be nobody else's; of a
    beep and a whole picture, which recur each second."""
    sounds = [packet[8:40] for packet in sound_loop()[1:5]]
    pictures = [packet[:48] for packet in picture_loop() if not packet[0] & 1]
    return [needle for needle in sounds + pictures if len(needle) >= 32]


@in_one_process
@pytest.mark.timeout(600)
async def test_tone_and_picture_are_found_on_no_disk_while_recording(
    house: House, tmp_path: Path
) -> None:
    since = time.time() - 1
    tapes = tmp_path / "tapes"
    tapes.mkdir()
    plain = tmp_path / "plain.webm"
    async with agreed(house) as pages, recording(house, tapes) as process:
        await connect(*pages)
        await until(lambda: len(tracks_on_tape(tapes)) == 2)
        await asyncio.sleep(5)
        pid = process.recorder.pid
        searched = await asyncio.to_thread(changed_files, since)
        assert {path.suffix for path in searched if tapes in path.parents} == {".tape"}
        assert await asyncio.to_thread(find, needles(), searched) == []
        assert await asyncio.to_thread(find, needles(), open_files(pid)) == []
        swaps = Path("/proc/swaps").read_text().splitlines()[1:]
        status = Path(f"/proc/{pid}/status").read_text()
        assert not swaps or "VmSwap:\t       0 kB" in status

    (finished, file), _ = process.files()
    plain.write_bytes(file)
    assert finished.figures.frames > 50
    changed = await asyncio.to_thread(changed_files, since)
    assert await asyncio.to_thread(find, needles(), changed) == [plain]
