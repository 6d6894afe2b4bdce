"""``accanto patient``: what one person may ask for (GDPR art. 15 and 16).

Who is meant is typed when asked, or read from a file: a codice fiscale among the arguments would
stay in the history of the shell and in the list of processes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click
import msgspec

from recordings.store import SealedFolder
from server import admin
from server.assets import Assets
from server.audit import Act, ActorRole, Entry, append
from server.cli.common import data_option, run
from server.cup.booking import Field
from server.cup.rectify import FIELDS, Rectified, rectify, texts_of
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring, load_keyring
from server.models import Patient
from server.pages import Pages
from server.sealed import ATTACHMENTS_FOLDER, Identity, open_identity, open_recordings
from server.settings import Settings, load_settings
from server.subjects.bundle import CopyWriter
from server.subjects.content import PersonCopy
from server.subjects.finding import find_patients

_EMPTY = "-"
_WHO = "Codice fiscale, booking code or id of the patient"
who_option = click.option(
    "--who", type=click.File(), help="File whose first line says who; '-' for the standard input."
)
organisation_option = click.option(
    "--organisation", default="", help="Code or id, where two organisations know the person."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask whether it is the right person.")


@click.group()
def patient() -> None:
    """What a patient may ask for: a copy of the data, a correction."""


@patient.command(name="export")
@click.option("--to", "path", required=True, type=click.Path(path_type=Path, dir_okay=False))
@who_option
@organisation_option
@yes_option
@data_option
def patient_export(
    path: Path, who: IO[str] | None, organisation: str, *, yes: bool, data_dir: Path | None
) -> None:
    """Write everything that is kept of a person as a zip: a page to read, the same for machines,
    reports and files. It is in clear: give it to nobody else. The session log keeps that it was
    made."""
    settings, sought = load_settings(data_dir), read_who(who)
    copy = run(_export(settings, sought, organisation, path, is_sure=yes))
    click.echo(f"Wrote {path}: {len(copy.visits)} visits.")


async def _export(
    settings: Settings, sought: str, organisation: str, path: Path, *, is_sure: bool
) -> PersonCopy:
    keyring = load_keyring(settings.data_dir)
    async with admin.open_database(settings) as database:
        found, identity = await _open_one(database, keyring, sought, organisation)
        ask_if_right(identity, is_sure=is_sure)
        store = SealedFolder(settings.data_dir / ATTACHMENTS_FOLDER)
        recordings = open_recordings(settings)
        writer = CopyWriter(database, keyring, store, recordings, Pages(Assets()))
        return await writer.write(found, path, datetime.now(UTC))


def read_who(file: IO[str] | None) -> str:
    """What was typed, or the first line of the file."""
    text = str(click.prompt(_WHO, err=True)) if file is None else file.readline()
    if not text.strip():
        raise CommandFailed("Nobody was named")
    return text


async def _open_one(
    database: Database, keyring: Keyring, sought: str, organisation: str
) -> tuple[Patient, Identity]:
    """Who is meant, with what is about to be shown of her: the session log has it before.

    :raises CommandFailed: nobody, or somebody in several organisations.
    """
    async with database.begin(EVERY_ORGANISATION) as session:
        found = await find_patients(keyring, session, sought, organisation)
        if not found:
            raise CommandFailed("Nobody is known by that here")
        if len(found) > 1:
            raise CommandFailed("Several organisations know this person: say which, --organisation")
        patient = found[0]
        about = f"patient:{patient.id}"
        entry = Entry(datetime.now(UTC), Act.CONTACT_OPENED, ActorRole.SYSTEM, object=about)
        await append(session, patient.organisation_id, entry)
        return patient, await open_identity(keyring, session, patient)


def ask_if_right(identity: Identity, *, is_sure: bool) -> None:
    """:raises click.Abort: it is not the person."""
    if not is_sure:
        born = f", {identity.birth_date:%d/%m/%Y}" if identity.birth_date else ""
        click.confirm(f"{identity.full_name}{born}: is it this person?", abort=True, err=True)


@patient.command(name="rectify")
@click.option(
    "--changes", type=click.File(), help='JSON file such as {"phone": "+39 333 1234567"}.'
)
@who_option
@organisation_option
@yes_option
@data_option
def patient_rectify(
    changes: IO[str] | None,
    who: IO[str] | None,
    organisation: str,
    *,
    yes: bool,
    data_dir: Path | None,
) -> None:
    """Correct what is kept of a person: each field is asked for, Enter keeps it, '-' empties it.

    The rules are those of CUP's messages. CUP and the desk are told which fields were corrected;
    a patient who is reached in another way gets a new invitation.
    """
    settings, sought = load_settings(data_dir), read_who(who)
    done = run(_rectify(settings, sought, organisation, changes, is_sure=yes))
    if not done.fields:
        click.echo("Nothing was changed.")
        return
    click.echo(f"Corrected: {', '.join(done.fields)}. Events for CUP: {done.told}.")


async def _rectify(
    settings: Settings, sought: str, organisation: str, changes: IO[str] | None, *, is_sure: bool
) -> Rectified:
    keyring, now = load_keyring(settings.data_dir), datetime.now(UTC)
    async with admin.open_database(settings) as database:
        found, identity = await _open_one(database, keyring, sought, organisation)
        ask_if_right(identity, is_sure=is_sure)
        said = _ask_changes(identity) if changes is None else _read_changes(changes)
        async with database.begin(found.organisation_id) as session:
            return await rectify(keyring, session, found.id, said, now)


def _ask_changes(identity: Identity) -> dict[Field, str]:
    """What was typed for each field."""
    said = {}
    for field, text in texts_of(identity).items():
        label = field.value.replace("_", " ").capitalize()
        typed = str(click.prompt(label, default=text, err=True))
        said[field] = "" if typed == _EMPTY else typed
    return said


def _read_changes(file: IO[str]) -> dict[Field, str]:
    """:raises CommandFailed: no JSON object of known fields and texts."""
    try:
        said = msgspec.json.decode(file.read(), type=dict[Field, str])
    except msgspec.DecodeError as error:
        raise CommandFailed("The changes are no JSON object of fields and texts") from error
    if unknown := said.keys() - set(FIELDS):
        raise CommandFailed(f"This cannot be corrected: {', '.join(sorted(unknown))}")
    return said
