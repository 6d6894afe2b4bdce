"""The desk opens what CUP sent only on purpose, and brings in files row by row."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import select

from server.audit import Act
from server.cup.booking import Reason
from server.db import Database
from server.intake.readable import make_readable
from server.keyring import Keyring
from server.models import Appointment, Connector, InboxMessage, MessageState
from server.sealed import load_values
from server.sources import Mapping
from server.uploads import LONGEST_UPLOAD_BYTES
from tests.conftest import Cast
from tests.test_admin_pages import acts, add_message, add_source, last_act, upload
from tests.visitors import Site, Visitor, site

__all__ = ["site"]

SIU = Path(__file__).parent / "vectors" / "cup" / "siu-s12-2.5.hl7"
GOOD = (
    "codice_prenotazione;cognome;nome;codice_fiscale;codice_medico;inizio\n"
    "PRN-1;Bertolucci;Rosa;BRTRSO48C52D612U;{clinician};2030-01-10T10:00:00+01:00\n"
)
ROW_WITHOUT_CODE = ";Verdi;Anna;VRDNNA50A41D612Y;{clinician};2030-01-10T11:00:00+01:00\n"


@pytest.fixture
async def desk(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.desk)


# ---- a message as it came --------------------------------------------------------------


def test_segments_stand_on_lines_of_their_own() -> None:
    shown = make_readable(b"\x0bMSH|^~\\&|\rPID|1|\x07\r\x1c\r", Connector.HL7V2, Mapping())

    assert shown.text == "MSH|^~\\&|\nPID|1|\ufffd"


def test_json_is_indented_and_broken_json_is_shown_as_it_is() -> None:
    good = make_readable(b'{"status":"booked"}', Connector.FHIR, Mapping())
    bad = make_readable(b'{"status":', Connector.FHIR, Mapping())

    assert good.text == '{\n  "status": "booked"\n}'
    assert bad.text == '{"status":'


def test_a_row_is_shown_as_columns_and_cells() -> None:
    raw = "codice;cognome;nota\nPRN-1;Nicolò;\n".encode("cp1252")

    shown = make_readable(raw, Connector.CSV, Mapping(csv_encoding="cp1252"))

    assert shown.pairs == (("codice", "PRN-1"), ("cognome", "Nicolò"), ("nota", ""))


@pytest.mark.parametrize("raw", [b'a;b\n"1;2\n', b"a;b\n1;2;3\n", b"", b"a;b\n1\n2\n"])
def test_a_row_that_is_none_is_shown_as_text(raw: bytes) -> None:
    shown = make_readable(raw, Connector.CSV, Mapping())

    assert shown.pairs == ()
    assert shown.text == raw.decode()


def test_nothing_hides_and_nothing_is_endless() -> None:
    hidden = make_readable("a\u202eb\0".encode(), Connector.FHIR, Mapping())
    long = make_readable(b"x" * 300_000, Connector.FHIR, Mapping())
    broken = make_readable(b"\xff\xfe\xe8", Connector.HL7V2, Mapping())

    assert hidden.text == "a\ufffdb\ufffd"
    assert (len(long.text), long.is_cut) == (200_000, True)
    assert broken.text == "ÿþè"


# ---- messages --------------------------------------------------------------------------


async def test_the_list_says_what_is_wrong_and_keeps_messages_closed(
    desk: Visitor, cast: Cast, database: Database, keyring: Keyring
) -> None:
    message = await add_message(database, keyring, await add_source(database, cast.toscana))
    foreign = await add_message(database, keyring, await add_source(database, cast.emilia))

    page = (await desk.get("/desk/messages")).text
    closed = (await desk.get(f"/desk/messages/{message.id}")).text

    assert page.count('data-testid="message-row"') == 1
    assert "inizio: manca" in page
    assert "Bertolucci" not in page + closed
    assert 'data-testid="message-open"' in closed
    assert (await desk.get(f"/desk/messages/{foreign.id}")).status == 404
    foreign_path = f"/desk/messages/{foreign.id}/open"
    assert (await desk.post(foreign_path, purpose="patient_asks")).status == 404
    assert "1 messaggio del CUP non si è potuto leggere" in (await desk.get("/desk")).text


async def test_opening_a_message_is_an_act(
    desk: Visitor, cast: Cast, database: Database, keyring: Keyring
) -> None:
    message = await add_message(database, keyring, await add_source(database, cast.toscana))

    path = f"/desk/messages/{message.id}/open"
    assert (await desk.post(path)).status == 400
    words = "La signora Bertolucci ha telefonato"
    opened = await desk.post(path, purpose="patient_asks", words=words)

    assert opened.status == 200
    assert "PID|1||||Bertolucci^Rosa" in opened.text
    assert "no-store" in opened.headers["Cache-Control"]
    entry = await last_act(database, cast.toscana, Act.CUP_MESSAGE_OPENED)
    assert entry["actor"] == cast.toscana.desk.id
    kept = entry["facts"].pop("purpose_words")
    said = {"message": message.id, "source": "cup-prova", "purpose": "patient_asks"}
    assert (entry["facts"], entry["reason"]) == (said, "patient_asks")
    async with database.read(cast.toscana.organisation.id) as session:
        assert await load_values(session, keyring, {kept}) == {kept: words}


async def test_discarded_messages_leave_the_list(
    desk: Visitor, cast: Cast, database: Database, keyring: Keyring
) -> None:
    message = await add_message(database, keyring, await add_source(database, cast.toscana))

    done = await desk.post(f"/desk/messages/{message.id}/discard")

    assert done.status == 303
    assert "message-row" not in (await desk.get("/desk/messages")).text
    assert 'data-state="discarded"' in (await desk.get(f"/desk/messages/{message.id}")).text
    entry = await last_act(database, cast.toscana, Act.CUP_MESSAGE_DISCARDED)
    assert (entry["actor"], entry["role"]) == (cast.toscana.desk.id, "desk")


# ---- files -----------------------------------------------------------------------------


def left_behind() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("accanto-upload-*"))


async def test_good_rows_are_in_and_wrong_ones_are_named(
    desk: Visitor, cast: Cast, database: Database
) -> None:
    before = left_behind()
    source = await add_source(database, cast.toscana, "cup-file")
    text = (GOOD + ROW_WITHOUT_CODE).format(clinician=cast.toscana.clinician.code)

    answer = await upload(desk, "/desk/upload", text.encode(), source.id)

    assert answer.status == 200
    assert answer.text.count('data-testid="upload-error"') == 1
    assert "codice_prenotazione" in answer.text
    assert "manca" in answer.text
    async with database.read(cast.toscana.organisation.id) as session:
        codes = list(await session.scalars(select(Appointment.booking_code)))
        rows = list(await session.scalars(select(InboxMessage).order_by(InboxMessage.line)))
    assert codes == ["PRN-1"]
    assert {row.source_id for row in rows} == {source.id}
    assert [row.state for row in rows] == [MessageState.APPLIED, MessageState.QUARANTINED]
    entry = await last_act(database, cast.toscana, Act.CUP_FILE_UPLOADED)
    facts = entry["facts"]
    assert isinstance(facts, dict)
    assert (facts["wrong_rows"], facts["source"]) == (1, "cup-file")
    assert "Verdi" not in str(await acts(database, cast.toscana))
    assert left_behind() == before


async def test_files_that_are_none_are_refused_in_words(
    desk: Visitor, cast: Cast, database: Database
) -> None:
    before = left_behind()
    source = await add_source(database, cast.toscana, "cup-file")
    foreign = await add_source(database, cast.emilia, "cup-file")

    empty = await upload(desk, "/desk/upload", b"", source.id)
    other = await upload(desk, "/desk/upload", GOOD.encode(), foreign.id)
    huge = await upload(desk, "/desk/upload", b"x" * (LONGEST_UPLOAD_BYTES + 1), source.id)
    not_a_form = await desk.post("/desk/upload", source=source.id)

    assert [one.status for one in (empty, other, huge, not_a_form)] == [400, 404, 400, 400]
    assert "Prima scelga un file" in empty.text
    assert "Il file supera i 50 MB" in huge.text
    assert left_behind() == before
    async with database.read(cast.toscana.organisation.id) as session:
        assert (await session.scalars(select(Appointment))).all() == []


async def test_a_message_is_read_again_after_its_cause_is_mended(
    site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    """This CUP writes the booking code in a segment of its own: the message waits until the
    settings say so."""
    source = await add_source(database, cast.toscana)
    raw = SIU.read_bytes().replace(b"SCH|", b"ZBK|PRN-77\rSCH|")
    raw = re.sub(rb"SCH\|[^|]*\|[^|]*\|", b"SCH|||", raw)
    message = await add_message(database, keyring, source, raw=raw)
    administrator = await site.staff(cast.toscana.administrator)
    first = await administrator.post(f"/admin/quarantine/{message.id}/replay")
    assert first.location == "/admin/quarantine?tried=1&taken=0"
    page = await administrator.get(f"/admin/sources/{source.id}")
    seen = page.text.split('name="seen" value="')[1].split('"')[0]
    await administrator.post(
        f"/admin/sources/{source.id}",
        seen=seen, name="", connection="{}", csv_delimiter="", csv_encoding="utf-8",
        csv_columns="", hl7_paths="booking_code = ZBK-1", words="",
    )  # fmt: skip

    one = await administrator.post(f"/admin/quarantine/{message.id}/replay")
    again = await administrator.post(f"/admin/quarantine/{message.id}/replay")

    assert one.location == "/admin/quarantine?tried=1&taken=1"
    assert again.status == 409
    async with database.read(cast.toscana.organisation.id) as session:
        row = await session.get_one(InboxMessage, message.id)
        assert [row.state, row.booking_code] == [MessageState.APPLIED, "PRN-77"]
    entry = await last_act(database, cast.toscana, Act.CUP_MESSAGE_REPLAYED)
    assert entry["actor"] == cast.toscana.administrator.id


async def test_all_messages_of_a_reason_are_read_again(
    site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    source = await add_source(database, cast.toscana)
    for reason in (Reason.MISSING, Reason.MISSING, Reason.TOO_LARGE):
        await add_message(database, keyring, source, reason=reason)
    administrator = await site.staff(cast.toscana.administrator)

    answer = await administrator.post("/admin/quarantine/replay", reason="missing")

    assert answer.location == "/admin/quarantine?tried=2&taken=0"
    page = (await administrator.get(answer.location)).text
    assert "2 messaggi riletti;" in page
    assert "0 presi in carico." in page
