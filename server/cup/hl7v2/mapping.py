"""HL7 v2 from CUP: SIU S12–S17 and S26, ADT A40 (A18, A34, A36), versions 2.3 to 2.8.

Pure mapping of bytes to a :class:`~server.cup.booking.Message`. The event type leads; SCH-25 is
looked at only in an S14, which some booking centres send for everything. What is read by default,
and how a source says otherwise, is in :mod:`server.cup.hl7v2.paths`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from server.cup.booking import (
    Booking,
    BookingEvent,
    Fault,
    Field,
    FieldError,
    Merge,
    Message,
    Notice,
    Order,
    Reason,
)
from server.cup.hl7v2 import person
from server.cup.hl7v2.paths import DEFAULTS, find_fields, find_mapped, name_paths
from server.cup.hl7v2.wire import (
    CUT,
    FRAME_BYTES,
    Header,
    Path,
    Segments,
    Unreadable,
    component,
    decode,
    find_header,
    iso_text,
    minutes_text,
    split_lines,
)
from server.cup.texts import parse_instant, plain
from server.cup.values import parse_booking, parse_event, translate_words
from server.models import Connector
from server.sources import SourceSettings

_EVENTS: Final[Mapping[str, BookingEvent]] = {
    **dict.fromkeys(("S12", "S13", "S14"), BookingEvent.BOOKED),
    **dict.fromkeys(("S15", "S16", "S17"), BookingEvent.CANCELLED),
    "S26": BookingEvent.NO_SHOW,
}
_MERGES: Final = frozenset({"A18", "A34", "A36", "A40"})
_VERSION: Final = re.compile(r"2\.[3-8](\.\d)?", re.ASCII)
_DATES: Final = frozenset(
    {Field.BIRTH_DATE, Field.PRESCRIBED_ON, Field.BOOKED_ON, Field.OFFERED_ON}
)
_INSTANTS: Final = frozenset({Field.START, Field.END})
_CLINICS: Final = (("AIL", 3, 9), ("PV1", 3, 9), ("SCH", 5, 2))
_DURATIONS: Final = (("AIS", 7), ("AIP", 9), ("AIL", 9), ("AIG", 11), ("SCH", 9))
"""The units are in the field after."""
_NRE: Final = re.compile(r"\d{3}[0-9A-Z]{2}\d{10}", re.ASCII)
_NATIONAL_CODE: Final = re.compile(r"\d{2}(\.[0-9A-Z]{1,2}){1,2}", re.ASCII)
_NATIONAL_SYSTEM: Final = re.compile(r"naz|ntr|nomencl|icd-?9|tariffario", re.IGNORECASE)
_REGIONAL_SYSTEM: Final = re.compile(r"reg|siss|cur\b|local|^l$|^99", re.IGNORECASE)
_CONTROLS: Final = frozenset({"followup", "follow-up", "checkup", "controllo"})
_S14_CANCELLED: Final = frozenset({"cancelled", "canceled", "deleted", "dc"})


def parse_hl7(raw: bytes, settings: SourceSettings, received_at: datetime) -> Message:
    """Map one message, without its MLLP frame; with the start of one it is the rest of a frame
    that was cut. Never raises: what cannot be read is a fault."""
    header = find_header(raw)
    reader = _Reader(raw, header or Header(), settings, received_at)
    body: Booking | Merge | Fault
    notices: tuple[Notice, ...] = ()
    try:
        reader.open(header)
        body, notices = reader.read()
    except Unreadable as error:
        body = error.fault
    except FieldError as error:
        body = Fault(error.field, error.reason, reader.paths.get(error.field, ""))
    return reader.message(body, notices)


class _Reader:
    """One message on its way; knows as much as could be read before something was wrong."""

    def __init__(
        self, raw: bytes, header: Header, settings: SourceSettings, received_at: datetime
    ) -> None:
        self._raw = raw
        self._header = header
        self._settings = settings
        self._mapping = settings.mapping
        self._event = header.component(9, 2).upper()[:16]
        self._sent_at, self._is_dated = _sending_time(header, received_at)
        self._content = raw
        self._booking_event = _EVENTS.get(self._event, BookingEvent.BOOKED)
        self._booking_code = ""
        self._mapped = find_mapped(settings.mapping)
        self.paths = name_paths(settings.mapping)

    def open(self, header: Header | None) -> None:
        """Everything that is about the message as a whole.

        :raises Unreadable: over a cap, cut off, of another type, version, sender or encoding.
        """
        if len(self._raw) > FRAME_BYTES:
            raise Unreadable(Reason.TOO_LARGE)
        if header is None or self._raw.startswith(CUT):
            raise Unreadable(Reason.UNREADABLE, "MSH" if header is None else "")
        listener = self._settings.listener
        senders = listener.sending_applications if listener else []
        if senders and header.component(3) not in senders:
            raise Unreadable(Reason.WRONG_SENDER, "MSH-3")
        if not _VERSION.fullmatch(header.component(12)):
            raise Unreadable(Reason.NOT_KNOWN, "MSH-12")
        text = decode(self._raw, header, listener.character_set if listener else "")
        lines = split_lines(text)
        self._content = "\r".join([self._event, *lines[1:]]).encode()
        kind = header.component(9)
        is_booking = kind == "SIU" and self._event in _EVENTS
        if not is_booking and not (kind == "ADT" and self._event in _MERGES):
            raise Unreadable(Reason.NOT_A_BOOKING, "MSH-9")
        self._segments = Segments.parse(lines, header, find_fields(self._mapped))

    def read(self) -> tuple[Booking | Merge, tuple[Notice, ...]]:
        """What the message says.

        :raises FieldError: it lacks what cannot be left out.
        """
        notices = () if self._is_dated else (Notice(Field.MESSAGE, Reason.NOT_A_DATE),)
        body: Booking | Merge
        if self._event in _MERGES:
            body, found = person.parse_merge(self._segments, self._texts())
        else:
            body, found = self._read_booking()
        return body, notices + found

    def _read_booking(self) -> tuple[Booking, tuple[Notice, ...]]:
        if not self._segments.count("SCH"):
            raise FieldError(Field.BOOKING_CODE, Reason.MISSING)
        texts = self._texts()
        self._booking_code = _safe(texts[Field.BOOKING_CODE], 64)
        if self._event == "S14":
            self._booking_event = self._status()
        return parse_booking(
            texts,
            event=self._booking_event,
            organisation_codes=self._organisation_codes(),
            clinician_codes=self._clinician_codes(),
            patient_keys=person.patient_keys(self._segments.repetitions("PID", 3)),
        )

    def _texts(self) -> dict[Field, str]:
        """By the default places, then by the source's own; dates as ISO, words as ours."""
        read = self._segments.text
        texts = {
            field: next(filter(None, map(read, places)), "") for field, places in DEFAULTS.items()
        }
        if not _NRE.fullmatch(texts[Field.NRE]):
            texts[Field.NRE] = self._find_nre()
        texts |= person.person_texts(self._segments)
        texts |= self._service_texts()
        texts |= self._end_texts(texts)
        texts |= self._clinic_texts()
        if self._event == "S12" and self._is_dated:
            texts[Field.BOOKED_ON] = self._header.component(7)
        texts |= {field: read(path) for field, path in self._mapped.items()}
        for field in _DATES | _INSTANTS:
            texts[field] = iso_text(texts.get(field, ""), has_time=field in _INSTANTS)
        return translate_words(texts, self._mapping.words)

    def _find_nre(self) -> str:
        """Order numbers are of many kinds: only what has the form of an NRE is taken."""
        for path in DEFAULTS[Field.NRE]:
            text = self._segments.text(path)
            if _NRE.fullmatch(text):
                return text
        return ""

    def _service_texts(self) -> dict[Field, str]:
        texts: dict[Field, str] = {}
        for service in self._segments.repetitions("AIS", 3)[:1]:
            for code_at in (1, 4):
                code, system = component(service, code_at), component(service, code_at + 2)
                if code:
                    texts.setdefault(_service_field(code, system), code)
        if plain(self._segments.text(Path("SCH", 7))) in _CONTROLS:
            texts[Field.FIRST_VISIT] = "controllo"
        return texts

    def _clinic_texts(self) -> dict[Field, str]:
        """Code and name from the same place: another's name would rename the unit."""
        for segment, number, name_at in _CLINICS:
            code = self._segments.text(Path(segment, number))
            if code:
                name = self._segments.text(Path(segment, number, name_at))
                return {Field.CLINIC_CODE: code, Field.CLINIC_NAME: name}
        return {}

    def _end_texts(self, texts: Mapping[Field, str]) -> dict[Field, str]:
        if texts[Field.END]:
            return {}
        timing = self._segments.text(Path("SCH", 11, 4))
        if timing and texts[Field.START] == timing:
            end = self._segments.text(Path("SCH", 11, 5))
            if end:
                return {Field.END: end}
        for segment, number in _DURATIONS:
            amount = self._segments.text(Path(segment, number))
            if amount:
                units = [self._segments.text(Path(segment, number + 1, at)) for at in (1, 2)]
                return {Field.MINUTES: minutes_text(amount, units)}
        return {}

    def _status(self) -> BookingEvent:
        """Of an S14. A word that is not known is a modification like another."""
        word = self._segments.text(Path("SCH", 25)) or self._segments.text(Path("SCH", 25, 2))
        words = self._mapping.words.get(Field.STATUS, {})
        word = words.get(word, word)
        if plain(word) in _S14_CANCELLED:
            return BookingEvent.CANCELLED
        try:
            return parse_event(word)
        except FieldError:
            return BookingEvent.BOOKED

    def _organisation_codes(self) -> tuple[str, ...]:
        path = self._mapped.get(Field.ORGANISATION)
        if path is not None:
            return tuple(filter(None, (self._segments.text(path),)))
        found = (self._header.component(number, at) for number in (6, 4) for at in (1, 2))
        return tuple(dict.fromkeys(filter(None, found)))

    def _clinician_codes(self) -> tuple[str, ...]:
        path = self._mapped.get(Field.CLINICIAN_CODE)
        if path is not None:
            return tuple(filter(None, (self._segments.text(path),)))
        people = [
            *(("AIP", 3, index) for index in range(min(self._segments.count("AIP"), 20))),
            ("PV1", 7, 0),
            ("PV1", 9, 0),
        ]
        found = (
            component(each, 1) for place in people for each in self._segments.repetitions(*place)
        )
        return tuple(dict.fromkeys(filter(None, found)))

    def message(self, body: Booking | Merge | Fault, notices: tuple[Notice, ...]) -> Message:
        control_id = self._header.component(10)
        sequence = self._header.component(13)
        return Message(
            connector=Connector.HL7V2,
            control_id=control_id or None,
            event=self._event,
            order=Order(
                sent_at=self._sent_at,
                sequence=int(sequence) if re.fullmatch(r"\d{1,15}", sequence, re.ASCII) else 0,
                control_id=control_id,
                event=self._booking_event,
            ),
            content=self._content,
            raw=self._raw,
            body=body,
            booking_code=body.booking_code if isinstance(body, Booking) else self._booking_code,
            notices=notices,
            paths=self.paths,
        )


def _sending_time(header: Header, received_at: datetime) -> tuple[datetime, bool]:
    """MSH-7, else when it came; and whether MSH-7 could be read."""
    try:
        text = iso_text(header.component(7), has_time=True)
        return parse_instant(Field.MESSAGE, text), True
    except FieldError:
        return received_at.astimezone(UTC), False


def _service_field(code: str, system: str) -> Field:
    if _NATIONAL_SYSTEM.search(system):
        return Field.SERVICE_CODE
    is_national = _NATIONAL_CODE.fullmatch(code.upper()) and not _REGIONAL_SYSTEM.search(system)
    return Field.SERVICE_CODE if is_national else Field.REGIONAL_CODE


def _safe(text: str, length: int) -> str:
    return text if text.isprintable() and len(text) <= length else ""
