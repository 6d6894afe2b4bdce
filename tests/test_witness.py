"""The log's head for people and for witnesses, over the served application."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE, STDOUT
from base64 import b64decode
from collections.abc import AsyncIterator
from html import unescape
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import delete, update

from server.logsigner.client import SignerProcess
from server.logsigner.memory import Memory
from server.models import LogCheckpoint, LogEntry, LogHead
from server.tlog.note import open_note, parse_verifier
from server.tlog.tree import check_consistency
from server.tlog.witness import (
    EVIDENCE_FILE,
    HEADS_FILE,
    OWN_KEY_FILE,
    SEED_FILE,
    Folder,
    Misfit,
    compare,
    look,
    open_log,
)
from server.witness.public import MOST_A_MINUTE
from tests.commands import ACCANTO, clean_environment
from tests.conftest import Cast
from tests.test_logexport import NOW, Log
from tests.visitors import Site, site

__all__ = ["site"]


@pytest.fixture
async def log(site: Site, cast: Cast, data_dir: Path) -> AsyncIterator[Log]:
    """The log of the served application; nobody has signed it yet."""
    made = Log(site.database, cast.toscana.organisation.id, data_dir)
    made.signer = SignerProcess(data_dir / "log-signer")
    made.memory = Memory(data_dir / "log-signer" / made.organisation)
    yield made
    await made.signer.stop()


async def fetch_log(site: Site, cast: Cast) -> ZipFile:
    visitor = await site.staff(cast.toscana.auditor)
    cookies = {"Cookie": f"session={visitor.cookies['session']}"}
    async with site.session.get(f"{site.origin}/sessions/log.zip", headers=cookies) as response:
        assert response.status == 200
        return ZipFile(BytesIO(await response.read()))


async def test_log_is_downloaded_whole_and_the_download_is_in_the_next_one(
    site: Site, cast: Cast, log: Log
) -> None:
    await log.write(3)

    first, second = await fetch_log(site, cast), await fetch_log(site, cast)

    entries = [line.split(" ", 1)[1] for line in second.read("entries.jsonl").decode().splitlines()]
    assert json.loads(first.read("manifest.json"))["size"] == 3
    assert json.loads(second.read("manifest.json"))["size"] == 4
    assert json.loads(entries[-1])["action"] == "log.exported"
    assert json.loads(entries[-1])["actor"] == cast.toscana.auditor.id
    assert "values.jsonl" not in second.namelist()


async def test_head_page_shows_what_was_signed(site: Site, cast: Cast, log: Log) -> None:
    visitor = await site.staff(cast.toscana.manager)
    assert "ancora niente di sigillato" in (await visitor.get("/sessions/head")).text
    await log.write(5)
    await fetch_log(site, cast)

    page = await visitor.get("/sessions/head")

    note = log.memory.load_last_note()
    verifier = log.memory.load_verifier()
    assert note is not None
    assert verifier is not None
    shown = unescape(page.text)
    assert note in shown
    assert verifier.text() in shown


async def test_witness_gets_checkpoint_and_proof(site: Site, cast: Cast, log: Log) -> None:
    code = cast.toscana.organisation.code
    assert (await site.stranger.get(f"/log/{code}/checkpoint")).status == 404
    notes = []
    for count in (7, 600):
        await log.write(count)
        await fetch_log(site, cast)
        notes.append((await site.stranger.get(f"/log/{code}/checkpoint")).text)
    verifier = parse_verifier((await site.stranger.get(f"/log/{code}/key")).text)
    older, newer = (open_note(note, verifier) for note in notes)

    answer = await site.stranger.get(f"/log/{code}/consistency/{older.size}/{newer.size}")

    path = [b64decode(line) for line in answer.text.splitlines()]
    check_consistency(older.size, newer.size, path, older.root, newer.root)
    assert older.size == 7
    for wrong in ("8/7", "1/99999999", "x/7", "-1/7", "1/٧", "1/" + "9" * 30):
        assert (await site.stranger.get(f"/log/{code}/consistency/{wrong}")).status == 404
    assert (await site.stranger.get("/log/unknown/checkpoint")).status == 404


async def test_witness_who_asks_too_often_waits(site: Site) -> None:
    statuses = [
        (await site.stranger.get("/log/none/checkpoint")).status for _ in range(MOST_A_MINUTE + 1)
    ]
    other_minute = statuses[-1] == 404
    assert statuses[:MOST_A_MINUTE] == [404] * MOST_A_MINUTE
    assert other_minute or statuses[-1] == 429


async def look_as(name: str, log: Log, site: Site, cast: Cast) -> str:
    """One look of a witness; the size that it has seen."""
    address = f"{site.origin}/log/{cast.toscana.organisation.code}"
    folder = Folder(log.folder / name)
    async with open_log(address) as shown:
        with folder.locked():
            note = await look(shown, folder, name, None, NOW)
    return note.split("\n")[1]


async def compare_as(name: str, other: str, log: Log, site: Site, cast: Cast) -> int:
    address = f"{site.origin}/log/{cast.toscana.organisation.code}"
    async with open_log(address) as shown:
        return await compare(shown, Folder(log.folder / name), Folder(log.folder / other))


async def go_on(log: Log, count: int, visit: str) -> None:
    await log.write(count, visit)
    assert await log.settle() == []


async def turn_back(log: Log, size: int, frontier: bytes, memory: Path) -> None:
    """What the master of the whole machine can do: rows and signer as they were before."""
    async with log.database.begin(log.organisation) as session:
        await session.execute(delete(LogEntry).where(LogEntry.seq >= size))
        await session.execute(delete(LogCheckpoint).where(LogCheckpoint.size > size))
        await session.execute(update(LogHead).values(size=size, frontier=frontier))
    shutil.rmtree(log.memory.folder)
    shutil.copytree(memory, log.memory.folder)


@pytest.mark.parametrize("more", [0, 4])
async def test_two_witnesses_find_a_log_that_shows_two_histories(
    site: Site, cast: Cast, log: Log, more: int
) -> None:
    await go_on(log, 5, "before")
    assert {await look_as(name, log, site, cast) for name in ("one", "two")} == {"5"}
    async with log.database.read(log.organisation) as session:
        head = await session.get_one(LogHead, log.organisation)
    copy = Path(shutil.copytree(log.memory.folder, log.folder / "copy"))

    await go_on(log, 3, "for one")
    assert await look_as("one", log, site, cast) == "8"
    assert await compare_as("one", "two", log, site, cast) == 3
    await turn_back(log, 5, head.frontier, copy)
    await go_on(log, 3 + more, "for two")
    assert await look_as("two", log, site, cast) == str(8 + more)

    with pytest.raises(Misfit, match="forked"):
        await compare_as("one", "two", log, site, cast)
    with pytest.raises(Misfit, match="forked"):
        await look_as("one", log, site, cast)
    evidence = json.loads((log.folder / "one" / EVIDENCE_FILE).read_text())
    verifier = log.memory.load_verifier()
    assert verifier is not None
    assert open_note(evidence["note"], verifier).size == 8 + more
    await turn_back(log, 5, head.frontier, copy)
    with pytest.raises(Misfit, match="rolled back"):
        await look_as("two", log, site, cast)


async def test_witness_signs_what_it_has_seen(site: Site, cast: Cast, log: Log) -> None:
    await go_on(log, 5, "before")
    for _ in range(2):
        await look_as("one", log, site, cast)
    (kept,) = (log.folder / "one" / HEADS_FILE).read_text().splitlines()
    note = json.loads(kept)["note"]

    key = parse_verifier((log.folder / "one" / OWN_KEY_FILE).read_text())
    name, packed = note.splitlines()[-1].removeprefix("— ").split(" ")
    signature = b64decode(packed)
    body = note.rpartition("\n\n")[0] + "\n"
    message = f"cosignature/v1\ntime {int(NOW.timestamp())}\n{body}".encode()
    Ed25519PublicKey.from_public_bytes(key.public).verify(signature[12:], message)
    assert name == key.name == "one"
    assert signature[4:12] == int(NOW.timestamp()).to_bytes(8, "big")
    assert (log.folder / "one" / SEED_FILE).stat().st_mode & 0o077 == 0


async def test_command_of_the_witness_says_what_it_saw(site: Site, cast: Cast, log: Log) -> None:
    async def witness(*options: str) -> tuple[int | None, str]:
        address = f"{site.origin}/log/{cast.toscana.organisation.code}"
        process = await asyncio.create_subprocess_exec(
            ACCANTO, "log", "witness", address, log.folder / "pc", *options,
            stdout=PIPE, stderr=STDOUT, env=clean_environment(),
        )  # fmt: skip
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    await go_on(log, 5, "before")
    async with log.database.read(log.organisation) as session:
        head = await session.get_one(LogHead, log.organisation)
    copy = Path(shutil.copytree(log.memory.folder, log.folder / "copy"))
    await go_on(log, 3, "after")

    status, said = await witness("--name", "pc.example.org")
    assert status == 0, said
    assert "has 8 entries and has only grown" in said
    await turn_back(log, 5, head.frontier, copy)
    status, said = await witness()
    assert status == 1
    assert "rolled back: 5 entries, 8 were signed" in said
    assert "Traceback" not in said
