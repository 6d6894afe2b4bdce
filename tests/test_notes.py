"""The note: sealed, versioned, and never lost between two windows."""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from server.audit import Act
from server.keyring import Keyring
from server.models import Appointment, LogEntry, Note, Visit
from server.notes.content import MAX_CHARACTERS, MAX_CODES, MAX_SECTION, digest_of
from server.sealed import NoteContent, Section, open_note
from tests.conftest import CARDIOLOGY, Cast, MakeVisit
from tests.visitors import Answer, Site, Visitor, site

__all__ = ["site"]

SECRET = "Paziente riferisce dispnea parossistica"


async def put(visitor: Visitor, visit: Visit, text: str, version: object) -> Answer:
    return await put_sections(visitor, visit, {"free": text}, version)


async def put_sections(
    visitor: Visitor, visit: Visit, sections: dict[str, str], version: object, **more: object
) -> Answer:
    headers = {"If-Match": f'"{version}"'}
    content = {"sections": sections, **more}
    return await visitor.send("PUT", f"/visits/{visit.id}/note", content, **headers)


def text_in(answer: Answer) -> str:
    """The working notes of an answer."""
    text: str = json.loads(answer.text)["content"].get("sections", {}).get("free", "")
    return text


async def load_texts(site: Site, keyring: Keyring, visit: Visit) -> list[str]:
    async with site.database.read(visit.organisation_id) as session:
        notes = await session.scalars(
            select(Note).where(Note.visit_id == visit.id).order_by(Note.version)
        )
        return [
            (await open_note(keyring, session, note)).text_of(Section.FREE) for note in notes.all()
        ]


async def load_entries(site: Site, visit: Visit, act: Act) -> list[dict[str, Any]]:
    async with site.database.read(visit.organisation_id) as session:
        texts = await session.scalars(select(LogEntry.entry).where(LogEntry.visit_id == visit.id))
        return [entry for entry in map(json.loads, texts) if entry["action"] == act]


async def test_a_note_is_saved_and_read_back(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    empty = await clinician.get(f"/visits/{visit.id}/note")
    saved = await put(clinician, visit, SECRET, 0)
    read = await clinician.get(f"/visits/{visit.id}/note")

    assert json.loads(empty.text)["content"] == {"sections": {"question": CARDIOLOGY.question}}
    assert empty.headers["ETag"] == '"0"'
    assert (saved.status, saved.headers["ETag"]) == (200, '"1"')
    assert json.loads(read.text) == json.loads(saved.text)
    assert text_in(read) == SECRET


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
    assert text_in(stale) == "first window"
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

    longest = await put(clinician, visit, "è" * MAX_SECTION, 0)
    longer = await put(clinician, visit, "è" * (MAX_SECTION + 1), 1)

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


ODD = "Σ<&>\"'😀\u00a0]]>"
"""What documents trip over."""


async def test_every_section_comes_back_as_written(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    sections = {section.value: f"{section}: {ODD}" for section in Section}
    icd9 = {"system": "icd9_cm", "code": "428.0", "display": "Insufficienza", "list_version": "24"}
    service = {**icd9, "system": "services", "code": "89.01.3"}
    codes = {"question_codes": [icd9], "diagnosis_codes": [icd9], "services": [service]}

    saved = await put_sections(clinician, visit, sections, 0, **codes)
    read = json.loads((await clinician.get(f"/visits/{visit.id}/note")).text)["content"]

    assert saved.status == 200
    assert read == {"sections": sections, **codes}
    assert list(read["sections"]) == [section.value for section in Section]


@pytest.mark.parametrize("letter", ["😀", "Σ", "<", '"', "\n\\"])
async def test_twenty_thousand_of_any_letter_fit(
    site: Site, cast: Cast, make_visit: MakeVisit, letter: str
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    text = "a" + letter * (20_000 // len(letter)) + "z"

    saved = await put_sections(clinician, visit, {"findings": text}, 0)

    assert json.loads(saved.text)["content"]["sections"] == {"findings": text}


async def test_the_whole_note_has_a_longest_too(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    rest = "a" * (MAX_CHARACTERS - MAX_SECTION)

    longest = await put_sections(clinician, visit, {"free": "a" * MAX_SECTION, "plan": rest}, 0)
    longer = await put_sections(
        clinician, visit, {"free": "a" * MAX_SECTION, "plan": rest + "a"}, 1
    )

    assert (longest.status, longer.status) == (200, 400)


async def test_what_no_document_can_hold_is_left_out(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    sections = {"findings": "a\x00\x0b\ufffeb\r\nc\td", "plan": " \n\u00a0", "free": ""}

    saved = await put_sections(clinician, visit, sections, 0)

    assert json.loads(saved.text)["content"]["sections"] == {"findings": "ab\nc\td"}


CODE = {"system": "icd9_cm", "code": "428.0", "display": "Insufficienza cardiaca"}


@pytest.mark.parametrize(
    "content",
    [
        {"text": "a page of before sections"},
        {"sections": {"secret": "x"}},
        {"sections": {"free": 1}},
        {"diagnosis_codes": [{**CODE, "system": "services"}]},
        {"diagnosis_codes": [{**CODE, "code": ""}]},
        {"question_codes": [{**CODE, "display": "x" * 501}]},
        {"services": [CODE]},
        {"diagnosis_codes": [{**CODE, "code": str(number)} for number in range(MAX_CODES + 1)]},
        {"template_id": "x" * 33},
        [],
    ],
    ids=lambda content: str(content)[:40],
)
async def test_what_is_no_note_is_refused(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring, content: object
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    answer = await clinician.send("PUT", f"/visits/{visit.id}/note", content, **{"If-Match": '"0"'})

    assert answer.status == 400
    assert await load_texts(site, keyring, visit) == []


async def test_the_last_save_of_a_page_follows_the_one_before_it_and_no_other(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    await put(clinician, visit, "a", 0)
    unanswered = digest_of(NoteContent(sections={Section.FREE: "a"}))

    follows = await put(clinician, visit, "ab", f'0", "{unanswered}')
    overtaken = await put(clinician, visit, "ac", f'0", "{unanswered}')

    assert (follows.status, follows.headers["ETag"]) == (200, '"2"')
    assert (overtaken.status, text_in(overtaken)) == (412, "ab")


# ---- history, colleagues, paper ----------------------------------------------------------


async def test_every_version_is_listed_and_opened(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    for version, text in enumerate(("one", "two", "three")):
        await put(clinician, visit, text, version)

    history = json.loads((await clinician.get(f"/visits/{visit.id}/note/history")).text)
    first = await clinician.get(f"/visits/{visit.id}/note/version?version=1")
    last = await clinician.get(f"/visits/{visit.id}/note/version")
    missing = await clinician.get(f"/visits/{visit.id}/note/version?version=4")

    assert [one["version"] for one in history["versions"]] == [3, 2, 1]
    assert {one["author"] for one in history["versions"]} == {"dott.ssa Anna Bianchi"}
    assert (text_in(first), text_in(last), missing.status) == ("one", "three", 404)
    opened = await load_entries(site, visit, Act.NOTE_HISTORY_OPENED)
    assert [entry["facts"] for entry in opened] == [{"version": 1}, {"version": 3}]


async def test_the_colleague_who_takes_over_sees_all_of_it(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    visit = await make_visit(cast.toscana)
    first = await site.staff(cast.toscana.clinician)
    second = await site.staff(cast.toscana.colleague)
    await put(first, visit, "before", 0)
    async with site.database.begin(visit.organisation_id) as session:
        appointment = await session.get_one(Appointment, visit.appointment_id)
        appointment.clinician_id = cast.toscana.colleague.id

    saved = await put(second, visit, "before, after", 1)
    late = await put(first, visit, "before, too late", 1)
    history = json.loads((await second.get(f"/visits/{visit.id}/note/history")).text)
    opened = await second.get(f"/visits/{visit.id}/note/version?version=1")

    assert (saved.status, late.status) == (200, 404)
    assert [one["author"] for one in history["versions"]] == [
        "dott. Marco Ferrari",
        "dott.ssa Anna Bianchi",
    ]
    assert text_in(opened) == "before"


async def test_paper_shows_the_last_version_and_is_written_down(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    empty = await clinician.get(f"/visits/{visit.id}/note/print")
    await put_sections(clinician, visit, {"findings": f"Sta bene {ODD}"}, 0, diagnosis_codes=[CODE])

    page = await clinician.get(f"/visits/{visit.id}/note/print")

    assert CARDIOLOGY.question in empty.text
    assert html.escape(f"Sta bene {ODD}").replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in (
        page.text
    )
    assert "428.0 Insufficienza cardiaca" in page.text
    assert "Versione 1" in page.text
    printed = await load_entries(site, visit, Act.NOTE_PRINTED)
    assert [entry["facts"] for entry in printed] == [{"version": 0}, {"version": 1}]
