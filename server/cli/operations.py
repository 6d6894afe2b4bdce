"""``accanto backup``, ``restore`` and ``init``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from server.backup import restore_backup, take_backup
from server.cli.common import data_option, run
from server.errors import CommandFailed
from server.settings import load_settings

_folder = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--to", type=_folder, help="Folder of the data; else ACCANTO_BACKUP_DIR.")
@click.option("--keys-to", type=_folder, help="Folder of the keys; else ACCANTO_BACKUP_KEYS_DIR.")
@click.option("--keep", type=click.IntRange(min=1), help="Remove all but so many of the newest.")
@data_option
def backup(to: Path | None, keys_to: Path | None, keep: int | None, data_dir: Path | None) -> None:
    """Take a backup, also of a server that is running.

    Data and keys go to two folders: one without the other opens nothing. Both are needed to
    restore, so keep them on two disks, under two hands.
    """
    settings = load_settings(data_dir)
    to = to or _folder_of(settings.backup_dir, "--to", "ACCANTO_BACKUP_DIR")
    keys_to = keys_to or _folder_of(
        settings.backup_keys_dir, "--keys-to", "ACCANTO_BACKUP_KEYS_DIR"
    )
    taken = run(take_backup(settings, to, keys_to, datetime.now(UTC), keep))
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

    Of a folder with several backups the newest is taken. The settings come from the backup unless
    the data folder has an accanto.env already. Nobody stays logged in.
    """
    folder = load_settings(data_dir).data_dir
    done = run(restore_backup(folder, data_from, keys_from))
    made = f"{done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"The backup of {made} (Accanto {done.manifest.version}) is whole.")
    click.echo(f"Restored {done.rows} rows into {done.database} and {done.files} files.")
    for proof in done.proofs:
        click.echo(f"Proved: {proof}.")
