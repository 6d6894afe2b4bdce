"""FHIR R4 as the Italian televisita guide shapes it: from bytes to messages.

A Bundle of any type, or one Appointment that contains what it refers to. Caps come before
parsing; what an Appointment means is :mod:`server.cup.fhir.mapping`'s. Pure, and never raises for a
bad document: it becomes a message with a fault. The line of a message is its entry in the bundle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from server.cup.booking import (
    Booking,
    BookingEvent,
    Fault,
    Field,
    FieldError,
    Message,
    Notice,
    Order,
    Reason,
)
from server.cup.fhir.mapping import PATHS, Mapped, map_appointment
from server.cup.fhir.tree import Closure, Entry, Index, Resource, first, index_entries, item, items
from server.cup.fhir.tree import text as text_of
from server.cup.texts import clean_text, parse_instant
from server.cup.values import parse_booking, parse_event, translate_words
from server.models import Connector
from server.sources import SourceSettings

FILE_BYTES: Final = 5 * 1024 * 1024
DEPTH: Final = 32
ENTRIES: Final = 5_000
_VALUES: Final = 500_000
"""In one document; a real one of that size has a fifth of it."""
_RAW_BYTES: Final = 4 * FILE_BYTES
"""Of all messages of one document together: one large resource that every appointment refers to
is kept with each of them."""
_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_NOT_BOOKINGS: Final = frozenset({"proposed", "waitlist"})


def parse_fhir(raw: bytes, settings: SourceSettings, received_at: datetime) -> list[Message]:
    """One message for each booked or cancelled Appointment, or one with the document's fault."""
    try:
        document = load_document(raw)
        entries = read_entries(document)
    except FieldError as error:
        return [unreadable(raw, error.reason, received_at)]
    messages = parse_entries(entries, text_of(document, "timestamp"), settings, received_at)
    return messages or [unreadable(raw, Reason.NOT_A_BOOKING, received_at)]


def parse_entries(
    entries: list[Entry], timestamp: str, settings: SourceSettings, received_at: datetime
) -> list[Message]:
    """One message for each booked or cancelled Appointment of a bundle made at ``timestamp``."""
    index = index_entries(entries)
    sent_at = _find_instant(timestamp) or received_at
    budget = _RAW_BYTES
    messages = []
    for number, entry in enumerate(entries, start=1):
        if not is_booking(entry.resource):
            continue
        closure = Closure(entry, index)
        raw = closure.encode(timestamp)
        budget -= len(raw)
        if budget < 0:
            raw = Closure(entry, Index()).encode(timestamp)
        messages.append(
            _parse_appointment(
                closure, settings, sent_at, raw=raw, line=number, is_over_budget=budget < 0
            )
        )
    return messages


def is_booking(resource: Resource) -> bool:
    """Whether it is an Appointment that is more than a wish."""
    return (
        resource.get("resourceType") == "Appointment"
        and resource.get("status") not in _NOT_BOOKINGS
    )


def load_document(content: bytes) -> Resource:
    """The JSON object of a body or a file.

    :raises FieldError: over a cap, not JSON, or JSON that two readers could read in two ways.
    """
    if len(content) > FILE_BYTES:
        raise FieldError(Field.MESSAGE, Reason.TOO_LARGE)
    bare = _STRINGS.sub(b"", content)
    if bare.count(b",") > _VALUES:
        raise FieldError(Field.MESSAGE, Reason.TOO_LARGE)
    if _is_too_deep(bare):
        raise FieldError(Field.MESSAGE, Reason.NESTED_TOO_DEEP)
    try:
        document = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise FieldError(Field.MESSAGE, Reason.NOT_UTF_8) from error
    except msgspec.DecodeError as error:
        raise FieldError(Field.MESSAGE, Reason.UNREADABLE) from error
    if not isinstance(document, dict) or _count_keys(document) != bare.count(b":"):
        raise FieldError(Field.MESSAGE, Reason.UNREADABLE)
    return document


def read_entries(document: Resource) -> list[Entry]:
    """Full URL and resource of each entry; a lone resource is a bundle of one.

    :raises FieldError: too many.
    """
    if document.get("resourceType") != "Bundle":
        return [Entry("", document)]
    entries = items(document, "entry")
    if len(entries) > ENTRIES:
        raise FieldError(Field.MESSAGE, Reason.TOO_MANY_ROWS)
    return [Entry(text_of(entry, "fullUrl"), item(entry, "resource")) for entry in entries]


def _is_too_deep(bare: bytes) -> bool:
    """Take the innermost level away as often as levels are allowed: linear, in few steps."""
    brackets = bare.translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(DEPTH):
        before, brackets = len(brackets), brackets.replace(b"[]", b"")
        if len(brackets) == before:
            break
    return b"[]" in brackets or len(brackets) > DEPTH


def _count_keys(document: Any) -> int:
    """Of all objects in it. A document with more colons than keys has a key twice."""
    count, waiting = 0, [document]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            count += len(value)
            waiting += value.values()
        elif type(value) is list:
            waiting += value
    return count


def unreadable(raw: bytes, reason: Reason, received_at: datetime) -> Message:
    """The message of a document that as a whole is of no use."""
    return Message(
        connector=Connector.FHIR,
        control_id=None,
        event="",
        order=Order(sent_at=received_at),
        content=raw,
        raw=raw,
        body=Fault(Field.MESSAGE, reason, PATHS[Field.MESSAGE]),
        paths=PATHS,
    )


def _parse_appointment(
    closure: Closure,
    settings: SourceSettings,
    sent_at: datetime,
    *,
    raw: bytes,
    line: int,
    is_over_budget: bool,
) -> Message:
    appointment, mapped = closure.appointment, map_appointment(closure)
    body: Booking | Fault
    notices: tuple[Notice, ...] = ()
    try:
        if is_over_budget:
            raise FieldError(Field.MESSAGE, Reason.TOO_LARGE)
        body, notices = _read(mapped, settings.mapping.words)
        content = msgspec.json.encode(body)
    except FieldError as error:
        body, content = Fault(error.field, error.reason, PATHS[error.field]), raw
    status = text_of(appointment, "status")
    return Message(
        connector=Connector.FHIR,
        control_id=None,
        event=status if status.isascii() and status.isprintable() and len(status) <= 16 else "",
        order=_order(closure, body, sent_at),
        content=content,
        raw=raw,
        body=body,
        booking_code=find_booking_code(appointment),
        organisation_codes=mapped.organisation_codes,
        notices=notices,
        paths=PATHS,
        line=line,
    )


def _read(
    mapped: Mapped, words: Mapping[str, Mapping[str, str]]
) -> tuple[Booking, tuple[Notice, ...]]:
    texts = translate_words(mapped.texts, words)
    booking, notices = parse_booking(
        texts,
        event=parse_event(texts[Field.STATUS]),
        organisation_codes=mapped.organisation_codes,
        clinician_codes=mapped.clinician_codes,
        patient_keys=mapped.patient_keys,
    )
    missing = (Notice(field, Reason.PROFILE_ELEMENT_MISSING) for field in mapped.missing)
    return booking, (*notices, *missing)


def _order(closure: Closure, body: Booking | Fault, sent_at: datetime) -> Order:
    """By ``meta.lastUpdated``, else when the bundle was made, else when it came. Of two that are
    equal the one with more of what it refers to is the newer."""
    meta = item(closure.appointment, "meta")
    version = text_of(meta, "versionId")
    is_number = version.isascii() and version.isdigit() and len(version) <= 15
    return Order(
        sent_at=_find_instant(text_of(meta, "lastUpdated")) or sent_at,
        sequence=int(version) if is_number else 0,
        control_id=str(len(closure.entries)),
        event=body.event if isinstance(body, Booking) else BookingEvent.BOOKED,
    )


def _find_instant(written: str) -> datetime | None:
    try:
        return parse_instant(Field.MESSAGE, written) if written else None
    except FieldError:
        return None


def find_booking_code(appointment: Resource) -> str:
    """Its first identifier; empty when there is none that can be one."""
    try:
        return clean_text(Field.BOOKING_CODE, text_of(first(appointment, "identifier"), "value"))
    except FieldError:
        return ""
