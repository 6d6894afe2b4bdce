"""``accanto log witness``: for a machine of the clinic's own, far from the server."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from platform import node

import click

from server.cli.common import run
from server.errors import CommandFailed
from server.tlog.note import BadNote, Verifier, parse_verifier
from server.tlog.witness import Folder, Misfit, compare, look, open_log

_folder = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("address", metavar="URL")
@click.argument("path", metavar="FOLDER", type=_folder)
@click.option("--key", help="The log's public key, from paper; else the first one that it shows.")
@click.option("--name", default=lambda: f"witness/{node()}", help="Of this witness; once, first.")
@click.option("--compare", "other", type=_folder, help="Folder of another witness of this log.")
@click.option("--every", type=click.IntRange(1, 1440), help="Look again after so many minutes.")
def witness(
    address: str, path: Path, key: str | None, name: str, other: Path | None, every: int | None
) -> None:
    """Look at a log, check that it only grew since the last look, sign and keep what was seen.

    URL is the log's address, for instance https://visite.example.it/log/090203. FOLDER belongs to
    this witness alone: keep it where the server cannot write. With --compare the checkpoints of two
    witnesses are compared: a log that shows two histories is found. Ends with 1, and says why, when
    the log is not the one that was seen before.
    """
    if not address.startswith(("https://", "http://")) or "+" in name or " " in name:
        raise CommandFailed("URL must begin with https://, a name has neither '+' nor spaces")
    known = _parse_key(key) if key else None
    while True:
        try:
            run(_witness(address, Folder(path), known, name, Folder(other) if other else None))
        except Misfit as error:
            raise CommandFailed(f"{address}: {error}") from error
        except CommandFailed as error:
            if every is None:
                raise
            click.echo(str(error), err=True)
        if every is None:
            return
        time.sleep(every * 60)


def _parse_key(text: str) -> Verifier:
    try:
        return parse_verifier(text)
    except BadNote as error:
        raise CommandFailed(f"--key is {error}") from error


async def _witness(
    address: str, folder: Folder, key: Verifier | None, name: str, other: Folder | None
) -> None:
    now = datetime.now(UTC)
    async with open_log(address) as log:
        try:
            with folder.locked():
                note = await look(log, folder, name, key, now)
                compared = await compare(log, folder, other) if other else 0
        except BadNote as error:
            raise CommandFailed(f"Somebody has changed the kept checkpoints: {error}") from error
    origin, size, *_ = note.split("\n")
    click.echo(f"{now:%Y-%m-%d %H:%M:%S} UTC: {origin} has {size} entries and has only grown.")
    if compared:
        click.echo(f"{compared} checkpoints of two witnesses are of one history.")
