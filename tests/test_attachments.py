"""Files of a visit: what is taken and what is not, who sees it, and that nothing is in clear."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image, ImageCms
from sqlalchemy import select

from recordings.picturehost import PictureHost, PictureUnfit
from recordings.picturewords import PictureProblem
from server.attachments.asks import Asks
from server.attachments.contents import clean_name
from server.attachments.texts import still_text
from server.db import Database
from server.errors import InvalidInput
from server.i18n import Translator
from server.keyring import Keyring
from server.models import (
    Attachment,
    AttachmentKind,
    Consent,
    ConsentKind,
    LogEntry,
    Visit,
    VisitState,
)
from server.sealed import open_attachment_words, read_attachment
from server.services import FILES
from tests.conftest import Cast, MakeVisit
from tests.files import PDF, add_attachment, make_photo
from tests.sweep import find_canaries
from tests.visitors import OWN_PAGE, Answer, Site, Visitor, open_site, site

__all__ = ["site"]

JSON = {"Accept": "application/json"}
TEXT = still_text(Translator("it"), "dott.ssa Anna Bianchi")


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit, database: Database) -> Visit:
    """In the visit, with both consents."""
    visit = await make_visit(cast.toscana, state=VisitState.IN_VISIT)
    await consent(database, visit)
    return visit


@pytest.fixture
async def patient(site: Site, visit: Visit) -> Visitor:
    return await site.patient(visit)


@pytest.fixture
async def clinician(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.clinician)


@pytest.fixture
async def pictures() -> PictureHost:
    return PictureHost()


async def consent(database: Database, visit: Visit) -> None:
    async with database.begin(visit.organisation_id) as session:
        session.add_all(
            Consent(
                organisation_id=visit.organisation_id,
                visit_id=visit.id,
                kind=kind,
                is_given=True,
                text_version="1",
                text_hash="0" * 64,
                language="it",
                answered_at=datetime.now(UTC),
            )
            for kind in ConsentKind
        )


async def send(
    patient: Visitor,
    visit: Visit,
    content: bytes,
    *,
    name: str = "foto.jpg",
    to: str = "files",
    **fields: str,
) -> Answer:
    form = aiohttp.FormData(quote_fields=False)
    body = io.BytesIO(content)
    form.add_field("file", body, filename=name, content_type="application/pdf")
    for key, value in fields.items():
        form.add_field(key, value)
    path = f"/v/{visit.locator}/{to}"
    return await patient.ask("POST", path, {**OWN_PAGE, **JSON}, data=form)


async def fetch(visitor: Visitor, path: str) -> tuple[int, bytes, dict[str, str]]:
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    async with visitor.session.get(visitor.origin + path, headers={"Cookie": cookies}) as response:
        return response.status, await response.read(), dict(response.headers)


async def load_rows(database: Database, visit: Visit) -> list[Attachment]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(Attachment)
            .where(Attachment.visit_id == visit.id)
            .order_by(Attachment.received_at)
        )
        return list(rows)


async def entries_of(database: Database, visit: Visit) -> list[dict[str, Any]]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        return [json.loads(row) for row in rows]


async def acts_of(database: Database, visit: Visit) -> list[str]:
    found = [entry["action"] for entry in await entries_of(database, visit)]
    return [act for act in found if act.startswith(("attachment", "still", "consent"))]


def stored(site: Site) -> list[str]:
    return site.app[FILES].names()


# ---- what a picture becomes --------------------------------------------------------------


async def test_a_picture_is_upright_without_its_place_and_maker(pictures: PictureHost) -> None:
    for kind in ("JPEG", "PNG"):
        made = await pictures.make_anew(make_photo((120, 80), kind=kind))

        image = Image.open(io.BytesIO(made.content))
        assert (image.format, image.size, made.width, made.height) == (kind, (80, 120), 80, 120)
        assert not image.getexif()
        assert not {"exif", "icc_profile", "comment", "xmp", "XML:com.adobe.xmp"} & set(image.info)
        assert b"Segreta" not in made.content


async def test_colours_of_a_phone_become_those_of_a_screen(pictures: PictureHost) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    output = io.BytesIO()
    Image.new("RGB", (40, 40), (180, 90, 60)).save(output, "PNG", icc_profile=lab)

    made = await pictures.make_anew(output.getvalue())

    pixel = Image.open(io.BytesIO(made.content)).getpixel((5, 5))
    assert all(abs(a - b) <= 2 for a, b in zip(pixel, (180, 90, 60), strict=True))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
async def test_every_kind_of_png_is_read(pictures: PictureHost, mode: str) -> None:
    output = io.BytesIO()
    Image.new(mode, (30, 20)).save(output, "PNG")

    assert (await pictures.make_anew(output.getvalue())).width == 30


def huge_png(width: int, height: int) -> bytes:
    """A few hundred bytes that promise ``width × height`` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000, 9)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (huge_png(30_000, 30_000), PictureProblem.TOO_MANY_PIXELS),
        (huge_png(39_000, 1000), PictureProblem.TOO_MANY_PIXELS),
        (huge_png(5000, 5000), PictureProblem.DAMAGED),
        (make_photo((600, 400))[:-400], PictureProblem.DAMAGED),
        (make_photo((600, 400))[:40], PictureProblem.DAMAGED),
        (b"\xff\xd8\xff" + b"<script>alert(1)</script>" * 50, PictureProblem.DAMAGED),
        (b"", PictureProblem.DAMAGED),
    ],
    ids=["flood", "long side", "promise", "truncated", "head only", "script", "empty"],
)
async def test_a_bomb_or_a_broken_picture_is_refused(
    pictures: PictureHost, content: bytes, problem: PictureProblem
) -> None:
    with pytest.raises(PictureUnfit) as refusal:
        await pictures.make_anew(content)

    assert refusal.value.problem is problem


async def test_the_loop_goes_on_while_a_large_picture_is_made(pictures: PictureHost) -> None:
    large = asyncio.create_task(pictures.make_anew(make_photo((4000, 3000))))
    longest, loop = 0.0, asyncio.get_running_loop()
    while not large.done():
        before = loop.time()
        await asyncio.sleep(0.005)
        longest = max(longest, loop.time() - before)

    assert (await large).width == 3000
    assert longest < 1.0


def test_names_are_shown_on_one_line_and_the_right_way_round() -> None:
    assert clean_name("C:\\Documenti\\esame 1.pdf") == "esame 1.pdf"
    assert clean_name("../../etc/passwd") == "passwd"
    assert clean_name("foto\u202egpj.exe\n\x00") == "fotogpj.exe"
    assert len(clean_name("x" * 500)) == 100


# ---- sending -----------------------------------------------------------------------------


async def test_a_photo_goes_sealed_into_the_record(
    site: Site, database: Database, keyring: Keyring, data_dir: Path, visit: Visit, patient: Visitor
) -> None:
    answer = await send(patient, visit, make_photo(), name="/sdcard/Gamba di Rosa.PDF")

    assert answer.status == 200
    [row] = await load_rows(database, visit)
    async with database.read(visit.organisation_id) as session:
        words = await open_attachment_words(keyring, session, row)
        content = await read_attachment(keyring, session, site.app[FILES], row)
    assert (row.kind, row.media_type) == (AttachmentKind.PATIENT_FILE, "image/jpeg")
    assert (words.file_name, row.size_bytes) == ("Gamba di Rosa.PDF", len(content))
    assert content.startswith(b"\xff\xd8\xff")
    assert stored(site) == [row.id]
    [entry] = [one for one in await entries_of(database, visit) if "attachment" in one["action"]]
    assert entry["facts"] == {
        "file": row.id,
        "kind": "patient_file",
        "media_type": "image/jpeg",
        "size_bytes": row.size_bytes,
        "pixels": "80x120",
    }


async def test_nothing_of_it_is_on_the_disk_in_clear(
    site: Site, visit: Visit, patient: Visitor, data_dir: Path
) -> None:
    document = PDF.replace(b"%%EOF", b"/Diagnosi segretissima quarantadue\n%%EOF")
    await send(patient, visit, document, name="referto-segreto.pdf")
    await send(patient, visit, make_photo(), name="ginocchio-sinistro.jpg")

    canaries = {
        "content": "Diagnosi segretissima quarantadue",
        "name": "referto-segreto",
        "photo": "ginocchio-sinistro",
        "maker": "Fotocamera Segreta",
        "pdf": "%PDF-1.7",
        "jpeg": "JFIF\x00\x01",
    }
    assert len(stored(site)) == 2
    assert find_canaries(canaries, [data_dir]) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "missing"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "unknown_type"),
        (b"<html><script>alert(1)</script>" + PDF, "unknown_type"),
        (b"PK\x03\x04" + PDF, "unknown_type"),
        (b"MZ\x90\0", "unknown_type"),
        (b"GIF89a" + b"\0" * 20, "unknown_type"),
        (PDF[:40], "damaged"),
        (PDF + b"PK\x03\x04" + b"\0" * 4000, "damaged"),
        (make_photo((600, 400))[:-500], "damaged"),
        (huge_png(30_000, 30_000), "too_many_pixels"),
        (b"\xff\xd8\xff" + b"\0" * 1_100_000, "too_large"),
    ],
)
async def test_what_is_not_taken_is_said_and_written_down(
    database: Database,
    database_url: str,
    data_dir: Path,
    visit: Visit,
    keyring: Keyring,
    content: bytes,
    reason: str,
) -> None:
    async with open_site(database, database_url, data_dir, files_max_mb=1) as small:
        patient = await small.patient(visit)
        answer = await send(patient, visit, content, name="vacanze.jpg")

        assert (answer.status, json.loads(answer.text)["reason"]) == (400, reason)
        assert stored(small) == []
    assert await load_rows(database, visit) == []
    [entry] = [one for one in await entries_of(database, visit) if "attachment" in one["action"]]
    assert (entry["action"], entry["facts"]) == ("attachment.refused", {"reason": reason})


async def test_a_page_without_scripts_says_the_same(visit: Visit, patient: Visitor) -> None:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", b"\0\0\0\x18ftypheic", filename="foto.heic")
    refused = await patient.ask("POST", f"/v/{visit.locator}/files", OWN_PAGE, data=form)
    good = aiohttp.FormData(quote_fields=False)
    good.add_field("file", make_photo(), filename="<b>foto.heic")
    taken = await patient.ask("POST", f"/v/{visit.locator}/files", OWN_PAGE, data=good)
    page = await patient.get(f"/v/{visit.locator}/files")

    assert (refused.status, "HEIC" in refused.text) == (400, True)
    assert (taken.status, taken.location) == (303, f"/v/{visit.locator}/files")
    assert "&lt;b&gt;foto" in page.text


async def test_a_picture_with_a_second_file_behind_it_loses_it(
    visit: Visit, patient: Visitor, clinician: Visitor, database: Database
) -> None:
    await send(patient, visit, make_photo() + b"PK\x03\x04<script>alert(1)</script>")

    [row] = await load_rows(database, visit)
    _, content, _ = await fetch(clinician, f"/visits/{visit.id}/files/{row.id}")
    assert b"script" not in content
    assert Image.open(io.BytesIO(content)).size == (80, 120)


async def test_a_visit_has_so_many_files_and_no_more(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring, visit: Visit
) -> None:
    async with open_site(database, database_url, data_dir, files_per_visit=2) as small:
        patient = await small.patient(visit)
        answers = await asyncio.gather(*(send(patient, visit, PDF) for _ in range(4)))

        assert sorted(answer.status for answer in answers) == [200, 200, 400, 400]
        assert len(stored(small)) == len(await load_rows(database, visit)) == 2


@pytest.mark.parametrize("state", [VisitState.ENDED, VisitState.CANCELLED])
async def test_when_the_visit_is_over_nothing_comes_or_goes(
    site: Site, database: Database, visit: Visit, patient: Visitor, state: VisitState
) -> None:
    await send(patient, visit, PDF)
    [row] = await load_rows(database, visit)
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(Visit, visit.id)).state = state

    late = await send(patient, visit, PDF)
    gone = await patient.post(f"/v/{visit.locator}/files/{row.id}/delete")

    assert (late.status, gone.status) == (409, 409)
    assert stored(site) == [row.id]


async def test_without_consents_and_before_the_check_in_nothing_is_taken(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    now = datetime.now(UTC)
    without = await make_visit(cast.toscana, state=VisitState.WAITING)
    early = await make_visit(cast.toscana, start=now + timedelta(days=9))
    soon = await make_visit(cast.toscana, start=now + timedelta(minutes=20))
    for visit in (early, soon):
        await consent(database, visit)

    statuses = [
        (await send(await site.patient(visit), visit, PDF)).status
        for visit in (without, early, soon)
    ]

    assert statuses == [409, 409, 200]


async def test_the_patient_deletes_an_own_file_for_good(
    site: Site, database: Database, visit: Visit, patient: Visitor, clinician: Visitor
) -> None:
    await send(patient, visit, PDF)
    [row] = await load_rows(database, visit)

    answer = await patient.post(f"/v/{visit.locator}/files/{row.id}/delete")

    assert answer.status == 303
    assert (await load_rows(database, visit), stored(site)) == ([], [])
    assert (await clinician.get(f"/visits/{visit.id}/files/{row.id}")).status == 404
    assert await acts_of(database, visit) == ["attachment.added", "attachment.deleted"]


# ---- looking -----------------------------------------------------------------------------


@pytest.mark.parametrize("content", [PDF, make_photo()], ids=["pdf", "photo"])
async def test_content_is_only_a_download_that_runs_nothing(
    database: Database, visit: Visit, patient: Visitor, clinician: Visitor, content: bytes
) -> None:
    await send(patient, visit, content, name="x; filename=bad.html")
    [row] = await load_rows(database, visit)

    for visitor, path in (
        (clinician, f"/visits/{visit.id}/files/{row.id}"),
        (patient, f"/v/{visit.locator}/files/{row.id}"),
    ):
        status, body, headers = await fetch(visitor, path)
        assert status == 200
        assert headers["Content-Type"] == row.media_type
        assert headers["Content-Disposition"].startswith('attachment; filename="accanto-')
        assert "bad" not in headers["Content-Disposition"]
        assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert (body == PDF) is (content == PDF)
    opened = [one for one in await entries_of(database, visit) if one["action"].endswith("opened")]
    assert [(one["role"], one["facts"]["file"]) for one in opened] == [
        ("clinician", row.id),
        ("patient", row.id),
    ]


async def test_files_stay_in_their_visit_and_organisation(
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    visit: Visit,
) -> None:
    other = await make_visit(cast.toscana, state=VisitState.IN_VISIT)
    foreign = await make_visit(cast.emilia, state=VisitState.IN_VISIT)
    for one in (other, foreign):
        await consent(database, one)
    folder = site.app[FILES]
    mine, his = [await add_attachment(database, keyring, folder, one) for one in (visit, other)]
    doctor, stranger = [await site.staff(team.clinician) for team in (cast.toscana, cast.emilia)]

    asked = [
        await doctor.get(f"/visits/{visit.id}/files/{his.id}"),
        await stranger.get(f"/visits/{visit.id}/files/{mine.id}"),
        await stranger.get(f"/visits/{foreign.id}/files/{mine.id}"),
        await (await site.patient(visit)).get(f"/v/{visit.locator}/files/{his.id}"),
        await (await site.patient(foreign)).get(f"/v/{foreign.locator}/files/{mine.id}"),
        await (await site.patient(visit)).post(f"/v/{visit.locator}/files/{his.id}/delete"),
        await doctor.send(
            "POST", f"/visits/{visit.id}/files/{his.id}/report", {"is_in_report": True}
        ),
    ]

    assert [answer.status for answer in asked] == [404] * len(asked)
    assert (
        json.loads((await doctor.get(f"/visits/{visit.id}/files")).text)["files"][0]["id"]
        == mine.id
    )


async def test_the_content_of_two_files_cannot_change_places(
    site: Site,
    visit: Visit,
    database: Database,
    keyring: Keyring,
    clinician: Visitor,
    data_dir: Path,
) -> None:
    folder = site.app[FILES]
    one, two = [await add_attachment(database, keyring, folder, visit) for _ in range(2)]
    store = data_dir / "store" / "attachments"
    first, second = (store / one.id).read_bytes(), (store / two.id).read_bytes()
    (store / one.id).write_bytes(second)
    (store / two.id).write_bytes(first)

    for row in (one, two):
        answer = await clinician.get(f"/visits/{visit.id}/files/{row.id}")
        assert answer.status == 500
    acts = [entry["action"] for entry in await entries_of(database, visit)]
    assert acts.count("seal.broken") == 2
    assert "attachment.opened" not in acts


async def test_one_picture_at_most_is_the_image_of_the_report(
    site: Site,
    visit: Visit,
    database: Database,
    keyring: Keyring,
    clinician: Visitor,
    patient: Visitor,
) -> None:
    folder = site.app[FILES]
    rows = [await add_attachment(database, keyring, folder, visit) for _ in range(3)]
    await send(patient, visit, PDF)
    [document] = [row for row in await load_rows(database, visit) if row.media_type.endswith("pdf")]

    def choose(row: Attachment, *, is_in_report: bool = True) -> Any:
        path = f"/visits/{visit.id}/files/{row.id}/report"
        return clinician.send("POST", path, {"is_in_report": is_in_report})

    async def chosen() -> list[str]:
        return [row.id for row in await load_rows(database, visit) if row.is_in_report]

    await choose(rows[0])
    await asyncio.gather(*(choose(row) for row in rows))
    assert len(await chosen()) == 1
    await choose(rows[2])
    assert await chosen() == [rows[2].id]
    assert (await choose(document)).status == 400
    await choose(rows[2], is_in_report=False)
    assert await chosen() == []


# ---- a photo that is asked for -----------------------------------------------------------


async def ask_still(clinician: Visitor, visit: Visit) -> str:
    answer = await clinician.send("POST", f"/visits/{visit.id}/still", {})
    assert answer.status == 200, answer.text
    return str(json.loads(answer.text)["ask"])


async def agree(patient: Visitor, visit: Visit, ask: str, text_hash: str = TEXT.hash) -> Answer:
    body = {"ask": ask, "is_agreed": True, "text_hash": text_hash}
    return await patient.send("POST", f"/v/{visit.locator}/still/answer", body)


async def send_still(patient: Visitor, visit: Visit, consent: str, **fields: str) -> Answer:
    given = {"consent": consent, "text_hash": TEXT.hash, "facing": "environment", "method": "photo"}
    return await send(patient, visit, make_photo(), to="still", **(given | fields))


async def test_a_photo_keeps_its_times_its_camera_and_the_text_agreed_to(
    database: Database, keyring: Keyring, visit: Visit, patient: Visitor, clinician: Visitor
) -> None:
    shown = json.loads((await patient.get(f"/v/{visit.locator}/still")).text)
    ask = await ask_still(clinician, visit)
    consent = json.loads((await agree(patient, visit, ask, shown["hash"])).text)["consent"]
    await asyncio.sleep(0.3)
    answer = await send_still(patient, visit, consent, age_ms="100")

    assert answer.status == 200, answer.text
    [row] = await load_rows(database, visit)
    async with database.read(visit.organisation_id) as session:
        words = await open_attachment_words(keyring, session, row)
    assert row.kind is AttachmentKind.STILL
    assert row.consented_at is not None
    assert row.taken_at is not None
    assert row.consented_at < row.taken_at < row.received_at
    assert (words.device, words.consent_hash) == ("environment photo 80x120", TEXT.hash)
    assert await acts_of(database, visit) == ["still.asked", "consent.given", "still.taken"]
    consented, taken = (await entries_of(database, visit))[-2:]
    assert consented["facts"] == {
        "kind": "still",
        "language": "it",
        "text_hash": TEXT.hash,
        "text_version": "1",
    }
    assert taken["facts"]["text_hash"] == TEXT.hash


async def test_one_consent_is_for_one_photo(
    site: Site, database: Database, visit: Visit, patient: Visitor, clinician: Visitor
) -> None:
    ask = await ask_still(clinician, visit)
    consent = json.loads((await agree(patient, visit, ask)).text)["consent"]

    answers = await asyncio.gather(*(send_still(patient, visit, consent) for _ in range(3)))

    assert sorted(answer.status for answer in answers) == [200, 409, 409]
    assert {json.loads(one.text)["code"] for one in answers if one.status == 409} == {"sent_before"}
    assert len(stored(site)) == 1


async def test_without_a_consent_of_this_visit_to_this_text_no_photo_is_taken(
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    visit: Visit,
    patient: Visitor,
    clinician: Visitor,
) -> None:
    other = await make_visit(cast.toscana, state=VisitState.IN_VISIT)
    await consent(database, other)
    ask = await ask_still(clinician, visit)
    good = json.loads((await agree(patient, visit, ask)).text)["consent"]

    refused = [
        await send_still(patient, visit, ""),
        await send_still(patient, visit, ask),
        await send_still(patient, visit, good, text_hash="0" * 64),
        await send_still(patient, visit, good[:-1] + "x"),
        await send_still(await site.patient(other), other, good),
        await agree(patient, visit, good),
        await agree(patient, visit, ask, "0" * 64),
        await agree(await site.patient(other), other, ask),
        await send(patient, visit, PDF, to="still", consent=good, text_hash=TEXT.hash),
    ]

    assert [answer.status for answer in refused] == [400] * len(refused)
    assert await load_rows(database, visit) == []
    assert "still.taken" not in await acts_of(database, visit)


async def test_no_is_written_down_and_stores_nothing(
    database: Database, visit: Visit, patient: Visitor, clinician: Visitor
) -> None:
    ask = await ask_still(clinician, visit)
    body = {"ask": ask, "is_agreed": False}

    answer = await patient.send("POST", f"/v/{visit.locator}/still/answer", body)

    assert (answer.status, json.loads(answer.text)) == (200, {"consent": ""})
    assert await acts_of(database, visit) == ["still.asked", "still.refused"]


async def test_a_photo_is_asked_for_during_the_visit_only(
    database: Database, visit: Visit, clinician: Visitor
) -> None:
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(Visit, visit.id)).state = VisitState.WAITING

    answer = await clinician.send("POST", f"/visits/{visit.id}/still", {})

    assert answer.status == 409


def test_asks_end() -> None:
    asks, now = Asks(b"k" * 32), datetime(2026, 11, 22, 9, tzinfo=UTC)
    ask = asks.make_ask("visit", now)
    agreed = asks.make_consent("visit", asks.open_ask("visit", ask, now), "hash", now)

    assert len(ask) <= 64
    assert asks.open_consent("visit", agreed, "hash", now).at == now
    for late in (timedelta(minutes=21), timedelta(days=1)):
        with pytest.raises(InvalidInput):
            asks.open_ask("visit", ask, now + late)
        with pytest.raises(InvalidInput):
            asks.open_consent("visit", agreed, "hash", now + late)
    for forged in ("", ".", "..", "a.b", "a.b.c.d", ask[:-1], "ù" + ask[1:]):
        with pytest.raises(InvalidInput):
            asks.open_ask("visit", forged, now)
