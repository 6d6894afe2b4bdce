"""The visit as a calendar file. It carries no link, no name and no word of health: calendars are
shared and read by others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from server.auth import actor_of
from server.checkin.store import load_progress
from server.services import DATABASE, KEYRING, PAGES, now_of

_LONGEST_LINE_BYTES: Final = 74


async def send_calendar(request: web.Request) -> web.StreamResponse:
    """``GET /v/{locator}/calendar.ics`` (RFC 5545)."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        progress = await load_progress(session, request.app[KEYRING], actor)
    _ = request.app[PAGES].translator(request).gettext
    appointment, organisation = progress.visit.appointment, progress.organisation
    title = _escape(_("Visit in video"))
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Accanto//Accanto//IT",
        "BEGIN:VEVENT",
        f"UID:{progress.visit.locator}@accanto",
        f"DTSTAMP:{_utc(now_of(request))}",
        f"DTSTART:{_utc(appointment.start)}",
        f"DTEND:{_utc(appointment.end)}",
        f"SUMMARY:{title}",
        "DESCRIPTION:"
        + _escape(
            _(
                "Open the link of the message you received. Do you need help? Call {phone}.",
                phone=organisation.desk_phone,
            )
        ),
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        "TRIGGER:-PT30M",
        f"DESCRIPTION:{title}",
        "END:VALARM",
        "END:VEVENT",
        "END:VCALENDAR",
    )
    return web.Response(
        text="".join(_fold(line) for line in lines),
        content_type="text/calendar",
        charset="utf-8",
        headers={"Content-Disposition": 'attachment; filename="visita.ics"'},
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _escape(text: str) -> str:
    for char in "\\;,":
        text = text.replace(char, f"\\{char}")
    return text.replace("\n", "\\n")


def _fold(line: str) -> str:
    """RFC 5545 §3.1: no line over 75 octets; the rest goes on after a space."""
    folded, room = "", _LONGEST_LINE_BYTES
    for char in line:
        size = len(char.encode())
        if size > room:
            folded, room = folded + "\r\n ", _LONGEST_LINE_BYTES
        folded, room = folded + char, room - size
    return folded + "\r\n"
