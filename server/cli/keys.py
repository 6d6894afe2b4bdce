"""``accanto keys``: status, rotation, escrow, shredding; all of it beside a running server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import select

from server import admin
from server.audit import Act
from server.backup import Half, find_backups, load_manifest
from server.cli.common import data_option, json_option, run
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring, load_keyring
from server.keys.escrow import NEEDED, join_shares, put_root_back, save_shares, split_root
from server.keys.rootchange import note_everywhere, rewrap_under_root, rotate_root
from server.keys.rotation import check_keys
from server.keys.rotation import rewrap as rewrap_organisation
from server.keys.rotation import rotate as rotate_organisation
from server.keys.shredding import shred_visit
from server.keys.status import Standing, load_standings
from server.migrations import is_current
from server.models import Organisation, OrganisationKey, Visit
from server.settings import Settings, load_settings

_code_option = click.option("--organisation", "code", help="Its code; else all of them.")


@click.group()
def keys() -> None:
    """Keys: versions, escrow, shredding."""


@keys.command()
@json_option
@data_option
def status(is_json: bool, data_dir: Path | None) -> None:
    """Say where the root key is and how many data keys stand under each version."""
    keyring, standings = run(_load_status(load_settings(data_dir)))
    root = keyring.roots.current
    if is_json:
        click.echo(
            json.dumps({"root": root.id, "former": [one.id for one in keyring.roots.former]})
        )
        for standing in standings:
            click.echo(json.dumps(asdict(standing)))
        return
    click.echo(f"Root key {root.id} at {root.place}")
    for former in keyring.roots.former:
        click.echo(f"Former root key {former.id} at {former.place}")
    for standing in standings:
        under = ", ".join(f"version {one}: {n}" for one, n in standing.versions.items())
        click.echo(f"{standing.code}: data keys under {under}; {standing.shredded} shredded")
    if keyring.roots.former or any(standing.is_rotating for standing in standings):
        click.echo("A rotation is not finished: run 'accanto keys rewrap'.")


@keys.command()
@_code_option
@click.option("--root", "is_root", is_flag=True, help="Make a new root key instead.")
@data_option
def rotate(code: str | None, is_root: bool, data_dir: Path | None) -> None:
    """Make a new version of an organisation's key, or a new root key.

    From now on everything new is wrapped by it; 'accanto keys rewrap' brings the rest along.
    """
    settings, now = load_settings(data_dir), datetime.now(UTC)
    if is_root and code:
        raise CommandFailed("The root key is everybody's: leave --organisation out")
    if is_root:
        click.echo(f"The new root key has the check value {run(_rotate_root(settings, now))}.")
        click.echo(
            "Next: 'accanto keys rewrap', a backup, and 'accanto keys escrow' for new shares."
        )
        return
    for name, version in run(_rotate(settings, code, now)):
        click.echo(f"{name}: version {version}. Next: 'accanto keys rewrap'.")


@keys.command()
@_code_option
@data_option
def rewrap(code: str | None, data_dir: Path | None) -> None:
    """Bring every data key under the newest versions, and delete the older ones.

    Killed at any moment it goes on where it was when it is run again. Nothing sealed is opened.
    """
    broken = 0
    for line, count in run(_rewrap(load_settings(data_dir), code, datetime.now(UTC))):
        click.echo(line)
        broken += count
    if broken:
        raise CommandFailed(f"{broken} data keys do not open: the older versions were kept")


@keys.command()
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="Folder for 5 files.")
@data_option
def escrow(to: Path | None, data_dir: Path | None) -> None:
    """Split the root key into five shares, any three of which bring it back.

    Print them, give each to another person, and keep no copy. Without --to they are shown one at a
    time.
    """
    texts = run(_escrow(load_settings(data_dir), to, datetime.now(UTC)))
    if to is not None:
        click.echo(f"The shares are in {to}, a file for each. Print them, then destroy the files.")
        return
    for number, text in enumerate(texts, 1):
        click.clear()
        click.echo(text)
        click.prompt(f"Share {number}: press Enter when it is written down", default="",
                     show_default=False)  # fmt: skip
    click.clear()


@keys.command()
@click.option(
    "--share", "files", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of a share, three times; else they are asked for.",
)  # fmt: skip
@data_option
def restore(files: tuple[Path, ...], data_dir: Path | None) -> None:
    """Bring the root key back from three shares, into a data folder that has none."""
    texts = [path.read_text(encoding="utf-8") for path in files]
    while not files and len(texts) < NEEDED:
        texts.append(click.prompt(f"Words of share {len(texts) + 1}", hide_input=True))
    secret = join_shares(texts)
    settings = load_settings(data_dir)
    known = run(_load_roots(settings))
    value = put_root_back(settings.data_dir, secret, known)
    click.echo(f"The root key is back; its check value is {value}.")
    if known:
        run(_note_restored(settings, value))
        click.echo("It is the one of this database.")


@keys.command()
@click.argument("visit_id", metavar="VISIT")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
def shred(visit_id: str, yes: bool, data_dir: Path | None) -> None:
    """Destroy the key of a visit: its note, answers, files and report cannot be read any more.

    Refused while a legal hold runs. Cannot be undone. Servers that run forget the key within five
    minutes.
    """
    settings = load_settings(data_dir)
    if not yes:
        click.confirm(f"Destroy everything sealed of the visit {visit_id}?", abort=True)
    now = datetime.now(UTC)
    if not run(_shred(settings, visit_id, now)):
        click.echo("The key of this visit was destroyed before.")
        return
    click.echo("The key is destroyed. No backup of the data opens this visit any more, but")
    click.echo("a backup of the keys from before still does: destroy those that are older.")
    for path in _older_keys(settings, now):
        click.echo(f"  {path}")


async def _load_status(settings: Settings) -> tuple[Keyring, list[Standing]]:
    async with _opened(settings) as (database, keyring), database.read(EVERY_ORGANISATION) as all_:
        return keyring, await load_standings(keyring, all_)


async def _rotate(settings: Settings, code: str | None, now: datetime) -> list[tuple[str, int]]:
    async with _opened(settings) as (database, keyring):
        return [
            (one.code, await rotate_organisation(database, keyring, one.id, now))
            for one in await _choose(database, code)
        ]


async def _rotate_root(settings: Settings, now: datetime) -> str:
    async with _opened(settings) as (database, keyring):
        return await rotate_root(database, keyring, settings.data_dir, now)


async def _rewrap(settings: Settings, code: str | None, now: datetime) -> list[tuple[str, int]]:
    """A line for each organisation, with how many of its data keys do not open."""
    lines = []
    async with _opened(settings) as (database, keyring):
        count = await rewrap_under_root(database, keyring, settings.data_dir, now)
        lines.append((f"{count} keys of organisations were rewrapped under the root key.", 0))
        for one in await _choose(database, code):
            done = await rewrap_organisation(database, keyring, one.id, now)
            text = f"{one.code}: {done.keys} data keys rewrapped, {len(done.removed)} old versions"
            lines.append((f"{text} deleted.", len(done.broken)))
    return lines


async def _escrow(settings: Settings, to: Path | None, now: datetime) -> list[str]:
    """Noted before the first share is seen."""
    async with _opened(settings) as (database, keyring):
        texts = split_root(keyring, now)
        async with database.begin(EVERY_ORGANISATION) as session:
            root = keyring.roots.current.id
            await note_everywhere(session, Act.KEYS_ESCROWED, now, root=root, shares=len(texts))
            if to is not None:
                save_shares(to, texts)
    return texts


async def _load_roots(settings: Settings) -> set[str]:
    """The check values that the database wants; none where there is no database yet, or one that
    waits for the key to be migrated."""
    if not settings.database_url and not settings.sqlite_file.exists():
        return set()
    database = Database(settings.database)
    try:
        if not await is_current(database):
            return set()
        async with database.read(EVERY_ORGANISATION) as session:
            return set(await session.scalars(select(OrganisationKey.root_id).distinct()))
    finally:
        await database.close()


async def _note_restored(settings: Settings, root: str) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        await note_everywhere(session, Act.KEYS_RESTORED, datetime.now(UTC), root=root)


async def _shred(settings: Settings, visit_id: str, now: datetime) -> bool:
    async with (
        _opened(settings) as (database, keyring),
        database.begin(EVERY_ORGANISATION) as session,
    ):
        visit = await session.get(Visit, visit_id)
        if visit is None:
            raise CommandFailed(f"There is no visit {visit_id}: see 'accanto appointments'")
        return await shred_visit(keyring, session, visit, now)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Database, Keyring]]:
    """The database and the keys, which are those of this database."""
    async with admin.open_database(settings) as database:
        keyring = load_keyring(settings.data_dir)
        async with database.read(EVERY_ORGANISATION) as session:
            await check_keys(keyring, session)
        yield database, keyring


async def _choose(database: Database, code: str | None) -> list[Organisation]:
    async with database.read(EVERY_ORGANISATION) as session:
        if code is not None:
            return [await admin.load_organisation(session, code)]
        return list(await session.scalars(select(Organisation).order_by(Organisation.code)))


def _older_keys(settings: Settings, now: datetime) -> list[Path]:
    """The halves with keys that were taken before now."""
    if not settings.backup_keys_dir:
        return []
    found = find_backups(Path(settings.backup_keys_dir), Half.KEYS)
    return [path for path in found if load_manifest(path).made_at < now]
