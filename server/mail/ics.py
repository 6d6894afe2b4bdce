"""The visit as a calendar file (RFC 5545). It carries no link, no person's name and no word of
health: calendars are shared and read by others.

``PUBLISH``, not ``REQUEST``: a request shows buttons to accept, whose answers nobody would read;
confirming and cancelling is on the patient's page. The same event (UID) is updated by each later
message, because ``SEQUENCE`` grows with every change of the booking.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from server.i18n import Translator
from server.models import Organisation, Visit

ICS_NAME: Final = "visita.ics"
_LONGEST_LINE_BYTES: Final = 74


class Method(StrEnum):
    """What the file does to a calendar (RFC 5546)."""

    PUBLISH = "PUBLISH"
    CANCEL = "CANCEL"


def render_ics(
    visit: Visit,
    organisation: Organisation,
    words: Translator,
    now: datetime,
    *,
    method: Method = Method.PUBLISH,
    organizer: str = "",
) -> bytes:
    """The file for a visit that was loaded with its appointment.

    Times are in UTC, so they are right whatever the calendar knows of summer time. ``organizer``
    is the address that messages come from.
    """
    appointment = visit.appointment
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Accanto//Accanto//IT",
        f"METHOD:{method}",
        "BEGIN:VEVENT",
        f"UID:{visit.id}@accanto",
        f"SEQUENCE:{_sequence(appointment.created_at, appointment.updated_at)}",
        f"DTSTAMP:{_utc(now)}",
        f"DTSTART:{_utc(appointment.start)}",
        f"DTEND:{_utc(appointment.end)}",
        *((f"ORGANIZER:mailto:{organizer}",) if organizer else ()),
        f"STATUS:{'CANCELLED' if method is Method.CANCEL else 'CONFIRMED'}",
        *_words_of(organisation, words, has_alarm=method is Method.PUBLISH),
        "END:VEVENT",
        "END:VCALENDAR",
    )
    return "".join(_fold(line) for line in lines).encode()


def _words_of(organisation: Organisation, words: Translator, *, has_alarm: bool) -> list[str]:
    _ = words.gettext
    title = _escape(_("Visit in video"))
    help_text = _(
        "Open the link of the message you received. Do you need help? Call {phone}.",
        phone=organisation.desk_phone,
    )
    alarm = ["BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER:-PT30M", f"DESCRIPTION:{title}",
             "END:VALARM"]  # fmt: skip
    said = [f"SUMMARY:{title}", f"DESCRIPTION:{_escape(help_text)}"]
    return [*said, *alarm] if has_alarm else said


def _sequence(created_at: datetime, updated_at: datetime) -> int:
    """Seconds from the booking to its last change: it only grows, and nothing has to be counted."""
    return max(0, int((updated_at - created_at).total_seconds()))


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _escape(text: str) -> str:
    for char in "\\;,":
        text = text.replace(char, f"\\{char}")
    return "\\n".join(text.splitlines())


def _fold(line: str) -> str:
    """RFC 5545 §3.1: no line over 75 octets; the rest goes on after a space."""
    folded, room = "", _LONGEST_LINE_BYTES
    for char in line:
        size = len(char.encode())
        if size > room:
            folded, room = folded + "\r\n ", _LONGEST_LINE_BYTES - 1
        folded, room = folded + char, room - size
    return folded + "\r\n"
