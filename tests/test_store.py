"""The store of sealed files: what is stored, and what is refused, in a folder and in a bucket."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from recordings.objects import FolderObjects, Objects
from recordings.s3 import Bucket, S3Objects
from recordings.store import SealedFolder, SealedStore
from recordings.vault import SEALED_CHUNK_BYTES, SealBroken, new_key, unseal
from tests.bucket import S3Server, run_s3

KEY_ID = "0123456789abcdef"
CONTEXT = b"a place"
HEAD = 4 + 16 + 56
SIZES = (0, 1, 16_383, 16_384, 16_385, 100_000, 1_048_576, 1_048_577, 3_000_000)


@pytest.fixture
def key() -> bytes:
    return new_key()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with run_s3() as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return FolderObjects(tmp_path / "store")
    server: S3Server = request.getfixturevalue("s3")
    return S3Objects(server.make_bucket())


@pytest.fixture
def store(objects: Objects) -> SealedStore:
    return SealedStore(objects)


@pytest.fixture
def folder(tmp_path: Path) -> SealedFolder:
    return SealedFolder(tmp_path / "store")


def load(objects: Objects, name: str) -> bytes:
    """What lies in the store, sealed."""
    file = objects.open(name)
    buffer = bytearray(file.size + 10)
    filled = file.read_into(0, memoryview(buffer))
    file.close()
    assert filled == file.size
    return bytes(buffer[:filled])


def replace(objects: Objects, name: str, content: bytes) -> None:
    writer = objects.create(name)
    writer.write(content)
    writer.finish()


def pieces_of(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_opens_as_it_was_written(objects: Objects, key: bytes, size: int) -> None:
    content, store = os.urandom(size), SealedStore(objects)

    with store.create("one", KEY_ID, key, CONTEXT) as file:
        for piece in pieces_of(content, 70_001):
            file.write(piece)

    assert b"".join(store.read("one", key, CONTEXT)) == content
    assert store.read_key_id("one") == KEY_ID
    assert store.names() == ["one"]
    assert store.count_plain_bytes("one") == file.plain_bytes == size
    stored = load(objects, "one")
    assert hashlib.sha256(stored).hexdigest() == file.sha256
    assert len(stored) == file.sealed_bytes
    assert unseal(key, CONTEXT, stored[20:]) == content


def test_only_the_owner_reads_the_folder(folder: SealedFolder, key: bytes) -> None:
    folder.write("one", KEY_ID, key, CONTEXT, [b"content"])

    assert (folder._path / "one").stat().st_mode & 0o777 == 0o600
    assert folder._path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("start", "size"),
    [(0, 1), (16_383, 2), (16_384, 16_384), (50_000, 10), (99_999, 1), (99_999, 500), (70_000, 0)],
)
def test_a_range_is_read(store: SealedStore, key: bytes, start: int, size: int) -> None:
    content = os.urandom(100_000)
    store.write("one", KEY_ID, key, CONTEXT, [content])

    assert b"".join(store.read("one", key, CONTEXT, start, size)) == content[start : start + size]
    assert b"".join(store.read("one", key, CONTEXT, start)) == content[start:]


def test_a_range_after_the_end_is_empty(store: SealedStore, key: bytes) -> None:
    store.write("one", KEY_ID, key, CONTEXT, [b"short"])

    assert list(store.read("one", key, CONTEXT, 16_384, 10)) == []
    assert list(store.read("one", key, CONTEXT, 9, 10)) in ([], [b""])


def test_long_ranges_anywhere_are_what_was_written(store: SealedStore, key: bytes) -> None:
    content = os.urandom(3_000_000)
    store.write("one", KEY_ID, key, CONTEXT, [content])

    for start in range(1, 3_000_000, 611_953):
        for size in (1, 16_384, 100_000, 1_100_000, 3_000_000):
            found = b"".join(store.read("one", key, CONTEXT, start, size))
            assert found == content[start : start + size]


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
    objects: Objects, key: bytes
) -> None:
    store = SealedStore(objects)
    store.write("one", KEY_ID, key, CONTEXT, [os.urandom(50_000)])
    whole = load(objects, "one")

    for damaged in _damages(whole):
        replace(objects, "one", damaged)
        with pytest.raises(SealBroken):
            b"".join(store.read("one", key, CONTEXT))
        with pytest.raises(SealBroken):
            b"".join(store.read("one", key, CONTEXT, 0, 16_385))


def test_a_cut_file_gives_nothing_before_it_is_refused(objects: Objects, key: bytes) -> None:
    store = SealedStore(objects)
    store.write("one", KEY_ID, key, CONTEXT, [os.urandom(3_000_000)])
    replace(objects, "one", load(objects, "one")[: HEAD + 100 * SEALED_CHUNK_BYTES])

    with pytest.raises(SealBroken):
        next(store.read("one", key, CONTEXT))


def test_another_place_or_key_does_not_open_it(store: SealedStore, key: bytes) -> None:
    store.write("one", KEY_ID, key, CONTEXT, [b"content"])

    for wrong_key, wrong_context in ((new_key(), CONTEXT), (key, b"another place")):
        with pytest.raises(SealBroken):
            b"".join(store.read("one", wrong_key, wrong_context))


@pytest.mark.parametrize("written", [4, 20_000_000])
def test_an_interrupted_file_leaves_nothing(store: SealedStore, key: bytes, written: int) -> None:
    store.write("one", KEY_ID, key, CONTEXT, [b"the one before"])

    def break_off() -> Iterator[bytes]:
        yield bytes(written)
        raise ConnectionError

    for name in ("one", "two"):
        with pytest.raises(ConnectionError):
            store.write(name, KEY_ID, key, CONTEXT, break_off())

    assert b"".join(store.read("one", key, CONTEXT)) == b"the one before"
    assert store.names() == ["one"]


def test_an_interrupted_file_leaves_nothing_beside_it(folder: SealedFolder, key: bytes) -> None:
    def break_off() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        folder.write("one", KEY_ID, key, CONTEXT, break_off())

    assert os.listdir(folder._path) == []


def test_a_file_of_many_parts_has_its_name_only_at_its_end(objects: Objects, key: bytes) -> None:
    content, store = os.urandom(20_000_000), SealedStore(objects)

    with store.create("one", KEY_ID, key, CONTEXT) as file:
        for piece in pieces_of(content, 1_000_000):
            file.write(piece)
            assert store.names() == []

    assert store.names() == ["one"]
    assert b"".join(store.read("one", key, CONTEXT)) == content
    assert store.names_older_than(-60) == ["one"]
    assert store.names_older_than(60) == []
    assert store.sweep(60) == 0


def test_a_bucket_that_does_not_answer_is_an_error_of_the_system(key: bytes) -> None:
    bucket = Bucket("recordings", "", "http://127.0.0.1:9", "eu-south-1", "key", "secret")
    store = SealedStore(S3Objects(bucket))

    for use in (
        lambda: store.write("one", KEY_ID, key, CONTEXT, [b"content"]),
        lambda: next(store.read("one", key, CONTEXT)),
        lambda: store.delete("one"),
        store.names,
    ):
        with pytest.raises(OSError, match="the store of files") as caught:
            use()
        assert not isinstance(caught.value, FileNotFoundError)


def test_a_bucket_sees_nothing_of_the_content_and_nothing_outside_its_folder(
    s3: S3Server, key: bytes
) -> None:
    first, canary = s3.make_bucket(), b"segreto quarantadue " * 10_000
    other = S3Objects(msgspec.structs.replace(first, prefix="altro"))

    SealedStore(S3Objects(first)).write("one", KEY_ID, key, CONTEXT, [canary])

    assert list(other.list()) == []
    assert first.secret_key not in repr(first)
    content = s3.client().get_object(Bucket=first.name, Key=f"{first.prefix}/one")["Body"].read()
    assert len(content) > len(canary)
    assert b"quarantadue" not in content


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
def test_a_name_cannot_leave_the_store(store: SealedStore, key: bytes, name: str) -> None:
    for use in (
        lambda: store.write(name, KEY_ID, key, CONTEXT, []),
        lambda: list(store.read(name, key, CONTEXT)),
        lambda: store.delete(name),
    ):
        with pytest.raises(ValueError, match="not a name"):
            use()


def test_a_deleted_file_is_gone(store: SealedStore, key: bytes) -> None:
    store.write("one", KEY_ID, key, CONTEXT, [b"content"])

    assert store.delete("one")
    assert not store.delete("one")
    for use in (
        lambda: next(store.read("one", key, CONTEXT)),
        lambda: store.read_key_id("one"),
        lambda: store.count_plain_bytes("one"),
    ):
        with pytest.raises(FileNotFoundError):
            use()
