"""HL7 v2 towards CUP: answers to what it sent, and events as SIU and SRM; what it answers to those.

Pure. Called by :mod:`server.cup.hl7v2.mllp`. An answer uses the delimiters, the version and the
names of the message it answers; its texts are stable words, never a value of the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from server.cup.booking import Fault, Reason
from server.cup.hl7v2.wire import Header, escape, find_header, split_lines
from server.cup.outbox.outgoing import OutgoingEvent, Verdict
from server.cup.texts import ROME
from server.models import EventKind, Outcome
from server.sources import Outgoing

_VERSION: Final = "2.5"
_US: Final = "ACCANTO"
_REASONS_SYSTEM: Final = "99ACCANTO"
_STATUS_WORDS: Final[Mapping[str, str]] = {
    Outcome.COMPLETED: "Complete",
    Outcome.NO_SHOW_PATIENT: "Noshow",
    Outcome.NO_SHOW_CLINICIAN: "Cancelled",
    Outcome.TECHNICAL_FAILURE: "Cancelled",
    Outcome.CONVERTED_TO_IN_PERSON: "Cancelled",
}
"""SCH-25 (table 0278): what failed on our side never makes the patient absent (WL-04)."""
_NEVER_TAKEN: Final = frozenset(
    {Reason.NOT_A_BOOKING, Reason.WRONG_CHARACTER_SET, Reason.WRONG_SENDER, Reason.TOO_LARGE}
)
_UNREAD_PATHS: Final = frozenset({"MSH", "MSH-12"})
_ERROR_CODES: Final = {
    "MSH-9": ("200", "Unsupported message type"),
    "MSH-12": ("203", "Unsupported version id"),
}
"""Of table 0357, by path."""
_TEMPORARY: Final = frozenset({"206", "207"})
"""ERR-3 (table 0357): record locked, application internal error."""


class AckCode(StrEnum):
    """MSA-1."""

    AA = "AA"
    """Stored and applied, or known already."""
    AE = "AE"
    """What the message says is wrong, or it was cut; it is kept for a person."""
    AR = "AR"
    """Nothing we take: its type, version, sender, character set or size."""


def ack_code_of(fault: Fault | None) -> AckCode:
    """The answer to a message that had this fault, or none."""
    if fault is None:
        return AckCode.AA
    is_never_taken = fault.reason in _NEVER_TAKEN or fault.path in _UNREAD_PATHS
    return AckCode.AR if is_never_taken else AckCode.AE


def render_ack(header: Header, fault: Fault | None, control_id: str, now: datetime) -> bytes:
    """The answer to the message that began with this header. ``control_id`` is the answer's own."""
    code = ack_code_of(fault)
    one, two = header.separator, header.delimiters[0]
    event = header.component(9, 2)
    version = header.component(12) or _VERSION
    kind = two.join(filter(None, ("ACK", event, "ACK" if event else "")))
    names = (header.raw(number) for number in (5, 6, 3, 4))
    envelope = (_dtm(now), "", kind, control_id, header.raw(11) or "P", version)
    head = ("MSH", header.raw(2) or header.delimiters, *names, *envelope)
    lines = [
        one.join((*head, "", "", "", "", "", header.raw(18))).rstrip(one),
        one.join(("MSA", code, header.raw(10))),
    ]
    if fault is not None:
        words = f"{fault.field}: {fault.reason}"
        if version < "2.7":
            lines[1] += one + words
        if version >= "2.5":
            lines.append(_error_segment(header, fault, words))
    return ("\r".join(lines) + "\r").encode("latin-1")


def render_event(event: OutgoingEvent, outgoing: Outgoing) -> bytes | None:
    """The message of an event; None when this source has no word for it and wants none."""
    match event.kind:
        case EventKind.CANCEL_ASKED:
            reason = "late_patient_request" if event.facts.get("late") else "patient_request"
            lines = _request(event, outgoing, "S04", reason)
        case EventKind.REBOOKING_ASKED:
            lines = _request(event, outgoing, "S01", str(event.facts.get("reason", "")))
        case _:
            word = _status_word(event, outgoing)
            if not word:
                return None
            lines = _notice(event, outgoing, word)
    return ("\r".join(line.rstrip("|") for line in lines) + "\r").encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """MSA of an ACK or SRR; ``code`` is empty when it is none."""

    code: str
    control_id: str
    is_temporary: bool

    def verdict(self, control_id: str) -> Verdict:
        """What it means for the message that went out under this control id."""
        if self.control_id != control_id:
            return Verdict.RETRY
        if self.code in {"AA", "CA"}:
            return Verdict.DELIVERED
        is_refused = self.code in {"AE", "AR", "CE", "CR"} and not self.is_temporary
        return Verdict.REFUSED if is_refused else Verdict.RETRY


def parse_answer(raw: bytes) -> Answer:
    """What CUP answered; an answer that cannot be read has no code."""
    header = find_header(raw)
    if header is None:
        return Answer("", "", is_temporary=False)
    found: dict[str, list[str]] = {}
    for line in split_lines(raw.decode("latin-1")):
        found.setdefault(line[:3], line.split(header.separator))
    acknowledgement = [*found.get("MSA", []), "", "", ""]
    error = [*found.get("ERR", []), "", "", "", ""]
    return Answer(
        code=acknowledgement[1].strip(),
        control_id=acknowledgement[2].strip(),
        is_temporary=error[3].split(header.delimiters[0])[0] in _TEMPORARY,
    )


def _error_segment(header: Header, fault: Fault, words: str) -> str:
    """ERR of 2.5: location, code of table 0357, severity, words."""
    two = header.delimiters[0]
    segment, _, place = fault.path.partition("-")
    number, _, part = place.partition(".")
    location = two.join((segment, "1", number, "1", part)).rstrip(two) if segment else ""
    fields = ("ERR", "", location, two.join((*_error_code(fault), "HL70357")), "E", "", "", words)
    return header.separator.join(fields)


def _error_code(fault: Fault) -> tuple[str, str]:
    if fault.path in _ERROR_CODES:
        return _ERROR_CODES[fault.path]
    if fault.reason is Reason.MISSING:
        return "101", "Required field missing"
    if fault.reason is Reason.CONTROL_ID_REUSED:
        return "205", "Duplicate key identifier"
    return "102", "Data type error"


def _notice(event: OutgoingEvent, outgoing: Outgoing, word: str) -> list[str]:
    """SIU^S14: the booking as CUP has it, what we say of it in SCH-25, the real times in AIS."""
    placer, filler = _codes(event, outgoing)
    minutes = int((event.end - event.start).total_seconds() // 60)
    reason = _coded(str(event.facts.get("reason") or event.facts.get("outcome") or event.kind))
    began_at, ended_at = _fact_time(event, "began_at"), _fact_time(event, "ended_at")
    start = began_at or event.start
    length = str(int((ended_at - start).total_seconds() // 60)) if ended_at else ""
    timing = f"^^M{minutes}^{_dtm(event.start)}^{_dtm(event.end)}"
    service = f"{escape(event.service_code)}|{_dtm(start)}|||{length}|{'min' if length else ''}"
    return [
        _header_line(event, outgoing, "SIU^S14^SIU_S12"),
        f"SCH|{placer}|{filler}||||{reason}|||{minutes}|min|{timing}|||||{_US}||||{_US}|||||{word}",
        f"TQ1|1||||||{_dtm(event.start)}|{_dtm(event.end)}",
        "RGS|1",
        f"AIS|1||{service}||{word}",
        *([f"AIP|1||{escape(event.clinician_code)}"] if event.clinician_code else []),
    ]  # fmt: skip


def _request(event: OutgoingEvent, outgoing: Outgoing, trigger: str, reason: str) -> list[str]:
    """SRM: to cancel a booking (S04), or for a new one whose parent it is (S01)."""
    codes = _codes(event, outgoing)
    if trigger == "S01":
        numbers, parents = (escape(event.control_id), ""), codes
    else:
        numbers, parents = codes, ("", "")
    wanted = f"{_dtm(event.start)}^{_dtm(event.end)}" if trigger == "S04" else ""
    return [
        _header_line(event, outgoing, f"SRM^{trigger}^SRM_S01"),
        f"ARQ|{'|'.join(numbers)}||||{_coded(reason)}|||||{wanted}||||{_US}||||{_US}|||{'|'.join(parents)}",
        "RGS|1",
        f"AIS|1||{escape(event.service_code)}|{_dtm(event.start) if wanted else ''}",
    ]  # fmt: skip


def _header_line(event: OutgoingEvent, outgoing: Outgoing, kind: str) -> str:
    return (
        f"MSH|^~\\&|{_US}|{escape(event.organisation_code)}|"
        f"{escape(outgoing.receiving_application)}||{_dtm(event.sent_at)}||{kind}|"
        f"{escape(event.control_id)}|P|{_VERSION}||||||UNICODE UTF-8"
    )


def _status_word(event: OutgoingEvent, outgoing: Outgoing) -> str:
    """SCH-25 for this source: an outcome has a usual word, what happens before it has none."""
    outcome = str(event.facts.get("outcome", ""))
    name = outcome if event.kind is EventKind.ENDED else event.kind.value
    return escape(outgoing.words.get(name, _STATUS_WORDS.get(name, "")))


def _codes(event: OutgoingEvent, outgoing: Outgoing) -> tuple[str, str]:
    """The numbers of placer and filler; the booking code is one of them."""
    code = escape(event.booking_code)
    return ("", code) if outgoing.is_filler_code else (code, "")


def _coded(reason: str) -> str:
    return f"{escape(reason)}^{escape(reason.replace('_', ' '))}^{_REASONS_SYSTEM}"


def _fact_time(event: OutgoingEvent, name: str) -> datetime | None:
    text = event.facts.get(name)
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


def _dtm(at: datetime) -> str:
    return f"{at.astimezone(ROME):%Y%m%d%H%M%S%z}"
