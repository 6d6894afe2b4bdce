"""The log's head for people and for witnesses, over the served application."""

from __future__ import annotations

import json
from base64 import b64decode
from html import unescape
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from server.logsigner.memory import Memory
from server.tlog.note import open_note, parse_verifier
from server.tlog.tree import check_consistency
from server.witness.public import MOST_A_MINUTE
from tests.conftest import Cast
from tests.test_logexport import Log
from tests.visitors import Site, site

__all__ = ["site"]


@pytest.fixture
async def log(site: Site, cast: Cast, data_dir: Path) -> Log:
    """The log of the served application; nobody has signed it yet."""
    made = Log(site.database, cast.toscana.organisation.id, data_dir)
    made.memory = Memory(data_dir / "log-signer" / made.organisation)
    return made


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
