"""The session log as a zip: whole, of one visit, and of a log that somebody has tampered with."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest
from sqlalchemy import delete, text, update

from server.audit import Act, ActorRole, Entry, append
from server.db import Database, OrganisationId
from server.keyring import Keyring
from server.logexport import NoKey, NothingSigned, settle_log, write_log_bundle, write_visit_bundle
from server.logsigner.client import SignerProcess
from server.logsigner.memory import Memory
from server.models import LogEntry, LogTile, LogValue
from server.sealed.logvalue import keep_value
from server.tlog.note import open_note, parse_verifier
from server.tlog.tree import check_inclusion, hash_leaf, root_of, split_hashes
from tests.conftest import Cast, MakeVisit

NOW = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
REALM = "visite.example.org"


class Log:
    """One organisation's log with its signer."""

    def __init__(self, database: Database, organisation: OrganisationId, folder: Path) -> None:
        self.database = database
        self.organisation = organisation
        self.folder = folder
        self.signer = SignerProcess(folder / "signer")
        self.memory = Memory(folder / "signer" / organisation)

    async def write(self, count: int, visit: str = "visit1", **facts: str) -> None:
        async with self.database.begin(self.organisation) as session:
            entries = [
                Entry(NOW, Act.WAITING, ActorRole.PATIENT, "device1", visit, facts | {"n": number})
                for number in range(count)
            ]
            await append(session, self.organisation, *entries)

    async def settle(self) -> list[str]:
        return await settle_log(self.database, self.signer, REALM, self.organisation, NOW)

    async def export(self, keyring: Keyring | None = None) -> Path:
        path = self.folder / "log.zip"
        async with self.database.read(self.organisation) as session:
            await write_log_bundle(
                session, keyring, self.memory, self.organisation, path, name="ausl-toscana", now=NOW
            )
        return path

    async def export_visit(self, keyring: Keyring | None, visit: str) -> Path:
        path = self.folder / "visit.zip"
        async with self.database.read(self.organisation) as session:
            extra = {"summary.pdf": b"%PDF-"}
            await write_visit_bundle(
                session, keyring, self.memory, self.organisation, visit, path, extra, now=NOW
            )
        return path


@pytest.fixture
async def log(database: Database, cast: Cast, tmp_path: Path) -> AsyncIterator[Log]:
    made = Log(database, cast.toscana.organisation.id, tmp_path)
    yield made
    await made.signer.stop()


def read_lines(path: Path, name: str) -> list[str]:
    with ZipFile(path) as file:
        return file.read(name).decode().split("\n")[:-1]


async def test_export_holds_entries_leaves_and_what_signs_them(log: Log) -> None:
    for count in (1, 40, 300):
        await log.write(count)
        assert await log.settle() == []
    await log.write(2)

    path = await log.export()

    with ZipFile(path) as file:
        manifest = json.loads(file.read("manifest.json"))
        leaves = split_hashes(file.read("leaves.bin"))
    verifier = parse_verifier(read_lines(path, "log.vkey")[0])
    notes = [
        open_note(json.loads(line), verifier) for line in read_lines(path, "checkpoints.jsonl")
    ]
    lines = [line.partition(" ") for line in read_lines(path, "entries.jsonl")]
    assert [int(seq) for seq, _, _ in lines] == list(range(341))
    assert [hash_leaf(entry.encode()) for _, _, entry in lines] == leaves
    assert [(note.size, note.root) for note in notes] == [
        (size, root_of(leaves[:size])) for size in (1, 41, 341)
    ]
    assert manifest == {
        "format": "accanto-log-1",
        "kind": "log",
        "origin": f"{REALM}/log/ausl-toscana",
        "organisation": "ausl-toscana",
        "size": 341,
        "made_at": "2026-11-26T09:40:00Z",
    }


async def test_bundle_of_a_visit_proves_its_entries_and_opens_its_values(
    log: Log, keyring: Keyring, make_visit: MakeVisit, cast: Cast
) -> None:
    visit = await make_visit(cast.toscana)
    async with log.database.begin(log.organisation) as session:
        digest = await keep_value(session, keyring, log.organisation, "Perché piove", visit.id)
        other = await keep_value(session, keyring, log.organisation, "Altro", None)
    await log.write(300)
    await log.write(3, visit.id, why=digest)
    await log.write(300, why=other)
    await log.settle()

    path = await log.export_visit(keyring, visit.id)

    verifier = parse_verifier(read_lines(path, "log.vkey")[0])
    (newest,) = (
        open_note(json.loads(note), verifier) for note in read_lines(path, "checkpoints.jsonl")
    )
    entries = dict(line.split(" ", 1) for line in read_lines(path, "entries.jsonl"))
    proofs = [json.loads(line) for line in read_lines(path, "proofs.jsonl")]
    assert [proof["seq"] for proof in proofs] == [int(seq) for seq in entries]
    for proof in proofs:
        leaf = hash_leaf(entries[str(proof["seq"])].encode())
        steps = [b64decode(step) for step in proof["path"]]
        check_inclusion(leaf, proof["seq"], newest.size, steps, newest.root)
    (value,) = (json.loads(line) for line in read_lines(path, "values.jsonl"))
    salted = b64decode(value["salt"]) + value["value"].encode()
    assert value["value"] == "Perché piove"
    assert b64decode(value["digest"]) == sha256(salted).digest()
    with ZipFile(path) as file:
        assert file.read("summary.pdf") == b"%PDF-"


async def test_proofs_come_from_the_signer_where_the_database_lies(
    log: Log, make_visit: MakeVisit, cast: Cast
) -> None:
    visit = await make_visit(cast.toscana)
    await log.write(400)
    await log.write(1, visit.id)
    await log.settle()
    honest = read_lines(await log.export_visit(None, visit.id), "proofs.jsonl")
    async with log.database.begin(log.organisation) as session:
        await session.execute(update(LogTile).values(hashes=bytes(256 * 32)))
        await session.execute(delete(LogEntry).where(LogEntry.seq == 399))

    assert read_lines(await log.export_visit(None, visit.id), "proofs.jsonl") == honest


async def test_nothing_is_promised_that_was_not_signed(log: Log) -> None:
    await log.write(2)
    with pytest.raises(NoKey):
        await log.export()
    await log.settle()
    with pytest.raises(NothingSigned):
        await log.export_visit(None, "unknown")
    assert not list(log.folder.glob(".*.part"))


async def test_values_that_were_erased_or_altered_are_left_out(log: Log, keyring: Keyring) -> None:
    async with log.database.begin(log.organisation) as session:
        digests = [
            await keep_value(session, keyring, log.organisation, word) for word in ("a", "b", "c")
        ]
    await log.write(1)
    await log.settle()
    kept, erased, altered = (digest.removeprefix("sha256:") for digest in digests)
    async with log.database.begin(log.organisation) as session:
        await session.execute(delete(LogValue).where(LogValue.digest == erased))
        changed = update(LogValue).where(LogValue.digest == altered)
        await session.execute(changed.values(sealed_value=b"\0" * 80))

    lines = read_lines(await log.export(keyring), "values.jsonl")

    assert [json.loads(line)["digest"] for line in lines] == [kept]


async def test_odd_rows_are_taken_out_as_they_are(log: Log) -> None:
    """Twice the same number, the largest there is, a line break, bytes that are no text."""
    await log.write(5)
    await log.settle()
    is_sqlite = log.database.engine.dialect.name == "sqlite"
    line_break, no_text = ("char(10)", "CAST(x'ff' AS TEXT)") if is_sqlite else ("chr(10)", "'-'")
    async with log.database.begin(log.organisation) as session:
        for change in (
            "DROP INDEX ix_log_entry_place",
            "UPDATE log_entry SET seq = 2 WHERE seq = 3",
            f"UPDATE log_entry SET entry = 'a' || {line_break} WHERE seq = 0",  # noqa: S608
            f"UPDATE log_entry SET entry = {no_text} WHERE seq = 1",  # noqa: S608
            "UPDATE log_entry SET seq = 9223372036854775807 WHERE seq = 4",
        ):
            await session.execute(text(change))

    lines = read_lines(await log.export(), "entries.jsonl")

    assert [line.split(" ")[0] for line in lines] == ["0", "1", "2", "2", str(2**63 - 1)]
    assert lines[0] == "0 a\r"
    assert lines[1] == ("1 \ufffd" if is_sqlite else "1 -")


@pytest.mark.parametrize("count", [0, 4])
async def test_table_with_three_columns_only_is_taken_out(log: Log, count: int) -> None:
    await log.write(4)
    await log.settle()
    async with log.database.begin(log.organisation) as session:
        await session.execute(
            text("CREATE TABLE other AS SELECT organisation, seq, entry FROM log_entry")
        )
        await session.execute(text("DROP TABLE log_entry"))
        if count:
            await session.execute(text("ALTER TABLE other RENAME TO log_entry"))

    complaints = await log.settle()
    lines = read_lines(await log.export(), "entries.jsonl")

    assert len(lines) == count
    assert any("have no number" in complaint for complaint in complaints)
