"""Templates that organisations share, phrases, and codes by search."""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from server.audit import Act
from server.db import EVERY_ORGANISATION, Database
from server.models import CodeListEntry, CodeSystem, LogEntry, NoteTemplate, Phrase, Visit
from server.writing.codelists import (
    MOST_HITS,
    BadLine,
    CodeLine,
    parse_code_file,
    replace_list,
    search_codes,
)
from tests.conftest import ROSA, Cast, MakeVisit, Team
from tests.test_cli import Installation
from tests.visitors import Answer, Site, Visitor, site

__all__ = ["site"]

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


async def keep(visitor: Visitor, visit: Visit, text: str, title: str = "Controllo") -> Answer:
    wish = {"title": title, "specialty": "Cardiologia", "content": {"sections": {"findings": text}}}
    return await visitor.send("POST", f"/visits/{visit.id}/template", wish)


async def load_templates(database: Database, team: Team) -> list[NoteTemplate]:
    async with database.read(team.organisation.id) as session:
        rows = await session.scalars(select(NoteTemplate).order_by(NoteTemplate.version))
        return list(rows.all())


async def load_acts(database: Database, team: Team) -> list[str]:
    async with database.read(team.organisation.id) as session:
        entries = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
        acts = [json.loads(entry)["action"] for entry in entries]
    return [act for act in acts if act.startswith(("template.", "codes."))]


async def help_of(visitor: Visitor) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads((await visitor.get("/writing/help")).text)
    return found


# ---- templates ---------------------------------------------------------------------------


async def test_a_note_becomes_a_template_that_fills_others(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    colleague = await site.staff(cast.toscana.colleague)

    kept = json.loads((await keep(clinician, visit, "Compenso stabile")).text)
    offered = (await help_of(colleague))["templates"]
    content = await colleague.get(f"/writing/templates/{kept['id']}/content")

    assert offered == [
        {"id": kept["id"], "title": "Controllo", "specialty": "Cardiologia", "version": 1}
    ]
    assert json.loads(content.text) == {"content": {"sections": {"findings": "Compenso stabile"}}}


@pytest.mark.parametrize(
    "text",
    [
        f"La signora {ROSA.family_name.upper()} sta bene",
        f"{ROSA.given_name} sta bene",
        f"CF {ROSA.codice_fiscale.lower()}",
        "Nata il 12/03/1948",
        "",
    ],
)
async def test_a_template_never_names_the_patient(
    site: Site, cast: Cast, make_visit: MakeVisit, text: str
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    answer = await keep(clinician, visit, text)

    assert answer.status == 400
    assert await load_templates(site.database, cast.toscana) == []


async def test_a_flower_is_no_name(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    assert (await keep(clinician, visit, "Cute rosa, Bertoluccini no")).status == 200


async def test_good_practice_travels_between_organisations(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    visit = await make_visit(cast.toscana)
    author = await site.staff(cast.toscana.clinician)
    other = await site.staff(cast.emilia.clinician)
    first = json.loads((await keep(author, visit, "Prima stesura")).text)["id"]

    before = await other.get("/writing")
    refused = await other.post(f"/writing/templates/{first}/adopt")
    await author.post(f"/writing/templates/{first}/publish")
    offered = await other.get("/writing")
    adopted = await other.post(f"/writing/templates/{first}/adopt")
    again = await other.post(f"/writing/templates/{first}/adopt")

    assert "Controllo" not in before.text
    assert refused.status == 404
    assert "Azienda USL Toscana Centro" in offered.text
    assert "versione 1" in offered.text
    assert (adopted.status, again.status) == (303, 409)
    [copy] = await load_templates(site.database, cast.emilia)
    assert (copy.version, copy.adopted_from) == (1, first)
    assert "Prima stesura" in copy.content

    await author.post(f"/writing/templates/{first}", title="Controllo", findings="Seconda")
    unpublished = await other.get("/writing")
    second = (await load_templates(site.database, cast.toscana))[-1]
    await author.post(f"/writing/templates/{second.id}/publish")
    newer = await other.get("/writing")
    await other.post(f"/writing/templates/{second.id}/adopt")

    assert second.version == 2
    assert "più nuovo del Suo" not in unpublished.text
    assert "più nuovo del Suo" in newer.text
    assert [one["version"] for one in (await help_of(other))["templates"]] == [2]

    await author.post(f"/writing/templates/{second.id}/withdraw")
    after = await other.get("/writing")
    assert "la sua azienda lo ha ritirato" in after.text
    assert (await help_of(author))["templates"] == []
    assert len((await help_of(other))["templates"]) == 1
    assert await load_acts(site.database, cast.toscana) == [
        Act.TEMPLATE_SAVED,
        Act.TEMPLATE_PUBLISHED,
        Act.TEMPLATE_SAVED,
        Act.TEMPLATE_PUBLISHED,
        Act.TEMPLATE_WITHDRAWN,
        Act.TEMPLATE_WITHDRAWN,
    ]
    assert await load_acts(site.database, cast.emilia) == [Act.TEMPLATE_ADOPTED] * 2


async def test_an_adopted_copy_can_be_put_away_and_taken_again(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    visit = await make_visit(cast.toscana)
    author = await site.staff(cast.toscana.clinician)
    other = await site.staff(cast.emilia.clinician)
    source = json.loads((await keep(author, visit, "Testo")).text)["id"]
    await author.post(f"/writing/templates/{source}/publish")
    await other.post(f"/writing/templates/{source}/adopt")
    [copy] = await load_templates(site.database, cast.emilia)

    republished = await other.post(f"/writing/templates/{copy.id}/publish")
    await other.post(f"/writing/templates/{copy.id}/withdraw")
    gone = (await help_of(other))["templates"]
    await other.post(f"/writing/templates/{source}/adopt")

    assert republished.status == 409
    assert gone == []
    assert [one["id"] for one in (await help_of(other))["templates"]] == [copy.id]


async def test_a_change_to_an_adopted_template_is_ones_own(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    visit = await make_visit(cast.toscana)
    author = await site.staff(cast.toscana.clinician)
    other = await site.staff(cast.emilia.clinician)
    source = json.loads((await keep(author, visit, "Testo")).text)["id"]
    await author.post(f"/writing/templates/{source}/publish")
    await other.post(f"/writing/templates/{source}/adopt")
    [copy] = await load_templates(site.database, cast.emilia)

    await other.post(f"/writing/templates/{copy.id}", title="Il nostro", findings="Cambiato")

    own = [row for row in await load_templates(site.database, cast.emilia) if row.id != copy.id]
    assert [(row.version, row.adopted_from, row.code != copy.code) for row in own] == [
        (1, None, True)
    ]


# ---- phrases -----------------------------------------------------------------------------


async def test_phrases_are_ones_own_or_everybodys(site: Site, cast: Cast):
    clinician = await site.staff(cast.toscana.clinician)
    colleague = await site.staff(cast.toscana.colleague)

    await clinician.post("/writing/phrases", shortcut=".pa", text="Pressione")
    await clinician.post("/writing/phrases", shortcut="fu", text="Ritorna", shared="yes")
    await colleague.post("/writing/phrases", shortcut="fu", text="Rivedo")
    await clinician.post("/writing/phrases", shortcut="pa", text="Pressione arteriosa")

    assert (await help_of(clinician))["phrases"] == [
        {"shortcut": "pa", "text": "Pressione arteriosa"},
        {"shortcut": "fu", "text": "Ritorna"},
    ]
    assert [one["text"] for one in (await help_of(colleague))["phrases"]] == ["Rivedo", "Ritorna"]
    async with site.database.read(cast.toscana.organisation.id) as session:
        own = await session.scalar(
            select(Phrase.id).where(Phrase.owner_id == cast.toscana.clinician.id)
        )
    stolen = await colleague.post(f"/writing/phrases/{own}/delete")
    gone = await clinician.post(f"/writing/phrases/{own}/delete")
    assert (stolen.status, gone.status) == (404, 303)


@pytest.mark.parametrize(("shortcut", "text"), [("p a", "x"), ("", "x"), ("PÀ", "x"), ("pa", " ")])
async def test_a_phrase_that_cannot_be_typed_is_refused(
    site: Site, cast: Cast, shortcut: str, text: str
):
    clinician = await site.staff(cast.toscana.clinician)

    answer = await clinician.post("/writing/phrases", shortcut=shortcut, text=text)

    assert answer.status == 400
    assert "lettere minuscole" in answer.text


# ---- codes -------------------------------------------------------------------------------

LINES = [CodeLine("428.0", "Insufficienza cardiaca, non specificata"), CodeLine("V70", "È sano")]


@pytest.mark.parametrize(
    "content",
    [
        '428.0,"Insufficienza cardiaca, non specificata"\nV70,È sano\n'.encode(),
        (
            '\ufeffcode,display\r\n428.0,"Insufficienza cardiaca, non specificata"\r\nV70,È sano'
        ).encode(),
        "Codice;Descrizione\n428.0;Insufficienza cardiaca, non specificata\nV70;È sano\n".encode(
            "latin-1"
        ),
        (
            "\n428.0\tInsufficienza cardiaca, non specificata\n\n V70 \t È sano \t\nV70\tÈ sano\n"
        ).encode(),
    ],
    ids=["comma", "bom and heading", "semicolon and latin-1", "tab, blanks, twice"],
)
def test_files_of_codes_are_read_as_people_have_them(content: bytes):
    assert parse_code_file(content) == (LINES, [])


def test_every_bad_line_is_named():
    content = (
        "code,display\n428.0,Insufficienza\n428.0,Altro\n,Senza codice\n401.1,\nsolo\n"
        f"1 2,x\n{'9' * 33},x\n402,a,b\n403,{'x' * 501}\n404,a\x07b\n"
    ).encode()

    lines, bad = parse_code_file(content)

    assert [line.code for line in lines] == ["428.0"]
    assert [(one.line, one.field) for one in bad] == [
        (3, "code"),
        (4, "code"),
        (5, "display"),
        (6, "display"),
        (7, "code"),
        (8, "code"),
        (9, "line"),
        (10, "display"),
        (11, "display"),
    ]
    assert all(isinstance(one, BadLine) and one.reason for one in bad)


async def test_codes_are_found_by_their_beginning_and_by_all_words(site: Site, cast: Cast):
    lines = [
        CodeLine("428.0", "Insufficienza cardiaca congestizia (scompenso)"),
        CodeLine("428.1", "Insufficienza del cuore sinistro"),
        CodeLine("585.428", "Insufficienza renale"),
        CodeLine("345.0", "Epilessìa non convulsiva, 100% senza_altro"),
    ]
    async with site.database.begin(EVERY_ORGANISATION) as session:
        await replace_list(session, CodeSystem.ICD9_CM, lines, version="2007", now=NOW)
        await replace_list(
            session, CodeSystem.SERVICES, [CodeLine("89.01.3", "Visita")], version="", now=NOW
        )
    clinician = await site.staff(cast.toscana.clinician)

    async def search(sought: str, system: str = "icd9_cm") -> list[str]:
        answer = await clinician.send(
            "POST", "/writing/codes/search", {"system": system, "sought": sought}
        )
        return [one["code"] for one in json.loads(answer.text)["codes"]]

    assert await search("428") == ["428.1", "428.0"]
    assert await search("4280") == ["428.0"]
    assert await search("SCOMP cardiàca") == ["428.0"]
    assert await search("epilessia") == ["345.0"]
    assert await search("ziale") == await search("%") == await search("_") == await search("") == []
    assert await search("89.01", "services") == ["89.01.3"]
    wrong = await clinician.send("POST", "/writing/codes/search", {"system": "x", "sought": "y"})
    assert wrong.status == 400
    for team in (cast.toscana, cast.emilia):
        assert await load_acts(site.database, team) == [Act.CODE_LIST_LOADED] * 2


async def test_a_new_list_takes_the_place_of_the_old(database: Database, cast: Cast):
    for version, code in (("1", "428.0"), ("2", "401.1")):
        async with database.begin(EVERY_ORGANISATION) as session:
            await replace_list(
                session, CodeSystem.ICD9_CM, [CodeLine(code, "x")], version=version, now=NOW
            )

    async with database.read(EVERY_ORGANISATION) as session:
        [row] = (await session.scalars(select(CodeListEntry))).all()
    assert (row.code, row.list_version) == ("401.1", "2")


async def test_twenty_thousand_codes_are_searched_while_one_types(database: Database, cast: Cast):
    """Far below the pause of a person between two letters, on a busy machine too."""
    lines = [
        CodeLine(f"{number // 100:03}.{number % 100:02}", f"Malattia {number} del gruppo {word}")
        for number in range(20_000)
        for word in (("cardiaca", "renale", "rara")[number % 3],)
    ]
    async with database.begin(EVERY_ORGANISATION) as session:
        await replace_list(session, CodeSystem.ICD9_CM, lines, version="", now=NOW)

    async with database.read(cast.toscana.organisation.id) as session:
        began = time.process_time()
        for sought in ("malattia ren", "123", "malattia 19999 del", "nessuna"):
            hits = await search_codes(session, CodeSystem.ICD9_CM, sought)
            assert len(hits) <= MOST_HITS
        seconds = time.process_time() - began
        [exact, *_] = await search_codes(session, CodeSystem.ICD9_CM, "123.45")

    assert exact.display == "Malattia 12345 del gruppo cardiaca"
    assert seconds < 1.0


def test_the_command_takes_a_file_whole_or_not_at_all(tmp_path: Path):
    installation = Installation(tmp_path / "data")
    installation.succeed("migrate")
    installation.add_organisation("090203")
    good, bad, empty = (tmp_path / name for name in ("good.csv", "bad.csv", "empty.csv"))
    good.write_bytes("codice;descrizione\n428.0;Insufficienza cardiaca\n".encode("latin-1"))
    bad.write_text("428.0,Insufficienza\n401.1\n,x\n")
    empty.write_text("\n")

    said = installation.succeed("codes", "import", "icd9cm", good, "--version", "2007")
    refused = installation.fail("codes", "import", "icd9cm", bad)

    assert "1 codes are in the list icd9cm" in said
    assert "line 2: the display is missing" in refused
    assert "line 3: the code is missing" in refused
    assert "nothing was changed" in refused
    assert "no code" in installation.fail("codes", "import", "services", empty)
    with sqlite3.connect(tmp_path / "data" / "accanto.db") as connection:
        rows = connection.execute("SELECT code, display, list_version FROM code_list_entry")
        assert list(rows) == [("428.0", "Insufficienza cardiaca", "2007")]
