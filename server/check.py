"""What ``accanto check`` looks at: is this installation able to serve, and what is not covered.

Each finding is one sentence. A warning is a decision that the people who run it should know of; a
failure is something to mend before patients come.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import aiosmtplib
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from server.assets import Assets
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import ROOT_KEY_FILE, load_keyring
from server.mail.smtp import SmtpTransport
from server.migrations import is_current
from server.models import Organisation
from server.settings import LOOPBACK_HOSTS, Settings, SmtpSecurity

_OLDEST_CLOCK: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Level(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    text: str


async def check_installation(settings: Settings, now: datetime) -> list[Finding]:
    """Look at everything once; nothing is changed."""
    return [
        _check_key(settings),
        Finding(
            Level.WARNING,
            f"The root key ({ROOT_KEY_FILE}) is in the data folder, beside what it seals: "
            "a stolen disk is not covered",
        ),
        *await _check_database(settings),
        _check_address(settings),
        _check_turn(settings),
        *await _check_mail(settings),
        _check_assets(),
        _check_time(now),
    ]


def _check_key(settings: Settings) -> Finding:
    try:
        load_keyring(settings.data_dir)
    except CommandFailed as error:
        return Finding(Level.BAD, str(error))
    return Finding(Level.GOOD, "The root key is readable by its owner only")


async def _check_database(settings: Settings) -> list[Finding]:
    if not settings.database_url and not settings.sqlite_file.exists():
        return [Finding(Level.BAD, "There is no database yet: run 'accanto migrate'")]
    database = Database(settings.database)
    try:
        if not await is_current(database):
            return [Finding(Level.BAD, "The database is not migrated: run 'accanto migrate'")]
        async with database.read(EVERY_ORGANISATION) as session:
            count = await session.scalar(select(func.count()).select_from(Organisation)) or 0
    except (OSError, SQLAlchemyError) as error:
        return [Finding(Level.BAD, f"The database cannot be reached ({type(error).__name__})")]
    finally:
        await database.close()
    findings = [
        Finding(
            Level.GOOD, f"The database ({database.engine.dialect.name}) is reachable and migrated"
        )
    ]
    if count == 0:
        text = "There is no organisation yet: see 'accanto organisation add'"
        findings.append(Finding(Level.WARNING, text))
    return findings


def _check_address(settings: Settings) -> Finding:
    if settings.is_https:
        return Finding(Level.GOOD, f"Links start with {settings.base_url}")
    text = f"{settings.base_url} is http: it works on this machine only"
    return Finding(Level.WARNING, text)


def _check_turn(settings: Settings) -> Finding:
    if settings.turn_urls and settings.turn_secret:
        return Finding(Level.GOOD, "A TURN server is set")
    if settings.turn_urls:
        return Finding(Level.BAD, "TURN servers are set without their secret (turn_secret)")
    return Finding(Level.WARNING, "No TURN server: behind a strict firewall no call connects")


async def _check_mail(settings: Settings) -> list[Finding]:
    """Whether messages can leave; the mail server is really asked, the SMS gateway is not."""
    if not settings.smtp_host and not settings.sms_url:
        text = "No mail server and no SMS gateway: messages to patients wait"
        return [Finding(Level.WARNING, text)]
    findings = [await _check_mail_server(settings)]
    if settings.sms_url:
        text = f"SMS leave through {urlsplit(settings.sms_url).hostname}"
        findings.append(Finding(Level.GOOD, text))
    else:
        text = "No SMS gateway: patients without an e-mail address get nothing"
        findings.append(Finding(Level.WARNING, text))
    return findings


async def _check_mail_server(settings: Settings) -> Finding:
    host = settings.smtp_host
    if not host:
        return Finding(Level.WARNING, "No mail server: patients without a telephone get nothing")
    if not settings.mail_from:
        return Finding(Level.BAD, "A mail server is set without the address to send from")
    if settings.smtp_security is SmtpSecurity.NONE and host not in LOOPBACK_HOSTS:
        text = f"The mail server {host} is spoken to in clear: set smtp_security"
        return Finding(Level.BAD, text)
    try:
        await SmtpTransport(settings).probe()
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        text = f"The mail server {host} cannot be used ({type(error).__name__})"
        return Finding(Level.BAD, text)
    return Finding(Level.GOOD, f"The mail server {host} answers")


def _check_assets() -> Finding:
    try:
        Assets()
    except CommandFailed as error:
        return Finding(Level.BAD, str(error))
    return Finding(Level.GOOD, "The front-end packages are there")


def _check_time(now: datetime) -> Finding:
    try:
        local = now.astimezone(ZoneInfo("Europe/Rome"))
    except ZoneInfoNotFoundError:
        return Finding(Level.BAD, "The time zone Europe/Rome is unknown: install tzdata")
    if now < _OLDEST_CLOCK:
        return Finding(Level.BAD, f"The clock says {local:%d/%m/%Y %H:%M}: it is wrong")
    return Finding(Level.GOOD, f"The clock says {local:%d/%m/%Y %H:%M} in Rome")
