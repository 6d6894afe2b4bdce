"""Which entries of a visit tell that somebody saw a person's data, grouped to be read. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from server.audit import Act, ActorRole
from server.i18n import ROME
from server.line.presence import Line


class What(StrEnum):
    """What was seen or handed out, in the words of the page."""

    CARD = "card"
    CONTACT = "contact"
    CORRECTED = "corrected"
    LINK = "link"
    CLAIMED = "claimed"
    NOTE = "note"
    FILE = "file"
    REPORT = "report"
    RECORDING = "recording"
    RECORDING_COPY = "recording_copy"
    NATIONAL_RECORD = "national_record"
    BOOKING = "booking"
    LOG = "log"
    HANDED_OUT = "handed_out"


_SEEN: Final = {
    Act.CARD_OPENED: What.CARD,
    Act.CONTACT_OPENED: What.CONTACT,
    Act.CONTACT_CORRECTED: What.CORRECTED,
    Act.IDENTITY_COMPLETED: What.CORRECTED,
    Act.PATIENT_RECTIFIED: What.CORRECTED,
    Act.LINK_READ: What.LINK,
    Act.LINK_CODE_READ: What.LINK,
    Act.LINK_CLAIMED: What.CLAIMED,
    Act.NOTE_OPENED: What.NOTE,
    Act.NOTE_HISTORY_OPENED: What.NOTE,
    Act.NOTE_PRINTED: What.NOTE,
    Act.ATTACHMENT_OPENED: What.FILE,
    Act.REPORT_OPENED: What.REPORT,
    Act.REPORT_DOWNLOADED: What.REPORT,
    Act.REPORT_EXPORTED: What.REPORT,
    Act.RECORDING_OPENED: What.RECORDING,
    Act.RECORDING_EXPORTED: What.RECORDING_COPY,
    Act.FSE_PUBLISHED: What.NATIONAL_RECORD,
    Act.CUP_MESSAGE_OPENED: What.BOOKING,
    Act.LOG_READ: What.LOG,
    Act.LOG_EXPORTED: What.LOG,
    Act.PATIENT_EXPORTED: What.HANDED_OUT,
}


@dataclass(frozen=True, slots=True)
class Opening:
    """Somebody of one role saw one kind of data on one day: ``times``, the last ``at``."""

    day: date
    role: ActorRole
    what: What
    at: datetime
    times: int


def group(lines: Iterable[Line]) -> dict[date, list[Opening]]:
    """By local day, the newest first, from lines in the order of the log."""
    found: dict[tuple[date, ActorRole, What], Opening] = {}
    for line in lines:
        what = _SEEN.get(line.act)
        if what is None:
            continue
        day = line.at.astimezone(ROME).date()
        before = found.get((day, line.role, what))
        times = before.times + 1 if before else 1
        found[day, line.role, what] = Opening(day, line.role, what, line.at, times)
    days: dict[date, list[Opening]] = {}
    for opening in sorted(found.values(), key=lambda one: one.at, reverse=True):
        days.setdefault(opening.day, []).append(opening)
    return days
