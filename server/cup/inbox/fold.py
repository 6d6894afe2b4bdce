"""What several messages of one booking come to, whatever order they arrived in.

Pure. A booking is the fold of its messages from the oldest to the newest: each overrides what it
says and leaves what it does not say. Of a person, who may be in many bookings, every field keeps
which message said it, and the newest decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Final, TypeVar

import msgspec

from server.cup.booking import Booking
from server.sealed import Details, Identity

USUAL_DURATION: Final = timedelta(minutes=30)
_NOBODY: Final = Identity()

_Struct = TypeVar("_Struct", Identity, Details)
Times = tuple[datetime | None, datetime | None]
Orders = Mapping[str, str]
"""Field of an identity → order key of the message that said it."""


def fold(bookings: Iterable[Booking]) -> Booking:
    """One booking out of its messages, given from the oldest to the newest; at least one."""
    return reduce(override, bookings)


def override(older: Booking, newer: Booking) -> Booking:
    """What the booking is once a newer message has spoken."""
    is_other = is_other_person(older, newer)
    start, end = merge_times((older.start, older.end), newer)
    names_clinic = bool(newer.clinic_code or newer.clinic_name)
    return replace(
        newer,
        organisation_codes=newer.organisation_codes or older.organisation_codes,
        clinician_codes=newer.clinician_codes or older.clinician_codes,
        clinic_code=newer.clinic_code if names_clinic else older.clinic_code,
        clinic_name=newer.clinic_name if names_clinic else older.clinic_name,
        start=start,
        end=end,
        priority=newer.priority or older.priority,
        is_first_visit=older.is_first_visit if newer.is_first_visit is None
        else newer.is_first_visit,
        identity=newer.identity if is_other else _overlaid(older.identity, newer.identity),
        patient_keys=newer.patient_keys
        if is_other
        else tuple(dict.fromkeys((*newer.patient_keys, *older.patient_keys))),
        details=merge_details(older.details, newer.details),
    )  # fmt: skip


def difference(before: Booking, after: Booking) -> Booking:
    """A booking that says only what ``after`` has and ``before`` has not."""
    is_same_clinic = (before.clinic_code, before.clinic_name) == (
        after.clinic_code,
        after.clinic_name,
    )
    return replace(
        after,
        organisation_codes=(),
        clinician_codes=()
        if before.clinician_codes == after.clinician_codes
        else after.clinician_codes,
        clinic_code="" if is_same_clinic else after.clinic_code,
        clinic_name="" if is_same_clinic else after.clinic_name,
        start=None if before.start == after.start else after.start,
        end=None if before.end == after.end else after.end,
        priority="" if before.priority == after.priority else after.priority,
        is_first_visit=None
        if before.is_first_visit == after.is_first_visit
        else after.is_first_visit,
        identity=_only_new(before.identity, after.identity),
        patient_keys=tuple(key for key in after.patient_keys if key not in before.patient_keys),
        details=_only_new(before.details, after.details),
    )


def without(identity: Identity, other: Identity) -> Identity:
    """The fields that the other does not say."""
    names = [name for name, value in msgspec.structs.asdict(other).items() if value]
    return msgspec.structs.replace(identity, **{name: getattr(_NOBODY, name) for name in names})


def is_silent(booking: Booking) -> bool:
    """Whether a difference says nothing."""
    said = (
        booking.clinician_codes, booking.clinic_code, booking.clinic_name, booking.start,
        booking.end, booking.priority, booking.patient_keys,
    )  # fmt: skip
    return (
        not any(said)
        and booking.is_first_visit is None
        and booking.identity == Identity()
        and booking.details == Details()
    )


def is_other_person(older: Booking, newer: Booking) -> bool:
    """Whether two messages of a booking name two people: by codice fiscale, else by the source's
    own numbers of the same kind."""
    codes = (older.identity.codice_fiscale, newer.identity.codice_fiscale)
    if all(codes):
        return codes[0] != codes[1]
    if set(older.patient_keys) & set(newer.patient_keys):
        return False
    kinds = {key.rpartition("|")[0] for key in older.patient_keys}
    return any(key.rpartition("|")[0] in kinds for key in newer.patient_keys)


def merge_times(known: Times, newer: Booking) -> Times:
    """The times once a newer message has spoken; a moved start keeps the duration."""
    start, end = known
    if newer.start is None:
        return start, newer.end or end
    duration = end - start if start is not None and end is not None else None
    return newer.start, newer.end or (newer.start + duration if duration else None)


def merge_details(known: Details, said: Details) -> Details:
    """A new service code takes the name of the old one away."""
    merged = _overlaid(known, said)
    if said.service_code and said.service_code != known.service_code:
        merged = msgspec.structs.replace(merged, service_name=said.service_name)
    return merged


def merge_identity(
    known: Identity, orders: Orders, said: Identity, said_orders: Orders
) -> tuple[Identity, dict[str, str]]:
    """Each field as its newest message has it; a field without an order gives way."""
    changes: dict[str, object] = {}
    merged = dict(orders)
    for name, value in msgspec.structs.asdict(said).items():
        order = said_orders.get(name, "")
        if value and (order >= merged.get(name, "") or not getattr(known, name)):
            changes[name] = value
            merged[name] = order
    return msgspec.structs.replace(known, **changes), merged


def orders_of(identity: Identity, order: str) -> dict[str, str]:
    """All that one message says of a person."""
    said = msgspec.structs.asdict(identity)
    return {name: order for name, value in said.items() if value}


def read_orders(text: str) -> dict[str, str]:
    grouped = msgspec.json.decode(text, type=dict[str, list[str]])
    return {name: order for order, names in grouped.items() for name in names}


def write_orders(orders: Orders) -> str:
    """JSON by order, which most fields of a person share."""
    grouped: dict[str, list[str]] = {}
    for name, order in sorted(orders.items()):
        grouped.setdefault(order, []).append(name)
    return msgspec.json.encode(grouped, order="sorted").decode()


def _overlaid(known: _Struct, said: _Struct) -> _Struct:
    values = {name: value for name, value in msgspec.structs.asdict(said).items() if value}
    return msgspec.structs.replace(known, **values)


def _only_new(before: _Struct, after: _Struct) -> _Struct:
    values = {
        name: value
        for name, value in msgspec.structs.asdict(after).items()
        if value != getattr(before, name)
    }
    return type(after)(**values)
