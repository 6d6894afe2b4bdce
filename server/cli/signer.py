"""``accanto user signer``: with what a clinician signs reports.

A PKCS#12 file can also be added by its owner, on the page "La mia firma"; a token (PKCS#11) is
connected here only, since its library runs on this computer.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server import admin
from server.audit import Act, ActorRole, Entry, append
from server.cli.common import data_option, run
from server.db import EVERY_ORGANISATION, OrganisationId
from server.errors import CommandFailed
from server.keyring import load_keyring
from server.models import User, UserRole
from server.sealed import open_codice_fiscale
from server.settings import Settings, load_settings
from server.signing import (
    CertificateFacts,
    Pkcs11Key,
    Pkcs12File,
    Refusal,
    SignerMeans,
    SigningRefused,
    inspect_means,
    put_signer,
    remove_signer,
)

_REFUSALS = {
    Refusal.WRONG_PIN: "The PIN is wrong",
    Refusal.LOCKED: "The token is locked",
    Refusal.UNREADABLE: "This is not a PKCS#12 file with a key and its certificate",
    Refusal.UNREACHABLE: "The token does not answer: look at its library and its label",
    Refusal.NO_KEY: "The token has no such key, or no certificate with its label",
    Refusal.WEAK_KEY: "The key is too short",
    Refusal.EXPIRED: "The certificate has expired",
    Refusal.NOT_YET_VALID: "The certificate is not valid yet",
    Refusal.WRONG_KEY_USAGE: "The certificate is not for signing documents",
    Refusal.NOT_THE_DOCTOR: "The certificate names another codice fiscale than the user's",
}


@click.command(name="signer")
@click.argument("username")
@click.option("--pkcs12", type=click.Path(path_type=Path, dir_okay=False), help="A .p12 file.")
@click.option("--pkcs11", help="Path of a token's PKCS#11 library.")
@click.option("--token", help="Label of the token.")
@click.option("--key", help="Label of the key on it, and of its certificate.")
@click.option("--certificate", default="", help="Label of the certificate, if it has another.")
@click.option("--remove", is_flag=True, help="Delete what is there.")
@click.option("--pin-stdin", is_flag=True, help="Read the PIN from standard input.")
@data_option
def signer(
    username: str,
    pkcs12: Path | None,
    remove: bool,
    pin_stdin: bool,
    data_dir: Path | None,
    **token: str | None,
) -> None:
    """Set with what a clinician signs; the PIN is asked for, tried once and not kept."""
    settings = load_settings(data_dir)
    wished = _parse_key(pkcs12, token)
    if remove == (wished is not None):
        raise CommandFailed("Give --pkcs12, or --pkcs11 with --token and --key, or --remove")
    if wished is None:
        run(_remove(settings, username.lower()))
        click.echo(f"The user {username} has no signature any more.")
        return
    pin = sys.stdin.readline().rstrip("\r\n") if pin_stdin else click.prompt("PIN", hide_input=True)
    try:
        facts: CertificateFacts = run(_set(settings, username.lower(), wished, pin))
    except SigningRefused as refused:
        raise CommandFailed(f"{_REFUSALS[refused.reason]}. Nothing was changed") from refused
    click.echo(
        f"The user {username} signs as {facts.subject} ({facts.issuer}),"
        f" until {facts.valid_until:%Y-%m-%d}."
    )


def _parse_key(file: Path | None, token: dict[str, str | None]) -> Pkcs12File | Pkcs11Key | None:
    """
    :raises CommandFailed: both, or half of a token.
    """
    library, label, key = token["pkcs11"], token["token"], token["key"]
    if file is not None and library is None:
        return Pkcs12File(file.read_bytes())
    if file is None and library and label and key:
        certificate = token["certificate"] or ""
        return Pkcs11Key(module=library, token=label, key=key, certificate=certificate)
    if file is not None or any((library, label, key)):
        raise CommandFailed("A token needs --pkcs11, --token and --key, and no --pkcs12")
    return None


async def _set(
    settings: Settings, username: str, key: Pkcs12File | Pkcs11Key, pin: str
) -> CertificateFacts:
    keyring, now = load_keyring(settings.data_dir), datetime.now(UTC)
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        user = await _load_clinician(session, username)
        codice_fiscale = await open_codice_fiscale(keyring, session, user)
        means = SignerMeans(user.organisation_id, user.id, key, codice_fiscale)
        facts = await inspect_means(means, pin, now)
        await put_signer(keyring, session, means, facts, now)
        await _write(session, user, Act.SIGNER_CHANGED, now)
    return facts


async def _remove(settings: Settings, username: str) -> None:
    async with (
        admin.open_database(settings) as database,
        database.begin(EVERY_ORGANISATION) as session,
    ):
        user = await _load_clinician(session, username)
        if not await remove_signer(session, user.id):
            raise CommandFailed(f"The user {username} has no signature")
        await _write(session, user, Act.SIGNER_REMOVED, datetime.now(UTC))


async def _load_clinician(session: AsyncSession, username: str) -> User:
    user = await session.scalar(select(User).where(User.username == username))
    if user is None or user.role is not UserRole.CLINICIAN:
        raise CommandFailed(f"There is no clinician {username}")
    return user


async def _write(session: AsyncSession, user: User, act: Act, now: datetime) -> None:
    entry = Entry(now, act, ActorRole.SYSTEM, facts={"user": user.id})
    await append(session, OrganisationId(user.organisation_id), entry)
