"""The root key in a transit engine: it wraps over HTTP, and never is in our hands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from recordings.vault import SealBroken
from server.backup import restore_backup, take_backup
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import INSTALLATION_FILE, ROOT_KEY_FILE, Keyring, Place, load_keyring
from server.keyring.transit import RootKeyAway, TransitRoot, version_of
from server.keys.escrow import split_root
from server.keys.rootchange import rewrap_under_root, rotate_root
from server.models import OrganisationKey
from server.settings import load_settings, save_settings
from tests.conftest import Cast
from tests.transit import TransitEngine, TransitKey, running_transit

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
TEXT = b"Segreto clinico quarantadue"


@pytest.fixture
def engine() -> Iterator[TransitEngine]:
    with running_transit() as engine:
        yield engine


@pytest.fixture
def token_file(engine: TransitEngine, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(engine.token + "\n")
    return path


@pytest.fixture
def home(engine: TransitEngine, token_file: Path, tmp_path: Path) -> Path:
    """A data folder whose root key is in the engine."""
    folder = tmp_path / "home"
    folder.mkdir()
    use_transit(folder, engine, token_file)
    return folder


def use_transit(folder: Path, engine: TransitEngine, token_file: Path) -> None:
    save_settings(folder, {"transit_url": engine.url, "transit_token_file": str(token_file)})


def test_root_key_is_never_in_our_hands(engine: TransitEngine, home: Path) -> None:
    first = load_keyring(home, create=True)

    assert not (home / ROOT_KEY_FILE).exists()
    written = (home / INSTALLATION_FILE).read_bytes()
    assert bytes(first.installation) not in written
    assert b"vault:v1:" not in written, "it is in base64"
    again = load_keyring(home)
    assert again.derive("socket-tickets") == first.derive("socket-tickets")
    keys = engine.keys["accanto"].versions
    assert not any(key in {bytes(first.installation), bytes(again.installation)} for key in keys)
    with pytest.raises(CommandFailed, match="its escrow"):
        split_root(first, NOW)


def test_wrapped_for_one_purpose_opens_for_no_other(home: Path) -> None:
    load_keyring(home, create=True)
    root = TransitRoot(load_settings(home))
    wrapped = root.wrap(b"k" * 32, b"kek of one")

    assert root.unwrap(wrapped, b"kek of one") == b"k" * 32
    for other, aad in (
        (wrapped, b"kek of another"), (wrapped[:-8] + b"AAAAAAA=", b"kek of one"),
        (b"vault:v9" + wrapped[8:], b"kek of one"), (b"no prefix", b"kek of one"),
    ):  # fmt: skip
        with pytest.raises(SealBroken):
            root.unwrap(other, aad)


def test_key_that_binds_nothing_is_refused(engine: TransitEngine, home: Path) -> None:
    engine.keys["accanto"] = TransitKey(is_derived=False)

    with pytest.raises(CommandFailed, match="derived=true"):
        load_keyring(home, create=True)


def test_every_refusal_is_a_sentence_without_the_token(
    engine: TransitEngine, home: Path, token_file: Path
) -> None:
    load_keyring(home, create=True)
    token = token_file.read_text().strip()

    def refused() -> str:
        with pytest.raises(RootKeyAway) as caught:
            load_keyring(home)
        assert token not in str(caught.value)
        return str(caught.value)

    engine.is_sealed = True
    assert "is sealed: unseal it" in refused()
    engine.is_sealed = False
    engine.token = "s.Another"
    assert f"refuses the token in {token_file}" in refused()
    token_file.write_text(engine.token)
    assert load_keyring(home)
    kept = engine.keys.pop("accanto")
    assert "There is no transit key" in refused()
    engine.keys["accanto"] = kept
    token_file.unlink()
    assert f"Cannot read the transit token {token_file}" in refused()


def test_service_that_does_not_answer_is_a_sentence(home: Path, token_file: Path) -> None:
    values = {"transit_url": "http://127.0.0.1:9", "transit_token_file": str(token_file)}
    save_settings(home, values)

    with pytest.raises(RootKeyAway, match="does not answer"):
        load_keyring(home)


def test_lost_installation_secret_is_not_replaced(home: Path) -> None:
    load_keyring(home, create=True)
    (home / INSTALLATION_FILE).unlink()

    with pytest.raises(CommandFailed, match="put its copy back"):
        load_keyring(home)


async def test_moving_from_the_file_to_the_engine_and_a_new_version_there(
    database: Database, keyring: Keyring, data_dir: Path, cast: Cast,
    engine: TransitEngine, token_file: Path,
) -> None:  # fmt: skip
    place = Place(cast.toscana.organisation.id, "note", "v1", "text", 1, visit="v1")
    async with database.begin(place.organisation) as session:
        sealed = await keyring.seal(session, place, TEXT)
    use_transit(data_dir, engine, token_file)

    assert await rewrap_under_root(database, load_keyring(data_dir), data_dir, NOW) == 6
    moved = load_keyring(data_dir)
    assert not (data_dir / ROOT_KEY_FILE).exists()
    assert moved.derive("fhir-ids") == keyring.derive("fhir-ids")
    assert await load_versions(database) == {1}
    with pytest.raises(CommandFailed, match="rotate'"):
        await rotate_root(database, moved, data_dir, NOW)

    engine.keys["accanto"].versions.append(b"n" * 32)
    assert await rewrap_under_root(database, load_keyring(data_dir), data_dir, NOW) == 6
    assert await load_versions(database) == {2}
    assert await rewrap_under_root(database, load_keyring(data_dir), data_dir, NOW) == 0
    decrypted = [path for path in engine.requests if "decrypt" in path]
    async with database.read(place.organisation) as session:
        assert await load_keyring(data_dir).unseal(session, place, sealed) == TEXT
    assert len([path for path in engine.requests if "rewrap" in path]) == 6 + 1
    assert len(decrypted) <= 4, "rewrapping opens nothing here"


async def test_service_goes_away_and_what_is_known_goes_on(
    database: Database, keyring: Keyring, data_dir: Path, cast: Cast,
    engine: TransitEngine, token_file: Path,
) -> None:  # fmt: skip
    use_transit(data_dir, engine, token_file)
    await rewrap_under_root(database, load_keyring(data_dir), data_dir, NOW)
    serving = load_keyring(data_dir)
    place = Place(cast.toscana.organisation.id, "note", "v1", "text", 1, visit="v1")
    async with database.begin(place.organisation) as session:
        sealed = await serving.seal(session, place, TEXT)

    engine.is_sealed = True
    async with database.read(place.organisation) as session:
        assert await serving.unseal(session, place, sealed) == TEXT
    elsewhere = Place(cast.emilia.organisation.id, "note", "v2", "text", 1, visit="v2")
    async with database.read(elsewhere.organisation) as session:
        with pytest.raises(RootKeyAway, match="sealed"):
            await serving.load_secret(session, elsewhere.organisation, "kek")
    engine.is_sealed = False
    async with database.begin(cast.emilia.organisation.id) as session:
        assert await serving.seal(session, elsewhere, TEXT)


async def test_backup_has_no_root_key_and_comes_back_through_the_service(
    database: Database, database_url: str, keyring: Keyring, data_dir: Path, cast: Cast,
    engine: TransitEngine, token_file: Path, tmp_path: Path,
) -> None:  # fmt: skip
    transit = {"transit_url": engine.url, "transit_token_file": str(token_file)}
    served = {} if database_url.startswith("sqlite") else {"database_url": database_url}
    save_settings(data_dir, transit | served)
    await rewrap_under_root(database, load_keyring(data_dir), data_dir, NOW)
    taken = await take_backup(load_settings(data_dir), tmp_path / "d", tmp_path / "k", NOW)
    assert not list(taken.keys.rglob("root*.key"))
    home = tmp_path / "new"
    if served:
        home.mkdir()
        save_settings(home, transit)

    engine.is_sealed = True
    with pytest.raises(RootKeyAway, match="is sealed"):
        await restore_backup(home, taken.data, taken.keys)
    engine.is_sealed = False
    await restore_backup(home, taken.data, taken.keys)

    assert not (home / ROOT_KEY_FILE).exists()
    assert load_keyring(home).derive("fhir-ids") == keyring.derive("fhir-ids")


async def load_versions(database: Database) -> set[int]:
    """Of the transit key, over all keys of organisations."""
    async with database.read(EVERY_ORGANISATION) as session:
        return {version_of(row.wrapped) for row in await session.scalars(select(OrganisationKey))}
