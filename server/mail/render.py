"""A letter as the words, the link and the calendar file that leave. Pure: nothing is stored.

No health data: neither service nor clinic nor doctor; no name of the patient either, whoever
reads the telephone of somebody else learns the organisation, the day and the hour. Texts are
``templates/messages/<kind>.txt`` (first line: the subject) and ``<kind>.sms.txt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jinja2

from server.i18n import DEFAULT_LANGUAGE, Translator, load_translators
from server.joinlink import REPORT_TERM, derive_device_code, derive_link, derive_report_code
from server.mail.calendar import cancel_deadline, rules_of
from server.mail.contacts import find_email, find_phone
from server.mail.gsm7 import to_gsm7
from server.mail.ics import Method, render_ics
from server.mail.letter import DEVICE_CODE_TERM, Letter
from server.models import Channel, MessageKind

_TEMPLATES: Final = Path(__file__).parent.parent / "templates" / "messages"
_LONGEST_NAME_IN_SMS: Final = 40
_BEFORE_MIDNIGHT: Final = timedelta(minutes=1)
_CODES: Final = {
    MessageKind.DEVICE_CODE: derive_device_code,
    MessageKind.REPORT_CODE: derive_report_code,
}
_WITH_CALENDAR: Final = {
    MessageKind.INVITATION: Method.PUBLISH,
    MessageKind.REMINDER: Method.PUBLISH,
    MessageKind.MOVED: Method.PUBLISH,
    MessageKind.CANCELLED: Method.CANCEL,
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """One message, ready to leave. ``message_id`` stays the same when it is sent again."""

    message_id: str
    kind: MessageKind
    channel: Channel
    to: str
    subject: str
    """Empty for an SMS."""
    text: str
    ics: bytes | None
    ics_method: str
    booking_code: str
    sender_name: str
    language: str
    made_at: datetime


def channels_of(letter: Letter) -> list[Channel]:
    """Where this patient can be reached with this message, the best first: e-mail when there is
    an address, else SMS; a code goes to the telephone first, which is in the hand."""
    found = [
        channel for channel in (Channel.EMAIL, Channel.SMS) if _address(letter, channel) is not None
    ]
    return found[::-1] if letter.message.kind in _CODES else found


class Renderer:
    """Renders for one installation. ``mail_from`` is the organizer of the calendar files."""

    def __init__(self, base_url: str, mail_from: str = "") -> None:
        self._base_url = base_url
        self._organizer = mail_from or f"noreply@{urlsplit(base_url).hostname}"
        self._translators = _translators()
        self._environment = jinja2.Environment(  # noqa: S701 - plain text, never a page
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def render(self, letter: Letter, channel: Channel, now: datetime) -> Rendered:
        """The message as it leaves by a channel of :func:`channels_of`."""
        message, language = letter.message, letter.identity.language
        words = self._translators.get(language) or self._translators[DEFAULT_LANGUAGE]
        context = self._context(letter, words, now)
        method = _WITH_CALENDAR.get(message.kind) if channel is Channel.EMAIL else None
        subject, text = "", ""
        if channel is Channel.EMAIL:
            source = self._environment.get_template(f"{message.kind}.txt").render(context)
            subject, _, text = source.strip().partition("\n")
        else:
            source = self._environment.get_template(f"{message.kind}.sms.txt").render(context)
            text = to_gsm7(" ".join(source.split()))
        return Rendered(
            message_id=message.id,
            kind=message.kind,
            channel=channel,
            to=_address(letter, channel) or "",
            subject=" ".join(subject.split()),
            text=text.strip(),
            ics=self._ics(letter, words, now, method) if method else None,
            ics_method=method or "",
            booking_code=letter.visit.appointment.booking_code,
            sender_name=" ".join(letter.organisation.name.split()),
            language=words.language,
            made_at=now,
        )

    def _context(self, letter: Letter, words: Translator, now: datetime) -> dict[str, Any]:
        visit, appointment = letter.visit, letter.visit.appointment
        deadline = cancel_deadline(appointment.start, rules_of(letter.organisation))
        name = " ".join(letter.organisation.name.split())
        return {
            "_": words.gettext,
            "organisation": name,
            "short_organisation": _shortened(name),
            "phone": letter.organisation.desk_phone,
            "when": words.day_and_time(appointment.start),
            "link": self._link(letter),
            "is_late": now >= deadline,
            "last_day": words.day(deadline - _BEFORE_MIDNIGHT),
            "report_until": words.day(appointment.end + REPORT_TERM),
            "is_confirmed": appointment.confirmed_at is not None,
            "minutes": visit.late_minutes,
            "expected": words.time(appointment.start + timedelta(minutes=visit.late_minutes)),
            **_code(letter, words),
        }

    def _link(self, letter: Letter) -> str:
        visit = letter.visit
        fragment = derive_link(letter.join_key, visit.id, visit.link_version).fragment
        return f"{self._base_url}/v/{visit.locator}#{fragment}"

    def _ics(self, letter: Letter, words: Translator, now: datetime, method: Method) -> bytes:
        return render_ics(
            letter.visit,
            letter.organisation,
            words,
            now,
            method=method,
            organizer=self._organizer,
        )


@cache
def _translators() -> Mapping[str, Translator]:
    """Read once, however many renderers there are."""
    return load_translators()


def _code(letter: Letter, words: Translator) -> dict[str, str]:
    issued_at, derive = letter.moment("issued_at"), _CODES.get(letter.message.kind)
    if issued_at is None or derive is None:
        return {}
    return {
        "code": derive(letter.join_key, letter.visit.id, issued_at),
        "code_until": words.time(issued_at + DEVICE_CODE_TERM),
    }


def _address(letter: Letter, channel: Channel) -> str | None:
    identity = letter.identity
    return find_email(identity.email) if channel is Channel.EMAIL else find_phone(identity.phone)


def _shortened(name: str) -> str:
    if len(name) <= _LONGEST_NAME_IN_SMS:
        return name
    return name[: _LONGEST_NAME_IN_SMS + 1].rsplit(" ", 1)[0][:_LONGEST_NAME_IN_SMS]
