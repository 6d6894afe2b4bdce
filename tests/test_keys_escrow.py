"""Shares on paper bring the root key back; a shredded visit comes back from no backup."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from server.audit import Act, ActorRole, Entry, Fact, append
from server.backup import restore_backup, take_backup
from server.cli import main
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import ROOT_KEY_FILE, Keyring, Place, Shredded, check_value, load_keyring
from server.keys.escrow import join_shares, put_root_back, save_shares, split_root
from server.keys.rootchange import rewrap_under_root, rotate_root
from server.keys.rotation import rewrap, rotate
from server.keys.shredding import Held, shred_again, shred_visit
from server.models import DataKey, LegalHold, LogEntry, Note, Visit
from server.sealed import NoteContent, Section, note_place, open_note, seal_note
from server.settings import Settings, load_settings, save_settings
from tests.commands import clean_environment, run_accanto
from tests.conftest import Cast, MakeVisit

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
NOTE = NoteContent(sections={Section.FREE: "Compenso discreto, riduce il diuretico."})


async def write_note(database: Database, keyring: Keyring, cast: Cast, visit: Visit) -> Note:
    note = Note(
        organisation_id=visit.organisation_id, visit_id=visit.id, version=1,
        author_id=cast.toscana.clinician.id, saved_at=NOW,
    )  # fmt: skip
    async with database.begin(visit.organisation_id) as session:
        await seal_note(keyring, session, note, NOTE)
        session.add(note)
    return note


async def read_note(database: Database, keyring: Keyring, visit: Visit) -> NoteContent:
    async with database.read(EVERY_ORGANISATION) as session:
        note = await session.scalar(select(Note).where(Note.visit_id == visit.id))
        assert note is not None
        return await open_note(keyring, session, note)


@pytest.fixture
async def visits(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> list[Visit]:
    """Two visits, each with its note."""
    made = [await make_visit(cast.toscana) for _ in range(2)]
    for visit in made:
        await write_note(database, keyring, cast, visit)
    return made


@pytest.fixture
def settings(database_url: str, data_dir: Path) -> Settings:
    if not database_url.startswith("sqlite"):
        save_settings(data_dir, {"database_url": database_url})
    return load_settings(data_dir)


# ---- shares ------------------------------------------------------------------------------


def test_any_three_of_five_shares_give_the_root_key_and_two_nothing(
    keyring: Keyring, data_dir: Path
) -> None:
    root = (data_dir / ROOT_KEY_FILE).read_bytes()
    shares = split_root(keyring, NOW)

    for three in itertools.combinations(shares, 3):
        assert join_shares(list(three)) == root
    assert join_shares(shares) == root
    for two in itertools.combinations(shares, 2):
        with pytest.raises(CommandFailed, match="2 different shares open nothing: 3 are needed"):
            join_shares(list(two))
    with pytest.raises(CommandFailed, match="2 different shares"):
        join_shares([shares[0], shares[1], shares[0]])


def test_wrong_shares_say_so_without_a_word_of_them(keyring: Keyring) -> None:
    shares, others = split_root(keyring, NOW), split_root(keyring, NOW)
    words = [line for line in shares[0].splitlines() if not line.startswith("#")]
    slip = shares[0].replace(words[1].split()[0], "academic", 1)
    unknown = shares[0].replace(words[1].split()[0], "gelsomino", 1)

    for given, said in (
        ([*shares[:2], others[2]], "not of one set"),
        ([slip, *shares[1:3]], "Share 1 has a wrong or missing word"),
        ([shares[1], unknown, shares[2]], "Share 2 has a wrong or missing word"),
        (["", *shares[1:3]], "Share 1 has a wrong or missing word"),
    ):
        with pytest.raises(CommandFailed, match=said) as caught:
            join_shares(given)
        assert not any(word in str(caught.value) for word in words[1].split() if len(word) > 5)


def test_shares_are_files_of_their_owner_and_never_overwritten(
    keyring: Keyring, tmp_path: Path
) -> None:
    paths = save_shares(tmp_path / "shares", split_root(keyring, NOW))

    assert len(paths) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert keyring.roots.current.id in paths[0].read_text()
    with pytest.raises(CommandFailed, match="is there already"):
        save_shares(tmp_path / "shares", split_root(keyring, NOW))


def test_shares_of_another_root_key_are_refused(keyring: Keyring, tmp_path: Path) -> None:
    secret = join_shares(split_root(keyring, NOW)[:3])

    with pytest.raises(CommandFailed, match="shares of another root key"):
        put_root_back(tmp_path / "home", secret, {"0123456789abcdef"})
    assert not (tmp_path / "home").exists()
    assert put_root_back(tmp_path / "home", secret, {keyring.roots.current.id})
    with pytest.raises(CommandFailed, match="There is a root key already"):
        put_root_back(tmp_path / "home", secret, set())


@pytest.mark.parametrize("is_rotated", [False, True])
async def test_drill_on_an_empty_machine(
    settings: Settings, database: Database, keyring: Keyring, visits: list[Visit], data_dir: Path,
    tmp_path: Path, is_rotated: bool,
) -> None:  # fmt: skip
    if is_rotated:
        await rotate_root(database, keyring, data_dir, NOW)
        await rewrap_under_root(database, load_keyring(data_dir), data_dir, NOW)
    shares = split_root(load_keyring(data_dir), NOW)
    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW, with_root=False)
    assert not list(taken.keys.rglob("root.key"))
    home = tmp_path / "home"

    with pytest.raises(CommandFailed, match="accanto keys restore"):
        await restore_backup(home, taken.data, taken.keys)
    with pytest.raises(CommandFailed, match="3 are needed"):
        put_root_back(home, join_shares(shares[:2]), set())
    put_root_back(home, join_shares(shares[2:]), set())
    if settings.database_url:
        (home / "accanto.env").write_text("ACCANTO_DATABASE_URL=\n")
    done = await restore_backup(home, taken.data, taken.keys)

    assert any("the keys open" in proof for proof in done.proofs)
    restored = Database(load_settings(home).database)
    again = load_keyring(home)
    assert again.derive("fhir-ids") == keyring.derive("fhir-ids")
    assert await read_note(restored, again, visits[0]) == NOTE
    await restored.close()


# ---- shredding ---------------------------------------------------------------------------


async def test_shredded_visit_opens_nowhere_and_takes_nothing_new(
    database: Database, keyring: Keyring, data_dir: Path, visits: list[Visit]
) -> None:
    gone, stays = visits
    async with database.begin(gone.organisation_id) as session:
        assert await shred_visit(keyring, session, gone, NOW)
        assert not await shred_visit(keyring, session, gone, NOW)

    for keys in (keyring, load_keyring(data_dir)):
        with pytest.raises(Shredded):
            await read_note(database, keys, gone)
        assert await read_note(database, keys, stays) == NOTE
        async with database.begin(gone.organisation_id) as session:
            place = Place(gone.organisation_id, "note", gone.id, "text", 2, visit=gone.id)
            with pytest.raises(Shredded):
                await keys.seal(session, place, b"new")
            await keys.warm(session, gone.organisation_id, [place.owner])
    async with database.read(EVERY_ORGANISATION) as session:
        stone = await session.scalar(select(DataKey).where(DataKey.owner == f"visit:{gone.id}"))
        entries = [json.loads(text) for text in await session.scalars(select(LogEntry.entry))]
    assert stone is not None
    assert (stone.wrapped, stone.shredded_at) == (b"", NOW)
    (entry,) = [entry for entry in entries if entry["action"] == Act.KEY_SHREDDED]
    assert (entry["visit"], entry["facts"]) == (gone.id, {"key": stone.id})


async def test_visit_without_a_key_gets_none_any_more(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    async with database.begin(visit.organisation_id) as session:
        assert await shred_visit(keyring, session, visit, NOW)
        with pytest.raises(Shredded):
            await keyring.seal(session, note_place(Note(
                organisation_id=visit.organisation_id, visit_id=visit.id, version=1
            )), b"new")  # fmt: skip


async def test_legal_hold_stops_shredding_until_it_is_lifted(
    database: Database, keyring: Keyring, visits: list[Visit]
) -> None:
    visit = visits[0]
    hold = LegalHold(
        organisation_id=visit.organisation_id, visit_id=visit.id, reason="litigation", placed_at=NOW
    )
    async with database.begin(visit.organisation_id) as session:
        session.add(hold)
        await session.flush()
        with pytest.raises(Held, match="legal hold"):
            await shred_visit(keyring, session, visit, NOW)
    assert await read_note(database, keyring, visit) == NOTE

    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(LegalHold, hold.id)).lifted_at = NOW
        await session.flush()
        assert await shred_visit(keyring, session, visit, NOW)


async def test_rotation_leaves_tombstones_alone(
    database: Database, keyring: Keyring, visits: list[Visit]
) -> None:
    organisation = visits[0].organisation_id
    async with database.begin(organisation) as session:
        await shred_visit(keyring, session, visits[0], NOW)
    await rotate(database, keyring, organisation, NOW)

    done = await rewrap(database, keyring, organisation, NOW)

    assert done.removed == [1]
    with pytest.raises(Shredded):
        await read_note(database, keyring, visits[0])
    assert await read_note(database, keyring, visits[1]) == NOTE


async def test_older_data_with_newer_keys_do_not_bring_a_shredded_visit_back(
    settings: Settings, database: Database, keyring: Keyring, visits: list[Visit], tmp_path: Path
) -> None:
    before = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)
    async with database.begin(visits[0].organisation_id) as session:
        await shred_visit(keyring, session, visits[0], NOW)
    await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW + timedelta(hours=1))
    shutil.rmtree(before.keys)
    home = tmp_path / "home"
    if settings.database_url:
        home.mkdir()
        (home / "accanto.env").write_text("ACCANTO_DATABASE_URL=\n")

    await restore_backup(home, before.data, tmp_path / "k")

    restored, keys = Database(load_settings(home).database), load_keyring(home)
    with pytest.raises(Shredded):
        await read_note(restored, keys, visits[0])
    assert await read_note(restored, keys, visits[1]) == NOTE
    await restored.close()


async def test_every_owner_that_the_log_names_is_shredded_again(
    database: Database, keyring: Keyring, visits: list[Visit]
) -> None:
    organisation, owner = visits[0].organisation_id, "inbox:source1:2026-10"
    place = Place(organisation, "inbox_message", "m1", "raw", 1, key_owner=owner)
    facts: dict[str, Fact] = {"owner": owner}
    async with database.begin(organisation) as session:
        sealed = await keyring.seal(session, place, b"raw")
        await append(
            session, organisation, Entry(NOW, Act.KEY_SHREDDED, ActorRole.SYSTEM, facts=facts)
        )

    async with database.begin(EVERY_ORGANISATION) as session:
        assert await shred_again(keyring, session) == 1

    async with database.read(organisation) as session:
        with pytest.raises(Shredded):
            await keyring.unseal(session, place, sealed)


async def test_older_keys_that_came_back_are_shredded_again(
    database: Database, keyring: Keyring, data_dir: Path, visits: list[Visit]
) -> None:
    owner = DataKey.owner == f"visit:{visits[0].id}"
    async with database.begin(EVERY_ORGANISATION) as session:
        wrapped = await session.scalar(select(DataKey.wrapped).where(owner))
        await shred_visit(keyring, session, visits[0], NOW)
    async with database.begin(EVERY_ORGANISATION) as session:
        came_back = update(DataKey).where(owner).values(wrapped=wrapped, shredded_at=None)
        await session.execute(came_back)
    assert await read_note(database, load_keyring(data_dir), visits[0]) == NOTE

    async with database.begin(EVERY_ORGANISATION) as session:
        assert await shred_again(keyring, session) == 1
        assert await shred_again(keyring, session) == 0

    with pytest.raises(Shredded):
        await read_note(database, load_keyring(data_dir), visits[0])


# ---- the commands ------------------------------------------------------------------------


class Commands:
    """``accanto keys``, in this process."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self._data_dir = data_dir
        self._environment = environment

    async def __call__(self, *arguments: str | Path) -> tuple[int, str]:
        """Status and what was printed."""
        words = [*map(str, arguments), "--data", str(self._data_dir)]
        runner = CliRunner()
        done = await asyncio.to_thread(runner.invoke, main, words, env=self._environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    async def succeed(self, *arguments: str | Path) -> str:
        status, said = await self("keys", *arguments)
        assert status == 0, said
        return said

    async def fail(self, *arguments: str | Path) -> str:
        status, said = await self(*arguments)
        assert status == 1, said
        return said


@pytest.fixture
def accanto(settings: Settings, visits: list[Visit], data_dir: Path, tmp_path: Path) -> Commands:
    data_dir.chmod(0o700)
    return Commands(
        data_dir,
        ACCANTO_BACKUP_DIR=str(tmp_path / "d"),
        ACCANTO_BACKUP_KEYS_DIR=str(tmp_path / "k"),
    )


async def load_acts(database: Database) -> tuple[set[str], str]:
    """The acts in the session log, and its text."""
    async with database.read(EVERY_ORGANISATION) as session:
        texts = list(await session.scalars(select(LogEntry.entry)))
    return {json.loads(text)["action"] for text in texts}, "\n".join(texts)


async def test_commands_rotate_and_rewrap(accanto: Commands, database: Database) -> None:
    before = json.loads((await accanto.succeed("status", "--json")).splitlines()[0])

    assert "version 2" in await accanto.succeed("rotate", "--organisation", "ausl-toscana")
    assert "A rotation is not finished" in await accanto.succeed("status")
    assert "old versions deleted" in await accanto.succeed("rewrap")
    assert "not finished" not in await accanto.succeed("status")
    assert "check value" in await accanto.succeed("rotate", "--root")
    assert "run 'accanto keys rewrap'" in await accanto.fail("keys", "rotate", "--root")
    assert "6 keys" in await accanto.succeed("rewrap")

    after = json.loads((await accanto.succeed("status", "--json")).splitlines()[0])
    assert after["root"] != before["root"]
    acts, _ = await load_acts(database)
    assert {Act.KEY_ROTATED, Act.KEYS_REWRAPPED} <= acts


async def test_commands_split_and_bring_back(
    accanto: Commands, database: Database, data_dir: Path, tmp_path: Path
) -> None:
    shares = tmp_path / "shares"

    said = await accanto.succeed("escrow", "--to", shares)

    words = (shares / "share-1-of-5.txt").read_text().splitlines()[4]
    assert words not in said
    (data_dir / ROOT_KEY_FILE).unlink()
    for lost in (("keys", "status"), ("migrate",)):
        assert "accanto keys restore" in await accanto.fail(*lost)
    files = [part for n in (2, 4, 5) for part in ("--share", shares / f"share-{n}-of-5.txt")]
    assert "3 are needed" in await accanto.fail("keys", "restore", *files[:4])
    assert "one of this database" in await accanto.succeed("restore", *files)
    acts, log = await load_acts(database)
    assert {Act.KEYS_ESCROWED, Act.KEYS_RESTORED} <= acts
    assert not any(word in log for word in words.split() if len(word) > 7)


def test_command_brings_the_root_key_to_an_empty_machine(
    keyring: Keyring, data_dir: Path, tmp_path: Path
) -> None:
    paths = save_shares(tmp_path / "shares", split_root(keyring, NOW))
    home = tmp_path / "home"
    home.mkdir()
    (home / "accanto.db").touch()
    words = [path.read_text().split(".\n")[-1].replace("\n", " ") for path in paths[:3]]

    done = CliRunner().invoke(
        main, ["keys", "restore", "--data", str(home)], input="\n".join(words) + "\n"
    )

    assert done.exit_code == 0, done.output
    assert (home / ROOT_KEY_FILE).read_bytes() == (data_dir / ROOT_KEY_FILE).read_bytes()
    assert words[0].split()[5] not in done.output


async def test_command_shreds_and_names_the_backups_that_still_open(
    accanto: Commands, settings: Settings, visits: list[Visit], tmp_path: Path
) -> None:
    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)

    said = await accanto.succeed("shred", visits[0].id, "--yes")

    assert str(taken.keys) in said
    assert "destroy those that are older" in said
    assert "destroyed before" in await accanto.succeed("shred", visits[0].id, "--yes")
    assert "There is no visit" in await accanto.fail("keys", "shred", "nobody", "--yes")


@pytest.mark.timeout(300)
async def test_wrong_root_key_is_one_sentence_at_every_start(
    accanto: Commands, data_dir: Path
) -> None:
    right = check_value((data_dir / ROOT_KEY_FILE).read_bytes())
    wrong = bytes(range(32))
    (data_dir / ROOT_KEY_FILE).write_bytes(wrong)
    added = ("organisation", "add", "--code", "x", "--name", "x", "--desk-phone", "1")

    found = [
        await accanto.fail(*command)
        for command in (("migrate",), ("keys", "rotate"), ("keys", "rewrap"), added)
    ]
    serve = ["serve", "--data", data_dir]
    done = await asyncio.to_thread(run_accanto, serve, clean_environment(), timeout_seconds=200)
    assert done.returncode == 1
    found.append(done.stderr)

    for said in found:
        assert said.count("\n") == 1
        assert "does not open this database" in said
        assert right in said
        assert "accanto keys restore" in said
        assert wrong.hex()[:12] not in said
        assert str(wrong)[2:14] not in said
