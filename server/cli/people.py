"""``accanto organisation`` and ``accanto user``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from codicefiscale import codicefiscale
from sqlalchemy import delete, select

from server import admin
from server.audit import Act
from server.cli.common import data_option, log_change, run
from server.cli.signer import signer
from server.db import EVERY_ORGANISATION
from server.errors import CommandFailed
from server.keyring import load_keyring
from server.models import (
    NoticeRule,
    Organisation,
    Phase,
    Profession,
    User,
    UserRole,
    UserSession,
)
from server.passwords import hash_password
from server.phases import change_phase
from server.sealed import seal_codice_fiscale
from server.settings import Settings, load_settings

_PROFESSIONS: Final = click.Choice([profession.value for profession in Profession])


@click.group()
def organisation() -> None:
    """Health bodies."""


@organisation.command(name="add")
@click.option("--code", required=True, help="As CUP files name it, for instance 090203.")
@click.option("--name", required=True)
@click.option("--desk-phone", required=True, help="The number that patients are told to call.")
@click.option("--no-second-factor", is_flag=True, help="Staff log in with the password alone.")
@click.option("--relay-only", is_flag=True, help="Calls always go through the TURN server.")
@data_option
def organisation_add(
    code: str,
    name: str,
    desk_phone: str,
    no_second_factor: bool,
    relay_only: bool,
    data_dir: Path | None,
) -> None:
    """Add an organisation."""
    row = Organisation(
        code=code,
        name=name,
        desk_phone=desk_phone,
        is_totp_required=not no_second_factor,
        is_relay_only=relay_only,
    )
    run(_add_organisation(load_settings(data_dir), row))
    click.echo(f"Added the organisation {code}.")


async def _add_organisation(settings: Settings, row: Organisation) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        await admin.add_organisation(session, load_keyring(settings.data_dir), row)
        await log_change(session, row.id, Act.ORGANISATION_CHANGED, row.id, "added")


@organisation.command(name="set")
@click.argument("code")
@click.option("--province", help="Whose patron saint is a holiday, for instance MI; '' for none.")
@click.option("--notice-days", type=click.IntRange(0, 30), help="Days to cancel before, free.")
@click.option("--notice-rule", type=click.Choice([rule.value for rule in NoticeRule]))
@click.option(
    "--relay-only/--no-relay-only",
    default=None,
    help="Calls that begin from now on always go through the TURN server, or not always.",
)
@click.option("--region-code", help="Three digits with which reports name the region: 090.")
@click.option("--ministry-code", help="Six digits of the Ministry's list of bodies (FLS.11).")
@click.option("--street", help="Where the body is, for its reports.")
@click.option("--postal-code")
@click.option("--city")
@data_option
def organisation_set(
    code: str,
    province: str | None,
    notice_days: int | None,
    notice_rule: str | None,
    relay_only: bool | None,
    data_dir: Path | None,
    **places: str | None,
) -> None:
    """Change the rules of an organisation, and what its reports say of it; what is not given
    stays."""
    _check_digits("--region-code", places["region_code"], 3)
    _check_digits("--ministry-code", places["ministry_code"], 6)
    _check_digits("--postal-code", places["postal_code"], 5)
    rule = NoticeRule(notice_rule) if notice_rule else None
    province = province.upper() if province is not None else None
    values: dict[str, object] = {
        "province": province,
        "notice_days": notice_days,
        "notice_rule": rule,
        "is_relay_only": relay_only,
        **places,
    }
    settings = load_settings(data_dir)
    if relay_only and not settings.turn_urls:
        raise CommandFailed("There is no TURN server (turn_urls): no call would connect")
    run(_set_rules(settings, code, values))
    click.echo(f"Changed the organisation {code}.")


def _check_digits(option: str, value: str | None, count: int) -> None:
    if value and not (value.isascii() and value.isdigit() and len(value) == count):
        raise CommandFailed(f"{option} must have {count} digits")


async def _set_rules(settings: Settings, code: str, values: dict[str, object]) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        row = await admin.load_organisation(session, code)
        for name, value in values.items():
            if value is not None:
                setattr(row, name, value)
        await log_change(session, row.id, Act.ORGANISATION_CHANGED, row.id, "saved")


@organisation.command(name="phase")
@click.argument("code")
@click.argument("phase", type=click.Choice([phase.value for phase in Phase]))
@click.option("--clinic", "clinics", multiple=True, help="Code of a pilot clinic; repeatable.")
@data_option
def organisation_phase(
    code: str, phase: str, clinics: tuple[str, ...], data_dir: Path | None
) -> None:
    """Change how far an organisation is switched on: in collaudo nothing leaves."""
    run(_change_phase(load_settings(data_dir), code, Phase(phase), clinics))
    click.echo(f"The organisation {code} is in the phase {phase}.")


async def _change_phase(
    settings: Settings, code: str, phase: Phase, clinics: tuple[str, ...]
) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        row = await admin.load_organisation(session, code)
        await change_phase(session, row, phase, clinics, by="", now=datetime.now(UTC))


@click.group()
def user() -> None:
    """Members of staff."""


@user.command(name="add")
@click.option("--organisation", "organisation_code", required=True, help="Its code.")
@click.option("--username", required=True)
@click.option("--role", required=True, type=click.Choice([role.value for role in UserRole]))
@click.option("--given-name", default="")
@click.option("--family-name", default="")
@click.option("--title", default="", help="As patients read it, for instance dott.ssa.")
@click.option("--code", help="The clinician's code in CUP files.")
@click.option("--codice-fiscale", help="Of a clinician: every report names who signs it.")
@click.option("--profession", type=_PROFESSIONS, default=Profession.SPECIALIST.value)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@data_option
def user_add(
    organisation_code: str,
    role: str,
    codice_fiscale: str | None,
    profession: str,
    password_stdin: bool,
    data_dir: Path | None,
    **names: str,
) -> None:
    """Add a member of staff; the password is asked for."""
    code = _check_codice_fiscale(codice_fiscale)
    settings = load_settings(data_dir)
    password_hash = hash_password(_ask_password(is_piped=password_stdin))
    row = User(
        role=UserRole(role),
        profession=Profession(profession),
        password_hash=password_hash,
        **names,
    )
    run(_add_user(settings, organisation_code, row, code))
    click.echo(f"Added the user {row.username}.")


def _ask_password(*, is_piped: bool) -> str:
    if is_piped:
        return sys.stdin.readline().rstrip("\r\n")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return answer


async def _add_user(
    settings: Settings, organisation_code: str, row: User, codice_fiscale: str
) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        organisation = await admin.load_organisation(session, organisation_code)
        row.organisation_id = organisation.id
        await admin.add_user(session, row)
        await log_change(session, organisation.id, Act.USER_CHANGED, row.id, "added")
        if codice_fiscale:
            keyring = load_keyring(settings.data_dir)
            await seal_codice_fiscale(keyring, session, row, codice_fiscale)


def _check_codice_fiscale(value: str | None) -> str:
    code = (value or "").strip().upper()
    if code and not codicefiscale.is_valid(code):
        raise CommandFailed("--codice-fiscale is not one: its sixteenth character does not agree")
    return code


@user.command(name="set")
@click.argument("username")
@click.option("--codice-fiscale", help="Every report names who signs it by it.")
@click.option("--profession", type=_PROFESSIONS, help="What a visit of theirs ends with.")
@click.option(
    "--facilitator/--no-facilitator",
    "is_facilitator",
    default=None,
    help="Whether a clinician builds and shares scenarios for practice visits.",
)
@data_option
def user_set(
    username: str,
    codice_fiscale: str | None,
    profession: str | None,
    is_facilitator: bool | None,
    data_dir: Path | None,
) -> None:
    """Change what the reports of a clinician say of them, and what they may do in training; what is
    not given stays."""
    code = _check_codice_fiscale(codice_fiscale)
    wish = _UserWish(code, profession, is_facilitator)
    run(_set_user(load_settings(data_dir), username.lower(), wish))
    click.echo(f"Changed the user {username}.")


@dataclass(frozen=True, slots=True)
class _UserWish:
    """What is to change of a user; empty and None: nothing."""

    codice_fiscale: str
    profession: str | None
    is_facilitator: bool | None


async def _set_user(settings: Settings, username: str, wish: _UserWish) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        row = await session.scalar(select(User).where(User.username == username))
        if row is None:
            raise CommandFailed(f"There is no user {username}")
        if wish.is_facilitator and row.role is not UserRole.CLINICIAN:
            raise CommandFailed(f"{username} is no clinician: only clinicians hold visits")
        if wish.profession:
            row.profession = Profession(wish.profession)
        if wish.is_facilitator is not None:
            row.is_facilitator = wish.is_facilitator
        await log_change(session, row.organisation_id, Act.USER_CHANGED, row.id, "saved")
        if wish.codice_fiscale:
            keyring = load_keyring(settings.data_dir)
            await seal_codice_fiscale(keyring, session, row, wish.codice_fiscale)


@user.command(name="password")
@click.argument("username")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@data_option
def user_password(username: str, password_stdin: bool, data_dir: Path | None) -> None:
    """Set the password of a member of staff, who is logged out everywhere."""
    settings = load_settings(data_dir)
    password_hash = hash_password(_ask_password(is_piped=password_stdin))
    run(_set_password(settings, username.lower(), password_hash))
    click.echo(f"The user {username} has a new password.")


async def _set_password(settings: Settings, username: str, password_hash: str) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        row = await session.scalar(select(User).where(User.username == username))
        if row is None:
            raise CommandFailed(f"There is no user {username}")
        row.password_hash, row.failed_logins, row.last_failed_at = password_hash, 0, None
        await session.execute(delete(UserSession).where(UserSession.user_id == row.id))
        await log_change(session, row.organisation_id, Act.USER_CHANGED, row.id, "password")


user.add_command(signer)
