"""The head of every log by e-mail, once a day: in a mailbox of the clinic it is out of reach of
whoever alters the log later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import date, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Final

from aiohttp import web
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from server.db import EVERY_ORGANISATION, Database
from server.i18n import DEFAULT_LANGUAGE, ROME, load_translators
from server.mail.delivery import Delivered
from server.mail.smtp import SmtpTransport
from server.models import LogCheckpoint, Organisation
from server.services import CLOCK, DATABASE, SETTINGS
from server.settings import Settings

logger = logging.getLogger(__name__)

FROM_HOUR: Final = 6
"""In Rome; a server that was off then sends later that day."""
_EVERY_SECONDS: Final = 300.0
_DONE_FILE: Final = "head-mailed"


class HeadMail:
    """Sends for one installation. The day it was done last is a file beside the signer's."""

    def __init__(
        self, database: Database, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._done_file = settings.signer_folder / _DONE_FILE
        self._done = date.min

    async def run(self) -> None:
        """Send every day until cancelled."""
        while True:
            try:
                await self.send_if_due()
            except (OSError, SQLAlchemyError) as error:
                logger.warning("the heads of the logs wait: %s", type(error).__name__)
            await asyncio.sleep(_EVERY_SECONDS)

    async def send_if_due(self) -> bool:
        """Send what was not sent today; whether it was handed over."""
        now = self._clock()
        local = now.astimezone(ROME)
        is_due = local.hour >= FROM_HOUR and self._load_done() < local.date()
        heads = await self._load_heads() if is_due else {}
        if not heads:
            return False
        message = compose(self._settings.mail_from, self._settings.log_head_mail, heads, now)
        transport = SmtpTransport(self._settings)
        verdict = await transport.hand_over(message, self._settings.log_head_mail)
        if verdict.result is not Delivered.SENT:
            logger.warning("the heads of the logs were not mailed: %s", verdict.reason)
            return False
        self._done = local.date()
        self._done_file.write_text(local.date().isoformat(), encoding="utf-8")
        return True

    def _load_done(self) -> date:
        try:
            kept = date.fromisoformat(self._done_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = date.min
        return max(kept, self._done)

    async def _load_heads(self) -> dict[str, str]:
        """The newest note of each organisation, by its code."""
        newest = (
            select(LogCheckpoint.organisation_id, func.max(LogCheckpoint.size).label("size"))
            .group_by(LogCheckpoint.organisation_id)
            .subquery()
        )
        notes = (
            select(Organisation.code, LogCheckpoint.note)
            .join(LogCheckpoint, LogCheckpoint.organisation_id == Organisation.id)
            .join(
                newest,
                (newest.c.organisation_id == LogCheckpoint.organisation_id)
                & (newest.c.size == LogCheckpoint.size),
            )
        )
        async with self._database.read(EVERY_ORGANISATION) as session:
            rows = await session.execute(notes.order_by(Organisation.code))
            return {row.code: row.note for row in rows}


def compose(mail_from: str, to: list[str], heads: dict[str, str], now: datetime) -> EmailMessage:
    """The message in Italian, with each note as a file that a verifier takes."""
    words = load_translators()[DEFAULT_LANGUAGE]
    day = now.astimezone(ROME).date()
    message = EmailMessage(policy=SMTP)
    message["From"] = mail_from
    message["To"] = ", ".join(to)
    message["Subject"] = words.gettext("Seals of the session logs, {day}", day=f"{day:%d/%m/%Y}")
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=mail_from.partition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    text = words.gettext(
        "Keep this message. The attached files hold the seal of each log: with them anybody can "
        "verify later that nothing of before was altered."
    )
    message.set_content(f"{text}\n\n" + "\n".join(heads.values()), cte="quoted-printable")
    for code, note in heads.items():
        name = f"{Path(code).name}-{day:%Y%m%d}.txt"
        message.add_attachment(note.encode(), "text", "plain", filename=name)
    return message


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """For the process that leads; does nothing where nobody is to get it."""
    settings = app[SETTINGS]
    if not settings.log_head_mail or not settings.smtp_host or not settings.mail_from:
        yield
        return
    mail = HeadMail(app[DATABASE], settings, app[CLOCK])
    task = asyncio.create_task(mail.run(), name="head mail")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
