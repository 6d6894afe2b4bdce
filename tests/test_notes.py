"""The note: sealed, versioned, and never lost between two windows."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from server.audit import Act
from server.keyring import Keyring
from server.models import LogEntry, Note, Visit
from server.notes import MAX_CHARACTERS
from server.sealed import open_note
from tests.conftest import Cast, MakeVisit
from tests.visitors import Answer, Site, Visitor, site

__all__ = ["site"]

SECRET = "Paziente riferisce dispnea parossistica"


async def put(visitor: Visitor, visit: Visit, text: str, version: object) -> Answer:
    headers = {"If-Match": f'"{version}"'}
    return await visitor.send("PUT", f"/visits/{visit.id}/note", {"text": text}, **headers)


async def load_texts(site: Site, keyring: Keyring, visit: Visit) -> list[str]:
    async with site.database.read(visit.organisation_id) as session:
        notes = await session.scalars(
            select(Note).where(Note.visit_id == visit.id).order_by(Note.version)
        )
        return [await open_note(keyring, session, note) for note in notes.all()]


async def load_entries(site: Site, visit: Visit, act: Act) -> list[dict[str, Any]]:
    async with site.database.read(visit.organisation_id) as session:
        texts = await session.scalars(select(LogEntry.entry).where(LogEntry.visit_id == visit.id))
        return [entry for entry in map(json.loads, texts) if entry["act"] == act]


async def test_a_note_is_saved_and_read_back(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    empty = await clinician.get(f"/visits/{visit.id}/note")
    saved = await put(clinician, visit, SECRET, 0)
    read = await clinician.get(f"/visits/{visit.id}/note")

    assert (json.loads(empty.text)["text"], empty.headers["ETag"]) == ("", '"0"')
    assert (saved.status, saved.headers["ETag"]) == (200, '"1"')
    assert json.loads(read.text) == json.loads(saved.text)
    assert json.loads(read.text)["text"] == SECRET


async def test_the_log_proves_the_ciphertext(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    await put(clinician, visit, SECRET, 0)
    await clinician.get(f"/visits/{visit.id}/note")

    async with site.database.read(visit.organisation_id) as session:
        note = await session.get_one(Note, (visit.id, 1))
    (saved,) = await load_entries(site, visit, Act.NOTE_SAVED)
    (opened,) = await load_entries(site, visit, Act.NOTE_OPENED)
    digest = hashlib.sha256(note.sealed_text).hexdigest()
    assert saved["facts"] == {"version": 1, "sha256": digest}
    assert opened["facts"] == {"version": 1}
    assert note.author_id == cast.toscana.clinician.id


async def test_no_byte_of_a_note_is_clear(
    site: Site, cast: Cast, make_visit: MakeVisit, data_dir: Path, caplog: pytest.LogCaptureFixture
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    await put(clinician, visit, SECRET, 0)
    await put(clinician, visit, SECRET, "junk")

    async with site.database.read(visit.organisation_id) as session:
        note = await session.get_one(Note, (visit.id, 1))
    assert b"dispnea" not in note.sealed_text
    assert "dispnea" not in caplog.text
    assert not [
        path for path in data_dir.rglob("*") if path.is_file() and b"dispnea" in path.read_bytes()
    ]


async def test_the_same_text_again_is_no_new_version(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    await put(clinician, visit, "a", 0)
    again = await put(clinician, visit, "a", 1)

    assert (again.status, again.headers["ETag"]) == (200, '"1"')
    assert await load_texts(site, keyring, visit) == ["a"]


async def test_a_save_on_an_old_version_brings_the_current_text(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    await put(clinician, visit, "first window", 0)

    stale = await put(clinician, visit, "second window", 0)

    assert stale.status == 412
    assert json.loads(stale.text)["text"] == "first window"
    assert stale.headers["ETag"] == '"1"'
    assert await load_texts(site, keyring, visit) == ["first window"]


@pytest.mark.parametrize("version", ["", "x", "-1", "1.0", "9" * 30, '0", "1', "*"])
async def test_a_save_must_say_what_it_was_written_on(
    site: Site, cast: Cast, make_visit: MakeVisit, version: str
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    assert (await put(clinician, visit, "a", version)).status == 400


async def test_a_note_that_is_too_long_is_refused_whole(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    longest = await put(clinician, visit, "è" * MAX_CHARACTERS, 0)
    longer = await put(clinician, visit, "è" * (MAX_CHARACTERS + 1), 1)

    assert (longest.status, longer.status) == (200, 400)
    assert len(await load_texts(site, keyring, visit)) == 1


async def test_of_saves_at_once_one_is_first(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    for version in (0, 1):
        answers = await asyncio.gather(
            *(put(clinician, visit, f"{version} {window}", version) for window in range(8))
        )
        statuses = sorted(answer.status for answer in answers)
        assert statuses == [200] + [412] * 7

    assert len(await load_texts(site, keyring, visit)) == 2


@dataclass
class Window:
    """One page of the doctor, as ``note.js`` behaves: it keeps both texts when it was late."""

    visitor: Visitor
    visit: Visit
    version: int = 0
    text: str = ""

    def type(self, words: str) -> None:
        self.text += words

    async def save(self) -> bool:
        """Whether it was in time; if not, the page now shows both texts and saves them next."""
        answer = await put(self.visitor, self.visit, self.text, self.version)
        saved = json.loads(answer.text)
        if answer.status == 412:
            self.text = f"{saved['text']}\n{self.text}"
        self.version = saved["version"]
        return answer.status == 200


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from((0, 1)), st.sampled_from(("type", "save"))), max_size=12
    )
)
@example(steps=[(0, "type"), (1, "save"), (1, "type")])
async def test_no_interleaving_of_two_windows_loses_an_edit(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring, steps: list[tuple[int, str]]
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    windows = Window(clinician, visit), Window(clinician, visit)
    typed: list[str] = []

    for number, (place, act) in enumerate(steps):
        window = windows[place]
        if act == "type":
            typed.append(f"<{number}>")
            window.type(typed[-1])
        else:
            await window.save()
    for window in windows:
        while not await window.save():
            pass

    last = (await load_texts(site, keyring, visit) or [""])[-1]
    assert [words for words in typed if words not in last] == []
