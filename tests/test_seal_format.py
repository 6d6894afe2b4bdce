"""``FORMAT.md``, its vectors and the code say the same."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings import store, vault
from recordings.store import SealedFolder
from recordings.vault import SealBroken, unseal
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.keyring import (
    Keyring,
    Place,
    check_value,
    data_key_aad,
    load_keyring,
    organisation_key_aad,
)
from server.models import (
    Appointment,
    DataKey,
    Organisation,
    OrganisationKey,
    Report,
    Submission,
    Visit,
)
from tests.conftest import Cast, MakeVisit
from tests.sealground import ALL_OPENERS, NOW, Column, collect, fill

ROOT = Path(__file__).parent.parent
FORMAT = (ROOT / "recordings" / "FORMAT.md").read_text(encoding="utf-8")
VECTORS = json.loads((ROOT / "tests" / "vectors" / "seal.json").read_text(encoding="utf-8"))
VALUES = {value["name"]: value for value in VECTORS["values"]}


def decode(text: str) -> bytes:
    return base64.b64decode(text)


# ---- the text and the code ---------------------------------------------------------------


def test_sizes_of_the_text_are_those_of_the_code() -> None:
    assert f'"TV1" (3) | suite (1) | key id ({vault.KEY_ID_BYTES}) | message' in FORMAT
    assert b"TV1" + bytes([1]) == vault.HEADER
    assert f"salt ({vault.SALT_BYTES}, random) | commitment ({vault.COMMITMENT_BYTES})" in FORMAT
    assert f"chunks of {vault.CHUNK_BYTES} bytes" in FORMAT
    assert f"{vault.PREFIX_BYTES} + {vault.SEALED_CHUNK_BYTES} · n" in FORMAT
    assert f"at least {vault.PREFIX_BYTES + vault.TAG_BYTES} bytes" in FORMAT
    assert f"the {store._HEAD_BYTES + vault.PREFIX_BYTES} bytes\n  before the chunks" in FORMAT
    assert f"`{vault._INFO[:-1].decode()}` | 0x00 | salt | context" in FORMAT


def test_associated_data_of_the_text_is_that_of_the_code() -> None:
    organisation = OrganisationId("{organisation}")
    written = FORMAT.replace("\\|", "|")

    numbered = organisation_key_aad(organisation, "{purpose}", 7).decode()
    assert f"`{numbered.replace('7', '{version}')}`" in written
    numbered = data_key_aad(organisation, "{owner}", "{id}", 7).decode()
    assert f"`{numbered.replace('7', '{kek_version}')}`" in written


def _rows_of_the_text() -> Iterator[list[str]]:
    table = FORMAT.split("<!-- places -->")[1].split("<!-- /places -->")[0]
    for line in table.strip().splitlines()[2:]:
        yield [cell.strip().strip("`") for cell in line.strip("|").split("|")]


def test_the_text_has_every_sealed_column() -> None:
    columns = {f"{column.class_.__tablename__}.{column.key}" for column in ALL_OPENERS}

    assert {row[0] for row in _rows_of_the_text()} == columns


async def _facts_of(session: AsyncSession, row: Any) -> dict[str, Any]:
    """What the names of the text stand for, of one row."""
    facts = {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}
    if isinstance(row, Appointment):
        of_it = select(Visit.id).where(Visit.appointment_id == row.id)
        facts["visit.id"] = await session.scalar(of_it)
    if isinstance(row, Submission):
        facts["report.visit_id"] = (await session.get_one(Report, row.report_id)).visit_id
    return facts


def _fill_in(pattern: str, facts: dict[str, Any]) -> str:
    """``user:{user_id}`` with the value of the row; a plain name or number stands for itself."""
    if pattern == "–":
        return ""
    named = re.fullmatch(r"[a-z_.]+", pattern)
    if named:
        return str(facts[pattern])
    return re.sub(
        r"\{([a-z_.]+)(?::([^}]+))?\}",
        lambda found: format(facts[found[1]], found[2] or ""),
        pattern,
    )


async def test_every_sealed_value_opens_in_the_place_that_the_text_says(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    await fill(database, keyring, cast, make_visit)
    said = {row[0]: row[1:] for row in _rows_of_the_text()}
    values = await collect(database)
    opened: set[Column] = set()

    async with database.read(EVERY_ORGANISATION) as session:
        for value in values:
            name = f"{value.column.class_.__tablename__}.{value.column.key}"
            kind, *patterns = said[name]
            row = await session.get_one(value.column.class_, value.key)
            facts = await _facts_of(session, row)
            object_id, field, version, visit, owner = (
                pattern if index == 1 else _fill_in(pattern, facts)
                for index, pattern in enumerate(patterns)
            )
            place = Place(row.organisation_id, kind, object_id, field, int(version), visit=visit)
            of_it = select(DataKey).filter_by(organisation_id=row.organisation_id, owner=owner)
            key_row = (await session.scalars(of_it)).one()
            key = await keyring.find_data_key(session, row.organisation_id, key_row.id)
            assert value.sealed[:20] == b"TV1\x01" + key_row.id.encode()
            unseal(key, place.context(key_row.id), value.sealed[20:])
            opened.add(value.column)

    assert opened == set(ALL_OPENERS)


# ---- the vectors -------------------------------------------------------------------------


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """The vectors are bytes: one database is enough where the engine does not matter."""
    return sqlite_template


@pytest.fixture
def old_keyring(data_dir: Path) -> Keyring:
    """With the root key of the vectors."""
    (data_dir / "keys").mkdir()
    path = data_dir / "keys" / "root.key"
    path.write_bytes(decode(VECTORS["root_key"]))
    path.chmod(0o600)
    return load_keyring(data_dir)


async def _add_keys(session: AsyncSession, data_keys: list[dict[str, Any]]) -> None:
    organisation = VECTORS["organisation_keys"][0]["organisation_id"]
    session.add(Organisation(id=organisation, code="ausl-prova", name="Prova", desk_phone="1"))
    await session.flush()
    for row in VECTORS["organisation_keys"]:
        session.add(OrganisationKey(**row | {"wrapped": decode(row["wrapped"])}))
    for row in data_keys:
        now = NOW
        shredded = None if row["wrapped"] else now
        told = {"wrapped": decode(row["wrapped"]), "created_at": now, "shredded_at": shredded}
        session.add(DataKey(**row | told))


def _place_of(value: dict[str, Any], change: dict[str, Any] | None = None) -> Place:
    return Place(**value["place"] | (change or {}))


async def test_what_was_sealed_then_still_opens(
    database: Database, old_keyring: Keyring, tmp_path: Path
) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        await _add_keys(session, VECTORS["data_keys"])
        for value in VALUES.values():
            plain = await old_keyring.unseal(session, _place_of(value), decode(value["sealed"]))
            assert len(plain) == value["bytes"]
            assert hashlib.sha256(plain).hexdigest() == value["sha256"]
            assert encode_or_nothing(plain) == value.get("plaintext")
        await session.rollback()
    root = decode(VECTORS["root_key"])
    assert {row["root_id"] for row in VECTORS["organisation_keys"]} == {check_value(root)}


def encode_or_nothing(plain: bytes) -> str | None:
    return base64.b64encode(plain).decode() if len(plain) <= 100 else None


async def test_a_file_of_then_still_opens(
    database: Database, old_keyring: Keyring, tmp_path: Path
) -> None:
    value = VALUES["a file of the store"]
    folder = SealedFolder(tmp_path / "store")
    (tmp_path / "store" / "one").write_bytes(decode(value["sealed"]))
    key_id = folder.read_key_id("one")
    async with database.begin(EVERY_ORGANISATION) as session:
        await _add_keys(session, VECTORS["data_keys"])
        place = _place_of(value)
        key = await old_keyring.find_data_key(session, place.organisation, key_id)
        await session.rollback()

    plain = b"".join(folder.read("one", key, place.context(key_id)))

    assert hashlib.sha256(plain).hexdigest() == value["sha256"]


def _edit(sealed: bytes, edits: list[dict[str, Any]]) -> bytes:
    for edit in edits:
        match edit:
            case {"flip": [offset, bit]}:
                altered = bytearray(sealed)
                altered[offset] ^= 1 << bit
                sealed = bytes(altered)
            case {"cut": length}:
                sealed = sealed[:length]
            case {"append": more}:
                sealed += decode(more)
            case {"chunks": order}:
                chunks = [sealed[at : at + 16_400] for at in range(76, len(sealed), 16_400)]
                sealed = sealed[:76] + b"".join(chunks[number] for number in order)
            case _:
                raise AssertionError(edit)
    return sealed


async def test_every_vector_of_a_refusal_is_refused(
    database: Database, old_keyring: Keyring, data_dir: Path
) -> None:
    opened = []
    for refusal in VECTORS["refusals"]:
        value, keyring = VALUES[refusal["of"]], load_keyring(data_dir)
        rows = {row["id"]: row for row in [*VECTORS["data_keys"], *refusal.get("data_keys", [])]}
        async with database.begin(EVERY_ORGANISATION) as session:
            await _add_keys(session, list(rows.values()))
            place = _place_of(value, refusal.get("place"))
            sealed = _edit(decode(value["sealed"]), refusal.get("edits", []))
            try:
                await keyring.unseal(session, place, sealed)
            except SealBroken:
                pass
            else:
                opened.append(refusal["name"])
            await session.rollback()

    assert opened == []
    assert len(VECTORS["refusals"]) > 40
