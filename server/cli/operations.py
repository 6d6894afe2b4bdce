"""``accanto backup``, ``restore`` and ``init``."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from sqlalchemy import func, select

from server import admin
from server.backup import restore_backup, take_backup
from server.cli.common import data_option, run
from server.db import EVERY_ORGANISATION
from server.errors import CommandFailed
from server.keyring import load_keyring
from server.models import Organisation, User, UserRole
from server.passwords import hash_password
from server.settings import SETTINGS_FILE, Settings, load_settings, save_settings

_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""None that is taken for another when it is read aloud."""
_GROUPS: Final = 5
_LETTERS_OF_GROUP: Final = 4
_folder = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--to", type=_folder, help="Folder of the data; else ACCANTO_BACKUP_DIR.")
@click.option("--keys-to", type=_folder, help="Folder of the keys; else ACCANTO_BACKUP_KEYS_DIR.")
@click.option("--keep", type=click.IntRange(min=1), help="Remove all but so many of the newest.")
@click.option("--without-root-key", "is_rootless", is_flag=True, help="Its shares will be needed.")
@data_option
def backup(
    to: Path | None,
    keys_to: Path | None,
    keep: int | None,
    is_rootless: bool,
    data_dir: Path | None,
) -> None:
    """Take a backup, also of a server that is running.

    Data and keys go to two folders: one without the other opens nothing. Both are needed to
    restore, so keep them on two disks, under two hands.
    """
    settings = load_settings(data_dir)
    to = to or _folder_of(settings.backup_dir, "--to", "ACCANTO_BACKUP_DIR")
    keys_to = keys_to or _folder_of(
        settings.backup_keys_dir, "--keys-to", "ACCANTO_BACKUP_KEYS_DIR"
    )
    now = datetime.now(UTC)
    taken = run(take_backup(settings, to, keys_to, now, keep, with_root=not is_rootless))
    click.echo(f"Data   {taken.data}")
    click.echo(f"Keys   {taken.keys}")
    click.echo(f"{taken.rows} rows, {taken.size_bytes} bytes; {taken.removed} older removed.")


def _folder_of(setting: str, option: str, name: str) -> Path:
    if not setting:
        raise CommandFailed(f"Say where to: {option} or the setting {name}")
    return Path(setting)


@click.command()
@click.option("--from", "data_from", required=True, type=_folder, help="A backup of the data.")
@click.option("--keys-from", required=True, type=_folder, help="The backup of its keys.")
@data_option
def restore(data_from: Path, keys_from: Path, data_dir: Path | None) -> None:
    """Bring a backup back into a data folder and a database that are empty.

    Of a folder with several backups the newest is taken. Older data go with newer keys: what was
    shredded since stays shredded. Where the keys are without the root key, bring it back before
    ('accanto keys restore'). The settings come from the backup unless
    the data folder has an accanto.env already. Nobody stays logged in.
    """
    folder = load_settings(data_dir).data_dir
    done = run(restore_backup(folder, data_from, keys_from))
    made = f"{done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"The backup of {made} (Accanto {done.manifest.version}) is whole.")
    click.echo(f"Restored {done.rows} rows into {done.database} and {done.files} files.")
    for proof in done.proofs:
        click.echo(f"Proved: {proof}.")


@click.command()
@click.option("--code", required=True, help="Of the organisation, as CUP files name it.")
@click.option("--name", required=True, help="Of the organisation.")
@click.option("--desk-phone", required=True, help="The number that patients are told to call.")
@click.option("--base-url", help="What browsers will type; kept in accanto.env.")
@click.option("--username", default="amministratore", show_default=True)
@click.option("--given-name", default="")
@click.option("--family-name", default="")
@data_option
def init(
    code: str,
    name: str,
    desk_phone: str,
    base_url: str | None,
    data_dir: Path | None,
    **person: str,
) -> None:
    """From a blank machine to the first log-in: keys, database, organisation, administrator.

    The password is made here and shown once; the second factor is set up at the first log-in.
    """
    settings = load_settings(data_dir, base_url=base_url)
    password = _new_password()
    organisation = Organisation(code=code, name=name, desk_phone=desk_phone)
    user = User(role=UserRole.ADMINISTRATOR, password_hash=hash_password(password), **person)
    run(_init(settings, organisation, user))
    if base_url and not (settings.data_dir / SETTINGS_FILE).exists():
        save_settings(settings.data_dir, {"base_url": settings.base_url})
    click.echo(f"Log in at {settings.base_url}/login, once 'accanto serve' runs:")
    click.echo(f"  User       {user.username}")
    click.echo(f"  Password   {password}")
    click.echo("It is not shown again; 'accanto user password' sets another.")
    click.echo("Next: 'accanto check' says what this installation does not cover yet.")


def _new_password() -> str:
    return "-".join(
        "".join(secrets.choice(_LETTERS) for _ in range(_LETTERS_OF_GROUP)) for _ in range(_GROUPS)
    )


async def _init(settings: Settings, organisation: Organisation, user: User) -> None:
    """All of it, or nothing but keys and an empty database.

    :raises CommandFailed: there is an organisation already.
    """
    await admin.prepare(settings)
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        if await session.scalar(select(func.count()).select_from(Organisation)):
            raise CommandFailed("This installation has an organisation: see 'organisation add'")
        await admin.add_organisation(session, load_keyring(settings.data_dir), organisation)
        user.organisation_id = organisation.id
        await admin.add_user(session, user)
