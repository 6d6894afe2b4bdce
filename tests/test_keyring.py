"""Keys stay in their organisation, sealed fields in their place, the root key with its owner."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.vault import SealBroken, unseal
from server.db import Database, OrganisationId
from server.errors import CommandFailed
from server.keyring import (
    ROOT_KEY_FILE,
    Keyring,
    Place,
    RootKeyWrong,
    Secret,
    Wrapper,
    load_keyring,
)
from server.keyring.cache import KeyCache
from server.models import DataKey, OrganisationKey
from tests.conftest import Cast

TEXT = b"Segreto clinico quarantadue"
HEADER_BYTES = 4 + 16 + 24 + 32
"""Format and suite, key id, salt, commitment."""


@pytest.fixture
def place(cast: Cast) -> Place:
    return Place(cast.toscana.organisation.id, "note", "visit1", "text", 3, visit="visit1")


@pytest.fixture
async def session(database: Database, cast: Cast) -> AsyncIterator[AsyncSession]:
    async with database.begin(cast.toscana.organisation.id) as session:
        yield session


async def test_field_opens_in_its_place(
    keyring: Keyring, session: AsyncSession, place: Place
) -> None:
    sealed = await keyring.seal(session, place, TEXT)

    assert await keyring.unseal(session, place, sealed) == TEXT
    assert TEXT not in sealed


@pytest.mark.parametrize(
    "change",
    [
        {"object_type": "check_in"},
        {"object_id": "visit2"},
        {"field": "answers"},
        {"version": 4},
        {"version": 2},
        {"visit": "visit2"},
        {"visit": ""},
    ],
    ids=str,
)
async def test_field_moved_to_another_place_is_refused(
    keyring: Keyring, session: AsyncSession, place: Place, change: dict[str, str]
) -> None:
    sealed = await keyring.seal(session, place, TEXT)

    with pytest.raises(SealBroken):
        await keyring.unseal(session, replace(place, **change), sealed)


async def test_field_moved_to_another_organisation_is_refused(
    keyring: Keyring, database: Database, cast: Cast, session: AsyncSession, place: Place
) -> None:
    sealed = await keyring.seal(session, place, TEXT)
    there = replace(place, organisation=cast.emilia.organisation.id)

    async with database.read(cast.emilia.organisation.id) as other:
        with pytest.raises(SealBroken):
            await keyring.unseal(other, there, sealed)
    async with database.read(cast.emilia.organisation.id) as other:
        with pytest.raises(SealBroken):
            await _fresh(keyring).unseal(other, there, sealed)


def test_no_two_places_have_the_same_context() -> None:
    organisation = OrganisationId("o")
    near = [
        Place(organisation, "a", "bc", "d", 1),
        Place(organisation, "ab", "c", "d", 1),
        Place(organisation, "a", "b", "cd", 1),
        Place(organisation, "a", "bc", "d", 11),
        Place(organisation, "a", "bc", "d", 1, visit="1"),
        Place(OrganisationId("oa"), "", "bc", "d", 1),
    ]

    assert len({place.context("k") for place in near}) == len(near)
    assert near[0].context("k1") != near[0].context("k2")


async def test_every_bit_of_the_header_and_the_first_bytes_is_guarded(
    keyring: Keyring, session: AsyncSession, place: Place
) -> None:
    sealed = await keyring.seal(session, place, TEXT)

    for bit in range((HEADER_BYTES + 8) * 8):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            await keyring.unseal(session, place, bytes(altered))


async def test_cut_and_extended_fields_are_refused(
    keyring: Keyring, session: AsyncSession, place: Place
) -> None:
    sealed = await keyring.seal(session, place, TEXT)

    for broken in (b"", sealed[:3], sealed[:20], sealed[:-1], sealed[1:], sealed + b"\0"):
        with pytest.raises(SealBroken):
            await keyring.unseal(session, place, broken)


async def test_deleting_the_key_shreds_the_field(
    keyring: Keyring, session: AsyncSession, place: Place
) -> None:
    sealed = await keyring.seal(session, place, TEXT)
    await session.delete(await session.scalar(select(DataKey).where(DataKey.owner == place.owner)))
    await session.flush()

    with pytest.raises(SealBroken):
        await _fresh(keyring).unseal(session, place, sealed)


async def test_wrapped_keys_cannot_change_their_owner_or_organisation(
    keyring: Keyring, database: Database, cast: Cast, session: AsyncSession, place: Place
) -> None:
    sealed = await keyring.seal(session, place, TEXT)
    row = await session.scalar(select(DataKey).where(DataKey.owner == place.owner))
    assert row is not None
    row.owner = "visit:visit2"
    await session.flush()

    with pytest.raises(SealBroken):
        await _fresh(keyring).unseal(session, place, sealed)

    organisations = (cast.toscana.organisation.id, cast.emilia.organisation.id)
    stolen = await session.get_one(OrganisationKey, (organisations[0], "kek", 1))
    async with database.read(organisations[1]) as other:
        target = await other.get_one(OrganisationKey, (organisations[1], "kek", 1))
        target.wrapped = stolen.wrapped
        with other.no_autoflush, pytest.raises(SealBroken):
            await _fresh(keyring).load_secret(other, organisations[1], "kek")


async def test_other_root_key_opens_nothing(
    session: AsyncSession, keyring: Keyring, place: Place, tmp_path: Path
) -> None:
    sealed = await keyring.seal(session, place, TEXT)
    stranger = load_keyring(tmp_path / "elsewhere", create=True)

    with pytest.raises(RootKeyWrong, match="does not open this database"):
        await stranger.unseal(session, place, sealed)


async def test_secrets_differ_by_purpose_and_organisation(
    keyring: Keyring, database: Database, cast: Cast
) -> None:
    found: set[bytes] = set()
    for team in (cast.toscana, cast.emilia):
        async with database.read(team.organisation.id) as session:
            for purpose in ("kek", "join", "index"):
                found.add(await keyring.load_secret(session, team.organisation.id, purpose))

    found |= {keyring.derive("socket-tickets"), keyring.derive("something-else")}

    assert len(found) == 8
    assert {len(secret) for secret in found} == {32}


async def test_blind_index_finds_equals_inside_one_organisation_only(
    keyring: Keyring, database: Database, cast: Cast
) -> None:
    found: list[str] = []
    for team, field, value in (
        (cast.toscana, "codice_fiscale", "BRTRSO48C52D612U"),
        (cast.toscana, "codice_fiscale", "BRTRSO48C52D612U"),
        (cast.toscana, "codice_fiscale", "BRTRSO48C52D612V"),
        (cast.toscana, "phone", "BRTRSO48C52D612U"),
        (cast.emilia, "codice_fiscale", "BRTRSO48C52D612U"),
    ):
        async with database.read(team.organisation.id) as session:
            found.append(await keyring.blind_index(session, team.organisation.id, field, value))

    assert found[0] == found[1]
    assert len(set(found)) == 4


async def test_many_fields_of_one_visit_share_one_key(
    keyring: Keyring, session: AsyncSession, place: Place
) -> None:
    for version in range(5):
        await keyring.seal(session, replace(place, version=version), TEXT)
    await keyring.seal(session, replace(place, object_type="check_in", field="answers"), TEXT)

    keys = list(await session.scalars(select(DataKey).where(DataKey.owner == "visit:visit1")))

    assert len(keys) == 1


async def test_warm_keys_are_the_same_keys(
    database: Database, keyring: Keyring, place: Place
) -> None:
    async with database.begin(place.organisation) as session:
        sealed = await keyring.seal(session, place, TEXT)
    warmed = _fresh(keyring)
    async with database.read(place.organisation) as session:
        await warmed.warm(session, place.organisation, [place.owner, "visit:none"])
    async with database.begin(place.organisation) as session:
        await session.execute(update(DataKey).values(wrapped=b""))

        assert await warmed.unseal(session, place, sealed) == TEXT
        with pytest.raises(SealBroken):
            await _fresh(keyring).unseal(session, place, sealed)


def test_root_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = load_keyring(tmp_path, create=True)
    path = tmp_path / ROOT_KEY_FILE

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_keyring(tmp_path, create=True).derive("x") == first.derive("x")


def test_missing_open_and_short_root_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="Cannot read the root key"):
        load_keyring(tmp_path)

    load_keyring(tmp_path, create=True)
    path = tmp_path / ROOT_KEY_FILE
    for mode in (0o640, 0o604, 0o644):
        path.chmod(mode)
        with pytest.raises(CommandFailed, match="chmod 600"):
            load_keyring(tmp_path)

    path.chmod(0o600)
    os.truncate(path, 31)
    with pytest.raises(CommandFailed, match="32 bytes"):
        load_keyring(tmp_path)


def _fresh(keyring: Keyring) -> Keyring:
    """The same root key with nothing remembered, as after a restart."""
    return Keyring(keyring.roots, keyring.installation)


async def test_a_key_of_a_rolled_back_act_is_not_used_again(
    database: Database, keyring: Keyring, cast: Cast, data_dir: Path
) -> None:
    organisation = cast.toscana.organisation.id
    place = Place(organisation, "note", "n1", "text", 1, visit="v1")
    async with database.read(organisation) as session:
        await keyring.seal(session, place, b"lost")

    async with database.begin(organisation) as session:
        sealed = await keyring.seal(session, place, b"kept")

    after_restart = load_keyring(data_dir)
    async with database.read(organisation) as session:
        assert await after_restart.unseal(session, place, sealed) == b"kept"


async def test_key_for_bytes_outside_the_database(
    keyring: Keyring, database: Database, cast: Cast, session: AsyncSession, place: Place
) -> None:
    key_id, key = await keyring.data_key(session, place)
    sealed = await keyring.seal(session, place, TEXT)

    assert await keyring.data_key(session, place) == (key_id, key)
    assert await _fresh(keyring).find_data_key(session, place.organisation, key_id) == key
    assert sealed[4:20] == key_id.encode()
    assert unseal(key, place.context(key_id), sealed[20:]) == TEXT
    async with database.read(cast.emilia.organisation.id) as other:
        for wanted in (key_id, "0" * 16):
            with pytest.raises(SealBroken):
                await keyring.find_data_key(other, cast.emilia.organisation.id, wanted)


def test_a_thousand_keys_are_kept_for_five_minutes() -> None:
    now = 0.0
    cache = KeyCache(lambda: now)
    organisation = OrganisationId("o")
    for number in range(1001):
        cache.keep(organisation, f"visit:{number}", f"id{number}", Secret(b"k"))

    assert len(cache) == 1000
    assert cache.find(organisation, "id0") is None
    assert cache.find_of(organisation, "visit:1000") == ("id1000", b"k")
    assert cache.find(OrganisationId("p"), "id1000") is None
    cache.forget(organisation, "visit:1000")
    assert cache.find(organisation, "id1000") is None
    now = 299.0
    assert cache.find(organisation, "id999") == b"k"
    now = 300.0
    assert cache.find(organisation, "id999") is None
    assert len(cache) == 0


def test_keys_do_not_show_themselves(keyring: Keyring, data_dir: Path) -> None:
    key = (data_dir / ROOT_KEY_FILE).read_bytes()
    secret = Secret(key)
    shown = [
        repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s %r" % (secret, secret),  # noqa: UP031
        repr(keyring), repr(keyring.roots.current), repr({"key": secret}), repr(Wrapper(key)),
        str(vars(keyring)), repr(keyring.derive("x")),
    ]  # fmt: skip

    assert not any(repr(key)[2:10] in text or key.hex()[:8] in text for text in shown)
    assert "<sealed>" in shown[0]


def test_server_closes_its_memory() -> None:
    """PR_GET_DUMPABLE is 3 in <linux/prctl.h>."""
    code = (
        "import ctypes, resource; from server.hygiene import close_memory; close_memory();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "0 (0, 0)\n"
