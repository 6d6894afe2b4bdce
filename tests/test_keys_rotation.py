"""Rotation beside a server: nothing becomes unreadable, nothing stays under an older key."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from server.audit import Act
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import (
    FORMER_ROOT_FILE,
    INSTALLATION_FILE,
    KEK,
    Keyring,
    Place,
    RootKeyWrong,
    load_keyring,
)
from server.keys.rootchange import rewrap_under_root, rotate_root
from server.keys.rotation import check_keys, load_versions, rewrap, rotate
from server.models import DataKey, LogEntry, OrganisationKey
from tests.conftest import Cast
from tests.rotations import Records, kill_rotations

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
TEXT = b"Segreto clinico quarantadue"


@pytest.fixture
def place(cast: Cast) -> Place:
    return Place(cast.toscana.organisation.id, "note", "v1", "text", 1, visit="v1")


def another(place: Place, visit: str) -> Place:
    return Place(place.organisation, "note", visit, "text", 1, visit=visit)


async def seal_for(database: Database, keyring: Keyring, place: Place) -> bytes:
    async with database.begin(place.organisation) as session:
        return await keyring.seal(session, place, TEXT)


async def opens(database: Database, keyring: Keyring, place: Place, sealed: bytes) -> bool:
    async with database.read(place.organisation) as session:
        return await keyring.unseal(session, place, sealed) == TEXT


async def load_acts(database: Database) -> list[str]:
    async with database.read(EVERY_ORGANISATION) as session:
        return [
            json.loads(text)["action"] for text in await session.scalars(select(LogEntry.entry))
        ]


async def version_of(database: Database, place: Place) -> int | None:
    async with database.read(place.organisation) as session:
        return await session.scalar(select(DataKey.kek_version).where(DataKey.owner == place.owner))


async def test_a_server_that_runs_wraps_by_the_newest_version(
    database: Database, keyring: Keyring, data_dir: Path, place: Place
) -> None:
    await seal_for(database, keyring, place)

    assert await rotate(database, load_keyring(data_dir), place.organisation, NOW) == 2
    await seal_for(database, keyring, another(place, "v2"))

    assert await version_of(database, place) == 1
    assert await version_of(database, another(place, "v2")) == 2
    assert Act.KEY_ROTATED in await load_acts(database)


async def test_rewrapping_leaves_one_version_and_opens_nothing_sealed(
    database: Database, keyring: Keyring, data_dir: Path, place: Place
) -> None:
    places = [another(place, f"v{number}") for number in range(25)]
    sealed = [await seal_for(database, keyring, one) for one in places]
    other = load_keyring(data_dir)
    await rotate(database, other, place.organisation, NOW)
    await rotate(database, other, place.organisation, NOW)

    done = await rewrap(database, other, place.organisation, NOW, batch=10)

    assert (done.keys, done.removed, done.broken) == (25, [1, 2], [])
    async with database.read(place.organisation) as session:
        assert await load_versions(session, place.organisation) == [3]
    for keys in (keyring, load_keyring(data_dir)):
        for one, content in zip(places, sealed, strict=True):
            assert await opens(database, keys, one, content)
    assert await load_acts(database) == [Act.KEY_ROTATED, Act.KEY_ROTATED, Act.KEYS_REWRAPPED]


@pytest.mark.parametrize("template", ["postgresql"], indirect=True)
async def test_rewrapping_waits_for_one_who_wraps_by_the_old_version(
    database: Database, keyring: Keyring, data_dir: Path, place: Place
) -> None:
    """SQLite has one writer at a time."""
    other = load_keyring(data_dir)
    async with database.begin(place.organisation) as session:
        sealed = await keyring.seal(session, place, TEXT)
        await rotate(database, other, place.organisation, NOW)
        work = asyncio.create_task(rewrap(database, other, place.organisation, NOW))
        await asyncio.wait([work], timeout=1)
        assert not work.done()
    done = await work

    assert (done.keys, done.removed) == (1, [1])
    assert await opens(database, load_keyring(data_dir), place, sealed)


async def test_key_that_does_not_open_keeps_its_version_and_is_named(
    database: Database, keyring: Keyring, data_dir: Path, place: Place
) -> None:
    sealed = await seal_for(database, keyring, another(place, "v2"))
    await seal_for(database, keyring, place)
    async with database.begin(place.organisation) as session:
        await session.execute(
            update(DataKey).where(DataKey.owner == place.owner).values(wrapped=bytes(60))
        )
    await rotate(database, keyring, place.organisation, NOW)

    done = await rewrap(database, keyring, place.organisation, NOW)

    assert (done.keys, done.removed, len(done.broken)) == (1, [], 1)
    assert await opens(database, load_keyring(data_dir), another(place, "v2"), sealed)


async def test_new_root_key_wraps_everything_and_the_former_one_goes(
    database: Database, keyring: Keyring, data_dir: Path, place: Place
) -> None:
    sealed = await seal_for(database, keyring, place)
    derived = keyring.derive("socket-tickets")

    new = await rotate_root(database, load_keyring(data_dir), data_dir, NOW)
    with pytest.raises(CommandFailed, match="is not finished"):
        await rotate_root(database, load_keyring(data_dir), data_dir, NOW)
    between = load_keyring(data_dir)
    assert await opens(database, between, place, sealed)
    count = await rewrap_under_root(database, load_keyring(data_dir), data_dir, NOW)

    after = load_keyring(data_dir)
    assert (count, after.roots.current.id, after.roots.former) == (6, new, [])
    assert not (data_dir / FORMER_ROOT_FILE).exists()
    assert after.derive("socket-tickets") == between.derive("socket-tickets") == derived
    unaware = Keyring(keyring.roots, keyring.installation)
    for keys in (after, unaware):
        assert await opens(database, keys, place, sealed)


async def test_altered_key_of_an_organisation_is_found_at_the_start(
    database: Database, keyring: Keyring, cast: Cast, data_dir: Path
) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        await check_keys(keyring, session)
        kek = await session.get_one(OrganisationKey, (cast.toscana.organisation.id, KEK, 1))
        join = await session.get_one(OrganisationKey, (cast.toscana.organisation.id, "join", 1))
        kek.wrapped = join.wrapped
        await session.flush()
        with pytest.raises(CommandFailed, match="The kek of the organisation"):
            await check_keys(keyring, session)

    stranger = load_keyring(data_dir.parent / "elsewhere", create=True)
    async with database.read(EVERY_ORGANISATION) as session:
        with pytest.raises(RootKeyWrong, match="accanto keys restore") as caught:
            await check_keys(stranger, session)
    assert keyring.roots.current.id in str(caught.value)
    assert not any(part in str(caught.value) for part in _spellings(stranger, keyring))


def _spellings(*keyrings: Keyring) -> list[str]:
    keys = [bytes(keyring.installation) for keyring in keyrings]
    return [text for key in keys for text in (key.hex()[:16], str(bytes(key))[2:12])]


async def test_damaged_installation_secret_is_a_sentence(
    database: Database, keyring: Keyring, data_dir: Path, cast: Cast
) -> None:
    await rotate_root(database, keyring, data_dir, NOW)
    (data_dir / INSTALLATION_FILE).write_text("{")

    with pytest.raises(CommandFailed, match="put its copy back"):
        load_keyring(data_dir)


@pytest.mark.timeout(400)
async def test_killed_at_any_point_under_writes_nothing_is_lost(
    database: Database, database_url: str, keyring: Keyring, data_dir: Path, cast: Cast
) -> None:
    organisations = (cast.toscana.organisation.id, cast.emilia.organisation.id)
    records = Records(database, data_dir, organisations, keyring, random.Random(11))

    killed = await kill_rotations(database_url, records, points=10, seed=5)

    assert killed >= 8
    assert records.reads >= 5
    async with database.read(EVERY_ORGANISATION) as session:
        assert await session.scalar(select(func.count()).select_from(DataKey)) > 60 / 2
