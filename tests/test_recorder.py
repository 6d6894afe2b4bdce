"""The recorder: every frame that came is kept or accounted for, none without consent, and what a
killed process leaves plays."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aioice.ice
import av
import msgspec
import psutil
import pytest

from recordings import deck
from recordings.deck import Deck
from recordings.encoded import EncodedFrame
from recordings.finishing import Finished
from recordings.guard import BadOffer
from recordings.label import Label, read_label
from recordings.passthrough import on_key_frame_wanted
from recordings.recorderwords import (
    Done,
    GapReason,
    RecorderWord,
    Stats,
    TrackBegan,
    TrackEnded,
    Trouble,
    TroubleOver,
    TroubleReason,
)
from recordings.tapes import key_of_tape, tracks_on_tape
from recordings.trackkeeper import Place, TrackKeeper
from signaling.messages import Closed
from signaling.recordingevents import RecordingAnswered, RecordingStopped
from tests.flashes import (
    LoopTrack,
    find_beeps,
    find_flashes,
    find_lip_sync,
    flash_and_beep,
    picture_loop,
)
from tests.recordground import (
    ASK,
    HERE,
    KEY,
    Sender,
    agree,
    orders_for,
    recording,
    said,
    tell,
    until,
    visit,
)
from tests.test_sockets import House, build, house, make_log, valkey

__all__ = ["build", "house", "make_log", "valkey"]

LIP_SYNC_SECONDS = 0.08
SENT_MEANWHILE = 20
HOST = """
import asyncio, sys, msgspec
from recordings.recorderhost import RecorderProcess
from recordings.recorderwords import Orders

async def main():
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    print((await RecorderProcess.start(orders)).pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
"""A server that starts a recorder and hears nothing of it."""
in_one_process = pytest.mark.parametrize("make_log", ["local"], indirect=True)


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


@dataclass
class Studio:
    """A deck and what it says."""

    folder: Path
    deck: Deck
    words: list[RecorderWord]
    agreed: set[str] = field(default_factory=lambda: {"patient", "clinician"})

    def agree(self, *participants: str) -> None:
        self.agreed = set(participants)
        self.deck.gate()

    @property
    def kept(self) -> int:
        return self.deck.stats().kept

    async def join(self, who: str, *tracks: LoopTrack) -> Sender:
        sender = Sender.of(*(tracks or flash_and_beep()))
        await sender.take(await self.deck.answer(who, await sender.offer()))
        return sender

    def file(self, number: int = 0) -> tuple[Finished, bytes]:
        finished = Finished(self.folder, said(self.words, TrackBegan)[number].track, KEY)
        return finished, b"".join(finished.pieces())


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    words: list[RecorderWord] = []
    tapes = Deck(HERE, tmp_path, KEY, lambda who: who in studio.agreed, words.append, {})
    studio = Studio(tmp_path, tapes, words)
    running = asyncio.create_task(tapes.run())
    yield studio
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await tapes.close()


def is_accounted(stats: Stats) -> bool:
    return stats.begun == stats.kept + stats.unwanted + stats.useless + stats.lost


# ---- what is kept ----------------------------------------------------------------------


async def test_every_frame_is_kept_and_sound_and_picture_belong_together(studio: Studio) -> None:
    sender = await studio.join("patient")
    await until(lambda: studio.kept >= 300)
    sent = sender.sent
    await sender.close()
    await studio.deck.close()

    stats = studio.deck.stats()
    assert stats.begun == stats.received, "each of these frames is one packet"
    assert stats.absent == 0
    assert stats.begun == stats.kept
    assert sent - 2 <= stats.kept <= sender.sent
    [ended] = said(studio.words, TrackEnded)
    finished, file = studio.file()
    figures = finished.figures
    assert (figures.frames, figures.packets) == (ended.frames, ended.packets)
    assert figures.frames + figures.packets == stats.kept
    assert (figures.gaps, figures.is_cut) == ([], False)
    assert len(find_flashes(file)) >= 3
    assert find_lip_sync(file) < LIP_SYNC_SECONDS + sender.late


async def test_nothing_is_kept_of_who_has_not_agreed(studio: Studio) -> None:
    studio.agree("patient")
    patient, clinician = await studio.join("patient"), await studio.join("clinician")
    await until(lambda: studio.kept >= 50 and studio.deck.stats().unwanted >= 50)
    await patient.close()
    await clinician.close()
    await studio.deck.close()

    assert [word.participant for word in said(studio.words, TrackBegan)] == ["patient"]
    assert tracks_on_tape(studio.folder) == [said(studio.words, TrackBegan)[0].track]
    assert is_accounted(studio.deck.stats())


async def test_a_pause_is_a_gap_and_what_follows_begins_with_a_whole_picture(
    studio: Studio,
) -> None:
    sender = await studio.join("patient")
    await until(lambda: studio.kept >= 100)
    studio.agree()
    before = studio.kept
    await until(lambda: studio.deck.stats().unwanted >= 60)
    assert studio.kept == before
    studio.agree("patient")
    await until(lambda: studio.kept >= before + 100)
    await sender.close()
    await studio.deck.close()

    finished, file = studio.file()
    [(start, end, reason)] = finished.figures.gaps
    assert reason is GapReason.PAUSED
    assert end - start > 500
    assert find_lip_sync(file) < LIP_SYNC_SECONDS + sender.late
    assert is_accounted(studio.deck.stats())


async def test_a_clock_that_goes_back_changes_no_order(tmp_path: Path) -> None:
    """A picture before the one that it needs would not be decoded."""
    whole, *others = picture_loop()[:10]
    now = time.monotonic()
    with ThreadPoolExecutor(1) as executor:
        place = Place(tmp_path, KEY, "track", "patient")
        keeper = TrackKeeper(place, executor, lambda _, at: Label("patient", 0, at))
        keeper.open(now)
        for number, data in enumerate([whole, *others]):
            came_at = now + (15 if number == 1 else 1 + number / 25)
            keeper.take("video", EncodedFrame(number * 3600, came_at, data))
        await keeper.close()

    pieces = Finished(tmp_path, "track", KEY).pieces()
    with av.open(io.BytesIO(b"".join(pieces))) as container:
        assert [bytes(one) for one in container.demux(video=0) if one.size] == [whole, *others]


async def test_a_new_connection_is_a_new_part_that_says_when_it_began(studio: Studio) -> None:
    first = await studio.join("patient")
    await until(lambda: studio.kept >= 60)
    second = await studio.join("patient")
    await until(lambda: len(said(studio.words, TrackBegan)) == 2)
    await until(lambda: studio.kept >= 120)
    await first.close()
    await second.close()
    await studio.deck.close()

    began, ended = said(studio.words, TrackBegan), said(studio.words, TrackEnded)
    assert [word.part for word in began] == [0, 1]
    assert began[1].offset_ms >= began[0].offset_ms + ended[0].duration_ms - 100
    assert [word.track for word in ended] == [word.track for word in began]
    for number in range(2):
        assert studio.file(number)[0].figures.packets > 0


async def test_a_late_camera_and_a_lone_voice_are_kept(studio: Studio) -> None:
    sound, _ = flash_and_beep()
    sender = await studio.join("clinician", sound)
    await until(lambda: studio.kept >= 120)
    await sender.close()
    await studio.deck.close()

    finished, file = studio.file()
    assert finished.figures.frames == 0
    assert len(find_beeps(file)) >= 1


async def test_whole_pictures_are_asked_for_so_that_a_file_can_be_sought_in(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deck, "KEY_FRAME_SECONDS", 0.5)
    asked: list[float] = []
    sender = Sender.of(*flash_and_beep())
    [pictures] = [one for one in sender.connection.getSenders() if one.kind == "video"]

    async def hear() -> None:
        asked.append(asyncio.get_running_loop().time())

    on_key_frame_wanted(pictures, hear)
    await sender.take(await studio.deck.answer("patient", await sender.offer()))
    await until(lambda: len(asked) >= 4)

    studio.agree()
    await asyncio.sleep(0.5)
    asked.clear()
    await asyncio.sleep(1.5)
    assert asked == [], "nobody is asked for what is not kept"
    await sender.close()


async def test_a_disk_that_fails_is_told_and_recording_goes_on_when_it_is_back(
    studio: Studio,
) -> None:
    studio.folder.rmdir()
    sender = await studio.join("patient")
    await until(lambda: said(studio.words, Trouble))
    assert said(studio.words, Trouble) == [Trouble(reason=TroubleReason.DISK_FAILED)]
    assert studio.kept == 0

    studio.folder.mkdir()
    await until(lambda: said(studio.words, TroubleOver))
    await until(lambda: studio.kept >= 100)
    await sender.close()
    await studio.deck.close()

    finished, _ = studio.file()
    assert finished.figures.packets > 0
    assert is_accounted(studio.deck.stats())


@pytest.mark.parametrize("kinds", [(), ("application",), ("audio", "audio"), ("audio", "text")])
async def test_an_offer_that_our_page_does_not_make_is_refused(
    studio: Studio, kinds: tuple[str, ...]
) -> None:
    sections = "".join(f"m={kind} 9 UDP/TLS/RTP/SAVPF 96\r\n" for kind in kinds)

    with pytest.raises(BadOffer):
        await studio.deck.answer("patient", f"v=0\r\n{sections}")
    assert studio.deck.stats().connections == 0


# ---- in the room, as a process ---------------------------------------------------------


@in_one_process
async def test_the_process_keeps_what_all_have_agreed_to_until_one_stops(
    house: House, tmp_path: Path
) -> None:
    async with visit(house) as (bruno, anna), recording(house, tmp_path) as process:
        await bruno.connect()
        await asyncio.sleep(1)
        assert tracks_on_tape(tmp_path) == [], "Anna was not asked yet"
        await tell(house, RecordingAnswered(ask=ASK, participant="anna", accepted=True))
        await anna.connect()
        await until(lambda: len(tracks_on_tape(tmp_path)) == 2)
        await asyncio.sleep(2)
        assert psutil.Process(process.recorder.pid).memory_info().rss < 120 * 2**20
        await tell(house, RecordingStopped(ask=ASK, participant="anna"))
        await asyncio.sleep(1.5)
        sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
        await asyncio.sleep(1.5)
        assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == sizes

    assert {word.participant for word in said(process.words, TrackBegan)} == {"anna", "bruno"}
    assert len(said(process.words, TrackEnded)) == 2
    assert process.words[-1] == Done(reason="left")
    assert is_accounted(said(process.words, Stats)[-1])
    for finished, file in process.files():
        assert not finished.figures.is_cut
        assert finished.figures.gaps == []
        assert find_lip_sync(file) < LIP_SYNC_SECONDS + max(bruno.sender.late, anna.sender.late)


@in_one_process
async def test_a_killed_process_leaves_all_but_its_last_moments(
    house: House, tmp_path: Path
) -> None:
    async with visit(house) as (bruno, anna), recording(house, tmp_path) as process:
        await agree(house, bruno, anna)
        await until(lambda: len(tracks_on_tape(tmp_path)) == 2)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(4)
        os.kill(process.recorder.pid, signal.SIGKILL)
        lived_ms = (loop.time() - began) * 1000

    assert said(process.words, Done) == []
    for finished, file in process.files():
        assert finished.figures.is_cut
        assert finished.figures.gaps[-1][2] is GapReason.CUT
        assert finished.figures.duration_ms >= lived_ms - 2000
        assert len(find_flashes(file)) >= 2


@in_one_process
async def test_a_tape_that_begins_as_the_server_is_killed_says_whose_it_is(
    house: House, tmp_path: Path
) -> None:
    async with visit(house) as pages, kept_by_host(house, tmp_path) as (host, recorder):
        for page in pages:
            page.sender.hold()
        await agree(house, *pages)
        await until(lambda: all(page.sender.is_up for page in pages))
        recorder.suspend()
        for page in pages:
            page.sender.hold(False)
        await until(lambda: all(page.sender.sent > SENT_MEANWHILE for page in pages))
        host.kill()
        await host.wait()
        recorder.resume()
        await until(lambda: not recorder.is_running())

    tapes = tracks_on_tape(tmp_path)
    labels = [read_label(tmp_path, track, KEY) for track in tapes]
    assert {label and label.participant for label in labels} == {"anna", "bruno"}
    for track in tapes:
        assert key_of_tape(tmp_path, track) == KEY.key_id
        figures = Finished(tmp_path, track, KEY).figures
        assert figures.packets > 0
        assert not figures.is_cut


@asynccontextmanager
async def kept_by_host(
    house: House, folder: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, psutil.Process]]:
    """The process that started the recorder, and the recorder."""
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(msgspec.json.encode(orders_for(house, folder)) + b"\n")
    try:
        yield host, psutil.Process(int(await host.stdout.readline()))
    finally:
        if host.returncode is None:
            host.kill()
            await host.wait()


@in_one_process
async def test_the_process_ends_with_the_visit(house: House, tmp_path: Path) -> None:
    async with visit(house) as (bruno, anna), recording(house, tmp_path) as process:
        await agree(house, bruno, anna)
        await until(lambda: len(tracks_on_tape(tmp_path)) == 2)
        await tell(house, Closed(outcome="completed"))
        await until(lambda: said(process.words, Done))

    assert said(process.words, Done) == [Done(reason="closed")]
    assert all(not finished.figures.is_cut for finished, _ in process.files())


@in_one_process
async def test_a_process_inherits_nothing_and_shows_its_key_to_nobody(
    house: House, tmp_path: Path
) -> None:
    async with visit(house), recording(house, tmp_path) as process:
        found = psutil.Process(process.recorder.pid)
        await until(lambda: "recordings.recorder" in " ".join(found.cmdline()))

        assert KEY.key_id not in " ".join(found.cmdline())
        await until(lambda: found.rlimit(psutil.RLIMIT_CORE) == (0, 0))
        assert found.rlimit(psutil.RLIMIT_AS) == (2**30, 2**30)
        with suppress(psutil.AccessDenied):
            assert found.environ() == {}
