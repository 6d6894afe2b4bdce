"""``accanto log accept``: two administrators say that a shorter log is right."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import func, select

from server import admin
from server.audit import Act, ActorRole, Entry, Fact, append
from server.cli.common import data_option, run
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.errors import CommandFailed, TooManyAttempts
from server.lineage import Breach, Torn, accept_log, find_torn
from server.logexport import settle_log
from server.logsigner.client import SignerProcess
from server.models import User, UserRole
from server.passwords import is_password_right
from server.settings import Settings, load_settings
from server.throttle import Failures


@click.command()
@click.option("--organisation", "code", required=True, help="Its code.")
@click.option("--username", "usernames", multiple=True, help="Of an administrator; twice.")
@click.option("--passwords-stdin", "is_piped", is_flag=True, help="Read both, a line each.")
@data_option
def accept(code: str, usernames: tuple[str, ...], is_piped: bool, data_dir: Path | None) -> None:
    """Go on with a session log that holds less than was signed, as after restoring a backup.

    Two administrators of the organisation give their passwords. The log keeps who they were and
    how much is missing; it is signed from now on under a new origin, which witnesses notice. What
    was signed before stays in the signer's folder, for whoever asks.
    """
    settings = load_settings(data_dir)
    torn = run(_find(settings, code))
    click.echo(f"{torn.sentence}.")
    names = usernames or tuple(
        click.prompt(f"User name of the {which} administrator") for which in ("first", "second")
    )
    if len({name.lower() for name in names}) != 2:
        raise CommandFailed("Two different administrators are needed")
    people = [(name.lower(), _ask_password(name, is_piped=is_piped)) for name in names]
    origin = run(_accept(settings, torn, people, datetime.now(UTC)))
    click.echo(f"Accepted. The log goes on as {origin}: tell those who keep its checkpoints.")


def _ask_password(name: str, *, is_piped: bool) -> str:
    if is_piped:
        return sys.stdin.readline().rstrip("\r\n")
    answer: str = click.prompt(f"Password of {name}", hide_input=True)
    return answer


async def _find(settings: Settings, code: str) -> Torn:
    """:raises CommandFailed: there is nothing to accept."""
    async with admin.open_database(settings) as database:
        async with database.read(EVERY_ORGANISATION) as session:
            await admin.load_organisation(session, code)
        found = await find_torn(database, settings.signer_folder)
    for torn in found:
        if torn.code == code and torn.breach is not Breach.FORKED:
            return torn
        if torn.code == code:
            raise CommandFailed(f"{torn.sentence}. Nobody can accept entries that were altered")
    raise CommandFailed(f"The session log of {code} holds all that was signed")


async def _accept(
    settings: Settings, torn: Torn, people: list[tuple[str, str]], now: datetime
) -> str:
    async with admin.open_database(settings) as database:
        first, second = [
            await _recognise(database, torn.organisation, name, password, now)
            for name, password in people
        ]
        origin = await accept_log(
            database, settings.signer_folder, settings.realm, torn, (first, second), now
        )
        signer = SignerProcess(settings.signer_folder)
        try:
            complaints = await settle_log(database, signer, settings.realm, torn.organisation, now)
        finally:
            await signer.stop()
    for complaint in complaints:
        click.echo(complaint, err=True)
    return origin


async def _recognise(
    database: Database, organisation: OrganisationId, name: str, password: str, now: datetime
) -> str:
    """The id of an administrator who knows the password; attempts count as those of a login.

    :raises CommandFailed: it is none, or the password is another.
    """
    async with database.begin(organisation) as session:
        user = await session.scalar(
            select(User)
            .where(func.lower(User.username) == name, User.role == UserRole.ADMINISTRATOR)
            .with_for_update()
        )
        if user is not None:
            _count_attempt(user, now)
    is_right = await is_password_right(user.password_hash if user else None, password)
    async with database.begin(organisation) as session:
        if user is not None and is_right and not user.is_disabled:
            (await session.get_one(User, user.id)).failed_logins = 0
            return user.id
        if user is not None:
            facts: dict[str, Fact] = {"factor": "password"}
            entry = Entry(now, Act.LOGIN_FAILED, ActorRole.ADMINISTRATOR, user.id, facts=facts)
            await append(session, organisation, entry)
    raise CommandFailed(f"{name} is no administrator here, or the password is not right")


def _count_attempt(user: User, now: datetime) -> None:
    """:raises CommandFailed: too early after the last failure."""
    failures = Failures(user.failed_logins, user.last_failed_at)
    try:
        failures.check(now)
    except TooManyAttempts as error:
        raise CommandFailed(f"Too many attempts: {error}") from error
    counted = failures.one_more(now)
    user.failed_logins, user.last_failed_at = counted.count, counted.last_at
