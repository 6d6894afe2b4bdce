"""The delivery of an installation, from its settings."""

from __future__ import annotations

from server.mail.delivery import Delivery, Transport
from server.mail.sms import SmsGateway
from server.mail.smtp import SmtpTransport
from server.models import Channel
from server.settings import Settings


def delivery_of(settings: Settings) -> Delivery:
    """E-mail where a mail server is named, SMS where a gateway is; with neither, messages wait."""
    transports: dict[Channel, Transport] = {}
    if settings.smtp_host and settings.mail_from:
        transports[Channel.EMAIL] = SmtpTransport(settings)
    if settings.sms_url:
        transports[Channel.SMS] = SmsGateway(settings.sms_url, settings.sms_token)
    return Delivery(transports)
