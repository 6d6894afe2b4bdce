"""The store of sealed files: what is on the disk, and what is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings.store import SealedFolder
from recordings.vault import SEALED_CHUNK_BYTES, SealBroken, new_key, unseal

KEY_ID = "0123456789abcdef"
CONTEXT = b"a place"
HEAD = 4 + 16 + 56
SIZES = (0, 1, 16_383, 16_384, 16_385, 100_000, 1_048_576, 1_048_577, 3_000_000)


@pytest.fixture
def key() -> bytes:
    return new_key()


@pytest.fixture
def folder(tmp_path: Path) -> SealedFolder:
    return SealedFolder(tmp_path / "store")


def pieces_of(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_opens_as_it_was_written(folder: SealedFolder, key: bytes, size: int) -> None:
    content = os.urandom(size)

    digest = folder.write("one", KEY_ID, key, CONTEXT, pieces_of(content, 70_001))

    assert b"".join(folder.read("one", key, CONTEXT)) == content
    assert folder.read_key_id("one") == KEY_ID
    assert folder.names() == ["one"]
    stored = folder._path / "one"
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == digest
    assert unseal(key, CONTEXT, stored.read_bytes()[20:]) == content
    assert stored.stat().st_mode & 0o777 == 0o600
    assert folder._path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("start", "size"),
    [(0, 1), (16_383, 2), (16_384, 16_384), (50_000, 10), (99_999, 1), (99_999, 500), (70_000, 0)],
)
def test_a_range_is_read(folder: SealedFolder, key: bytes, start: int, size: int) -> None:
    content = os.urandom(100_000)
    folder.write("one", KEY_ID, key, CONTEXT, [content])

    assert b"".join(folder.read("one", key, CONTEXT, start, size)) == content[start : start + size]
    assert b"".join(folder.read("one", key, CONTEXT, start)) == content[start:]


def test_a_range_after_the_end_is_empty(folder: SealedFolder, key: bytes) -> None:
    folder.write("one", KEY_ID, key, CONTEXT, [b"short"])

    assert list(folder.read("one", key, CONTEXT, 16_384, 10)) == []
    assert list(folder.read("one", key, CONTEXT, 9, 10)) in ([], [b""])


def _damages(sealed: bytes) -> Iterator[bytes]:
    """One damage to each part, pieces in another order, other lengths, another header."""
    for salt_commitment_chunk_tag in (21, 50, HEAD + 5, -1):
        flipped = bytearray(sealed)
        flipped[salt_commitment_chunk_tag] ^= 1
        yield bytes(flipped)
    chunks = [
        sealed[start : start + SEALED_CHUNK_BYTES]
        for start in range(HEAD, len(sealed), SEALED_CHUNK_BYTES)
    ]
    yield sealed[:HEAD] + b"".join([chunks[1], chunks[0], *chunks[2:]])
    yield sealed[:HEAD] + b"".join([chunks[0], *chunks])
    yield sealed[:HEAD] + b"".join(chunks[1:])
    yield sealed + b"\x00"
    yield b"TV2" + sealed[3:]
    yield sealed[:3] + b"\x02" + sealed[4:]
    for length in (0, 3, 20, 75, HEAD, HEAD + 15, HEAD + SEALED_CHUNK_BYTES, len(sealed) - 1):
        yield sealed[:length]
    yield sealed[: HEAD + 2 * SEALED_CHUNK_BYTES + 16]


def test_a_damaged_file_is_refused_whole_and_in_its_first_range(
    folder: SealedFolder, key: bytes
) -> None:
    folder.write("one", KEY_ID, key, CONTEXT, [os.urandom(50_000)])
    stored = folder._path / "one"
    whole = stored.read_bytes()

    for damaged in _damages(whole):
        stored.write_bytes(damaged)
        with pytest.raises(SealBroken):
            b"".join(folder.read("one", key, CONTEXT))
        with pytest.raises(SealBroken):
            b"".join(folder.read("one", key, CONTEXT, 0, 16_385))


def test_a_cut_file_gives_nothing_before_it_is_refused(folder: SealedFolder, key: bytes) -> None:
    folder.write("one", KEY_ID, key, CONTEXT, [os.urandom(3_000_000)])
    stored = folder._path / "one"
    stored.write_bytes(stored.read_bytes()[: HEAD + 100 * SEALED_CHUNK_BYTES])

    with pytest.raises(SealBroken):
        next(folder.read("one", key, CONTEXT))


def test_another_place_or_key_does_not_open_it(folder: SealedFolder, key: bytes) -> None:
    folder.write("one", KEY_ID, key, CONTEXT, [b"content"])

    for wrong_key, wrong_context in ((new_key(), CONTEXT), (key, b"another place")):
        with pytest.raises(SealBroken):
            b"".join(folder.read("one", wrong_key, wrong_context))


def test_an_interrupted_file_leaves_nothing(folder: SealedFolder, key: bytes) -> None:
    folder.write("one", KEY_ID, key, CONTEXT, [b"the one before"])

    def break_off() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        folder.write("one", KEY_ID, key, CONTEXT, break_off())

    assert b"".join(folder.read("one", key, CONTEXT)) == b"the one before"
    assert os.listdir(folder._path) == ["one"]


def test_what_a_killed_process_left_is_swept(folder: SealedFolder, key: bytes) -> None:
    writer = folder.create("one", KEY_ID, key, CONTEXT)
    writer.__enter__()
    writer.write(os.urandom(40_000))
    writer._object._file.close()

    assert folder.names() == []
    assert folder.sweep(3_600) == 0
    assert folder.sweep(-1) == 1
    assert os.listdir(folder._path) == []


def test_no_plaintext_touches_the_disk(folder: SealedFolder, key: bytes) -> None:
    canary = b"segreto quarantadue " * 10_000

    with folder.create("one", KEY_ID, key, CONTEXT) as file:
        for piece in pieces_of(canary, 4_000):
            file.write(piece)
            for name in os.listdir(folder._path):
                assert b"quarantadue" not in (folder._path / name).read_bytes()

    assert b"quarantadue" not in (folder._path / "one").read_bytes()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a.part", "a\x00b", "a\n", "è", "x" * 101]
)
def test_a_name_cannot_leave_the_folder(folder: SealedFolder, key: bytes, name: str) -> None:
    for use in (
        lambda: folder.write(name, KEY_ID, key, CONTEXT, []),
        lambda: list(folder.read(name, key, CONTEXT)),
        lambda: folder.delete(name),
    ):
        with pytest.raises(ValueError, match="not a name"):
            use()


def test_a_deleted_file_is_gone(folder: SealedFolder, key: bytes) -> None:
    folder.write("one", KEY_ID, key, CONTEXT, [b"content"])

    assert folder.delete("one")
    assert not folder.delete("one")
    with pytest.raises(FileNotFoundError):
        next(folder.read("one", key, CONTEXT))
