"""E-mail by SMTP (RFC 5321): one connection a message, one recipient a message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

import aiosmtplib

from server.mail.delivery import SENT, Delivered, DispatchVerdict
from server.mail.ics import ICS_NAME
from server.mail.render import Rendered
from server.settings import Settings, SmtpSecurity

logger = logging.getLogger(__name__)

_SECONDS: Final = 15
_WHOLE_SECONDS: Final = 60
_GOODBYE_SECONDS: Final = 5
_PERMANENT: Final = 500


class SmtpTransport:
    """One mail server, as the settings name it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._domain = settings.mail_from.partition("@")[2]

    async def send(self, rendered: Rendered) -> DispatchVerdict:
        """Hand one message to a patient to the mail server."""
        message = build_email(rendered, self._settings.mail_from)
        return await self.hand_over(message, [rendered.to])

    async def hand_over(self, message: EmailMessage, to: list[str]) -> DispatchVerdict:
        """Hand any message to the mail server.

        Only what it says of the recipient or of the message (5xx) is final: a refused log-in or
        sender is our own set-up, which is mended while the message waits.
        """
        try:
            async with asyncio.timeout(_WHOLE_SECONDS), self._connected() as client:
                await client.sendmail(self._settings.mail_from, to, message.as_bytes(policy=SMTP))
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _verdict(max(one.code for one in error.recipients), "recipient_refused")
        except aiosmtplib.SMTPSenderRefused:
            return DispatchVerdict(Delivered.RETRY, "sender_refused")
        except aiosmtplib.SMTPAuthenticationError:
            return DispatchVerdict(Delivered.RETRY, "login_refused")
        except aiosmtplib.SMTPDataError as error:
            return _verdict(error.code, "message_refused")
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            logger.warning("mail server: %s", type(error).__name__)
            return DispatchVerdict(Delivered.RETRY, "no_answer")
        return SENT

    async def probe(self) -> None:
        """Open a connection, log in and leave.

        :raises aiosmtplib.SMTPException, OSError, TimeoutError: it did not work.
        """
        async with asyncio.timeout(_WHOLE_SECONDS), self._connected() as client:
            await client.noop()

    async def close(self) -> None:
        """No connection is kept."""

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A session. How it ends changes nothing of what the server has taken over."""
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username or None,
            password=settings.smtp_password or None,
            local_hostname=self._domain,
            timeout=_SECONDS,
            use_tls=settings.smtp_security is SmtpSecurity.TLS,
            start_tls=settings.smtp_security is SmtpSecurity.STARTTLS,
        )
        try:
            await client.connect()
            yield client
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=_GOODBYE_SECONDS)
        finally:
            client.close()


def build_email(rendered: Rendered, mail_from: str) -> EmailMessage:
    """The message with its calendar file. No name of a patient is in a header."""
    user, _, domain = mail_from.partition("@")
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(rendered.sender_name, user, domain)
    message["To"] = rendered.to
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(rendered.made_at)
    message["Message-ID"] = f"<{rendered.message_id}@{domain}>"
    message["Content-Language"] = rendered.language
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{rendered.text}\n", cte="quoted-printable")
    if rendered.ics is not None:
        message.add_attachment(
            rendered.ics.decode(),
            subtype="calendar",
            cte="base64",
            filename=ICS_NAME,
            params={"method": rendered.ics_method},
        )
    return message


def _verdict(code: int, reason: str) -> DispatchVerdict:
    result = Delivered.REFUSED if code >= _PERMANENT else Delivered.RETRY
    return DispatchVerdict(result, reason)
