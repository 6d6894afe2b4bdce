"""What ``accanto check`` looks at: is this installation able to serve, and what is not covered.

Nothing is changed and no secret is said. What concerns the machine alone is in
:mod:`server.machine`, what is asked over the network in :mod:`server.reach`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import aiosmtplib
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from server.assets import Assets
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.findings import Finding, Level, judge_clock
from server.lineage import find_torn
from server.machine import check_machine
from server.mail.smtp import SmtpTransport
from server.migrations import is_current
from server.models import Organisation, Source
from server.reach import (
    check_address,
    check_gateways,
    check_listeners,
    check_sms_gateway,
    check_valkey,
)
from server.settings import Settings, SmtpSecurity
from server.settingvalues import LOOPBACK_HOSTS
from server.turn import probe

_OLDEST_CLOCK: Final = datetime(2026, 1, 1, tzinfo=UTC)


async def check_installation(settings: Settings, now: datetime) -> list[Finding]:
    """Look at everything once; nothing is changed."""
    return [
        *check_machine(settings, now),
        *await _check_database(settings, now),
        *await check_address(settings, now),
        *await _check_turn(settings, now),
        *await check_valkey(settings),
        *await _check_mail(settings),
        _check_assets(),
        _check_time(now),
    ]


async def _check_database(settings: Settings, now: datetime) -> list[Finding]:
    if not settings.database_url and not settings.sqlite_file.exists():
        return [Finding(Level.BAD, "There is no database yet: run 'accanto migrate'")]
    database = Database(settings.database)
    try:
        if not await is_current(database):
            return [Finding(Level.BAD, "The database is not migrated: run 'accanto migrate'")]
        async with database.read(EVERY_ORGANISATION) as session:
            findings = await _look_into(session, now)
            sources = list(await session.scalars(select(Source).order_by(Source.code)))
            bodies = list(await session.scalars(select(Organisation).order_by(Organisation.code)))
        torn = await find_torn(database, settings.signer_folder)
    except (OSError, SQLAlchemyError) as error:
        return [Finding(Level.BAD, f"The database cannot be reached ({type(error).__name__})")]
    finally:
        await database.close()
    findings += await check_listeners(settings, sources)
    findings += [Finding(Level.BAD, one.sentence) for one in torn]
    return [*findings, *await check_gateways(settings, bodies, now)]


async def _look_into(session: AsyncSession, now: datetime) -> list[Finding]:
    dialect = session.get_bind().dialect.name
    findings = [Finding(Level.GOOD, f"The database ({dialect}) is reachable and migrated")]
    if dialect == "postgresql":
        asked_at = datetime.now(UTC)
        theirs = (await session.scalars(select(func.clock_timestamp()))).one()
        trip = datetime.now(UTC) - asked_at
        findings.append(
            judge_clock(asked_at + trip / 2, theirs, "the database", trip / timedelta(seconds=1))
        )
    if not await session.scalar(select(func.count()).select_from(Organisation)):
        text = "There is no organisation yet: see 'accanto init'"
        findings.append(Finding(Level.WARNING, text))
    return findings


async def _check_turn(settings: Settings, now: datetime) -> list[Finding]:
    """Whether each TURN server relays for us, for us only, and nowhere inside: really tried."""
    if not settings.turn_urls:
        text = "No TURN server: behind a strict firewall no call connects"
        return [Finding(Level.WARNING, text)]
    if not settings.turn_secret and not settings.turn_valkey_url:
        text = "TURN servers are set without their secret (turn_secret or turn_valkey_url)"
        return [Finding(Level.BAD, text)]
    findings = [
        Finding(Level.GOOD if verdict.is_good else Level.BAD, verdict.text)
        for verdict in await probe.examine(settings, now)
    ]
    if not settings.turn_valkey_url:
        text = "Without turn_valkey_url the TURN credentials of a revoked link hold for 2 h at most"
        findings.append(Finding(Level.WARNING, text))
    return findings


async def _check_mail(settings: Settings) -> list[Finding]:
    """Whether messages can leave; the mail server is really asked, the SMS gateway only called."""
    if not settings.smtp_host and not settings.sms_url:
        text = "No mail server and no SMS gateway: messages to patients wait"
        return [Finding(Level.WARNING, text)]
    findings = [await _check_mail_server(settings)]
    if settings.sms_url:
        findings.append(await check_sms_gateway(settings))
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
