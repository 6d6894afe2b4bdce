"""Tapes and the files made of them: nothing but what was written opens, and the file plays."""

from __future__ import annotations

import io
import random
from pathlib import Path

import av
import pytest

from recordings.finishing import WORD_END, WORD_GAP, WORD_SHIFT, Finished
from recordings.recorderwords import GapReason
from recordings.tapes import TapeKey, TapeWriter, read_tape, tape_path, tracks_on_tape
from recordings.vault import SealBroken, new_key
from recordings.webm import (
    AUDIO,
    VIDEO,
    Block,
    NotWebm,
    Shape,
    blocks_of,
    cluster,
    live_head,
    tags,
    words_of,
)
from tests.flashes import find_beeps, find_flashes, picture_loop, sound_loop

TRACK = "track"
KEY = TapeKey(new_key(), "key0000000000001", "organisation", "visit")
HEAD = live_head(Shape((160, 120), has_sound=True))
BIGGER = (320, 240)


def write(folder: Path, *records: bytes, key: TapeKey = KEY) -> None:
    tape = TapeWriter(folder, TRACK, key)
    for record in records:
        tape.append(record)
    tape.close()


def sounds(start: float, end: float) -> list[Block]:
    loop = sound_loop()
    numbers = range(round(start * 50), round(end * 50))
    return [Block(number * 20, AUDIO, True, loop[number % len(loop)]) for number in numbers]


def pictures(start: float, end: float, size: tuple[int, int] = (160, 120)) -> list[Block]:
    loop = picture_loop(size)
    numbers = range(round(start * 25), round(end * 25))
    return [
        Block(number * 40, VIDEO, number % 25 == 0, loop[number % len(loop)]) for number in numbers
    ]


def seconds(blocks: list[Block]) -> list[bytes]:
    """A cluster for each second."""
    ordered = sorted(blocks, key=lambda block: block.time)
    last = ordered[-1].time // 1000
    parts = [[block for block in ordered if block.time // 1000 == at] for at in range(last + 1)]
    return [cluster(part) for part in parts if part]


END = tags([(WORD_END, "")])


def finish(folder: Path) -> tuple[Finished, bytes]:
    finished = Finished(folder, TRACK, KEY)
    file = b"".join(finished.pieces())
    assert len(file) == finished.size
    return finished, file


def demux(file: bytes, kind: str) -> list[av.Packet]:
    with av.open(io.BytesIO(file)) as container:
        [stream] = [one for one in container.streams if one.type == kind]
        return [packet for packet in container.demux(stream) if packet.size]


# ---- the tape --------------------------------------------------------------------------


def test_a_tape_gives_back_what_was_written_and_nothing_of_it_is_readable(tmp_path: Path) -> None:
    records = [HEAD, *seconds(sounds(0, 3) + pictures(0, 3)), END]
    write(tmp_path, *records)

    assert list(read_tape(tmp_path, TRACK, KEY)) == records
    assert tracks_on_tape(tmp_path) == [TRACK]
    on_disk = tape_path(tmp_path, TRACK).read_bytes()
    assert b"webm" not in on_disk
    assert picture_loop()[1] not in on_disk


@pytest.mark.parametrize("lost", [1, 5, 100, 200])
def test_a_tape_that_was_cut_off_gives_all_whole_records(tmp_path: Path, lost: int) -> None:
    records = [HEAD, *seconds(sounds(0, 3))]
    write(tmp_path, *records)
    path = tape_path(tmp_path, TRACK)
    path.write_bytes(path.read_bytes()[:-lost])

    assert list(read_tape(tmp_path, TRACK, KEY)) == records[:-1]


def test_room_that_was_taken_and_not_written_counts_as_cut_off(tmp_path: Path) -> None:
    records = [HEAD, *seconds(sounds(0, 3))]
    write(tmp_path, *records)
    path = tape_path(tmp_path, TRACK)
    whole = path.read_bytes()

    path.write_bytes(whole + bytes(4096))
    assert list(read_tape(tmp_path, TRACK, KEY)) == records
    path.write_bytes(whole[:-64] + bytes(64))
    assert list(read_tape(tmp_path, TRACK, KEY)) == records[:-1]


def test_no_record_opens_in_another_place(tmp_path: Path) -> None:
    write(tmp_path, HEAD, *seconds(sounds(0, 4)))
    path = tape_path(tmp_path, TRACK)
    whole = path.read_bytes()
    first = 4 + int.from_bytes(whole[:4], "big")
    second = first + 4 + int.from_bytes(whole[first : first + 4], "big")
    third = second + 4 + int.from_bytes(whole[second : second + 4], "big")
    swapped = whole[:first] + whole[second:third] + whole[first:second] + whole[third:]
    flipped = bytearray(whole)
    flipped[first + 200] ^= 1

    for altered in (swapped, bytes(flipped), whole[:first] + whole[second:], whole[first:]):
        path.write_bytes(altered)
        with pytest.raises(SealBroken):
            list(read_tape(tmp_path, TRACK, KEY))


@pytest.mark.parametrize("name", ["key", "organisation", "visit", "track"])
def test_no_tape_opens_as_that_of_another(tmp_path: Path, name: str) -> None:
    write(tmp_path, HEAD, *seconds(sounds(0, 2)))
    track = "other" if name == "track" else TRACK
    tape_path(tmp_path, TRACK).rename(tape_path(tmp_path, track))
    other = TapeKey(
        new_key() if name == "key" else KEY.key,
        KEY.key_id,
        "other" if name == "organisation" else KEY.organisation,
        "other" if name == "visit" else KEY.visit,
    )

    with pytest.raises(SealBroken):
        list(read_tape(tmp_path, track, other))


# ---- WebM ------------------------------------------------------------------------------


def test_clusters_and_words_are_read_as_they_were_written() -> None:
    chance = random.Random(7)
    blocks = [
        Block(at * 40, chance.choice((AUDIO, VIDEO)), chance.random() < 0.5, chance.randbytes(size))
        for at, size in enumerate((0, 1, 126, 127, 128, 16_382, 16_383, 16_384, 70_000))
    ]

    assert list(blocks_of(cluster(blocks))) == blocks
    assert list(words_of(tags([("A", "1"), ("B", "")]))) == [("A", "1"), ("B", "")]


def test_what_is_not_ours_is_refused_whatever_it_is() -> None:
    whole = cluster(sounds(0, 1))
    chance = random.Random(8)
    for _ in range(2000):
        broken = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            broken[chance.randrange(24)] = chance.randrange(256)
        try:
            list(blocks_of(bytes(broken)))
        except NotWebm:
            continue


# ---- the file --------------------------------------------------------------------------


def test_the_file_has_every_frame_its_length_and_an_index(tmp_path: Path) -> None:
    blocks = sounds(0, 30) + pictures(0, 30)
    write(tmp_path, HEAD, *seconds(blocks), END)

    finished, file = finish(tmp_path)

    assert [bytes(packet) for packet in demux(file, "video")] == [
        block.data for block in pictures(0, 30)
    ]
    assert len(demux(file, "audio")) == 1500
    assert (finished.figures.frames, finished.figures.packets) == (750, 1500)
    assert finished.figures.gaps == []
    assert not finished.figures.is_cut
    assert find_flashes(file) == pytest.approx(range(1, 30), abs=0.001)
    assert find_beeps(file) == pytest.approx(range(1, 30), abs=0.02)
    with av.open(io.BytesIO(file)) as container:
        assert container.duration == pytest.approx(30_000_000, abs=50_000)
        container.seek(21_500_000)
        assert float(next(container.decode(video=0)).pts) == 21_000


def test_the_index_points_at_whole_pictures(tmp_path: Path) -> None:
    """A seek reads the head and one cluster."""
    write(tmp_path, HEAD, *seconds(sounds(0, 60) + pictures(0, 60)), END)
    _, file = finish(tmp_path)

    class Source(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            Source.reads += len(data)
            return data

    source = Source(file)
    with av.open(source, buffer_size=4096) as container:
        container.seek(50_000_000)
        frame = next(container.decode(video=0))
    assert frame.pts == 50_000
    assert Source.reads < len(file) / 4


def test_pictures_that_came_late_stand_where_they_belong(tmp_path: Path) -> None:
    shown, heard = pictures(0, 6), sounds(0, 6)
    late = [block for block in shown if 2000 <= block.time < 3000]
    usual = [block for block in shown + heard if block not in late]
    records = seconds(usual)
    records.insert(4, cluster(late))
    write(tmp_path, HEAD, *records, END)

    finished, file = finish(tmp_path)

    assert [packet.pts for packet in demux(file, "video")] == [block.time for block in shown]
    assert finished.figures.gaps == []


def test_a_word_moves_the_pictures_before_it_up_to_the_last_gap(tmp_path: Path) -> None:
    """As if they had stood 120 ms late until the sender's clock was known."""

    def late(blocks: list[Block]) -> list[Block]:
        return [Block(one.time + 120, one.track, one.is_key, one.data) for one in blocks]

    records = [
        *seconds(sounds(0, 2) + late(pictures(0, 2))),
        tags([(WORD_SHIFT, "-120")]),
        *seconds(sounds(2, 4) + pictures(2, 4)),
        tags([(WORD_GAP, GapReason.PAUSED)]),
        *seconds(sounds(8, 10) + late(pictures(8, 10))),
        tags([(WORD_SHIFT, "-120")]),
        *seconds(sounds(10, 12) + pictures(10, 12)),
    ]
    write(tmp_path, HEAD, *records, END)

    finished, file = finish(tmp_path)

    flashes, beeps = find_flashes(file), find_beeps(file)
    assert flashes == pytest.approx([1, 2, 3, 8, 9, 10, 11], abs=0.001)
    assert beeps == pytest.approx(flashes, abs=0.02)
    assert finished.figures.gaps == [(4000, 8000, GapReason.PAUSED)]


def test_silence_and_the_missing_end_are_declared(tmp_path: Path) -> None:
    write(tmp_path, HEAD, *seconds(sounds(0, 3) + sounds(7, 9)))

    finished, file = finish(tmp_path)

    assert finished.figures.gaps == [
        (3000, 7000, GapReason.LOST),
        (9000, 9000, GapReason.CUT),
    ]
    assert finished.figures.is_cut
    assert len(demux(file, "audio")) == 250
    with av.open(io.BytesIO(file)) as container:
        assert [stream.type for stream in container.streams] == ["audio"]


def test_a_picture_that_begins_later_and_grows_is_kept_whole(tmp_path: Path) -> None:
    blocks = sounds(0, 8) + pictures(3, 5) + pictures(5, 8, BIGGER)
    write(tmp_path, HEAD, *seconds(blocks), END)

    finished, file = finish(tmp_path)

    assert finished.figures.size == BIGGER
    with av.open(io.BytesIO(file)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [(160, 120)] * 50 + [BIGGER] * 75


def test_a_tape_without_a_frame_is_empty(tmp_path: Path) -> None:
    write(tmp_path, HEAD, END)

    assert Finished(tmp_path, TRACK, KEY).is_empty
