"""Where the resources of a request belong, and the answer to a transaction or a batch.

A transaction in which an appointment cannot be read takes nothing but that appointment into
quarantine. What is of no use for a booking (the report, observations…) is not kept, and said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from yarl import URL

from server.cup.booking import Fault, Field, Reason
from server.cup.fhir.document import find_booking_code, read_entries
from server.cup.fhir.held import Held, Holdings
from server.cup.fhir.intake import APPOINTMENT, KEPT, Intake, Kept, Taken
from server.cup.fhir.request import Refused, refusal
from server.cup.fhir.tree import Entry, Resource, first, identifier_token, is_id, item, items, text
from server.cup.fhir.words import (
    instant,
    render_fault,
    render_issue,
    render_notice,
    render_outcome,
)
from server.cup.inbox.intake import Receipt
from server.models import new_id

_STATUSES: Final = {
    Reason.UNREADABLE: 400,
    Reason.NOT_UTF_8: 400,
    Reason.NESTED_TOO_DEEP: 400,
    Reason.TOO_LARGE: 413,
    Reason.TOO_MANY_ROWS: 413,
}
"""Of what is wrong with a body as a whole; the rest is 422."""
_NOT_KEPT: Final = render_issue(
    "information", "not-supported", "not needed for a booking: not kept"
)
_NOTHING: Final = Entry("", {})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a resource of a request goes: ``POST Patient``, ``PUT Appointment?identifier=…``."""

    method: str
    kind: str
    logical_id: str = ""
    identifier: str = ""
    """``system|value`` of a conditional update or create."""

    @property
    def booking_code(self) -> str:
        return self.identifier.rpartition("|")[2]


def address(resource: Resource, target: Target, intake: Intake) -> Resource:
    """The resource with the id under which it is kept.

    :raises Refused: it does not belong there.
    """
    kind, given = target.kind, text(resource, "id")
    if text(resource, "resourceType") != kind:
        raise refusal(400, "structure", f"not a {kind}", kind)
    if target.method == "PUT" and not (target.logical_id or target.identifier):
        raise refusal(400, "required", "an update needs an id or an identifier", kind)
    if target.logical_id and given != target.logical_id:
        raise refusal(400, "value", "the id is not the one in the URL", f"{kind}.id")
    if kind == APPOINTMENT:
        code = find_booking_code(resource)
        if target.identifier and code and code != target.booking_code:
            words = "the first identifier is not the one in the URL"
            raise refusal(400, "value", words, "Appointment.identifier")
        return resource if is_id(given) else {**resource, "id": ""}
    if is_id(given):
        return resource
    identifier = target.identifier or identifier_token(first(resource, "identifier"))
    return {**resource, "id": intake.name_resource(f"{kind}?{identifier or new_id()}")}


def refuse_receipt(receipt: Receipt) -> Refused:
    """The refusal of a message that is in quarantine now."""
    fault = receipt.fault or Fault(Field.MESSAGE, Reason.UNREADABLE)
    return Refused(_STATUSES.get(fault.reason, 422), render_fault(fault, receipt.message_id))


async def take_bundle(
    document: Resource, intake: Intake, holdings: Holdings, now: datetime
) -> Resource:
    """Take a transaction or a batch and answer it.

    :raises Refused: it is neither, or a transaction that cannot be taken as a whole.
    :raises FieldError: too many entries.
    """
    kind = text(document, "type")
    if kind not in {"transaction", "batch"}:
        raise refusal(422, "not-supported", "neither a transaction nor a batch", "Bundle.type")
    steps = [
        _plan(entry, item(written, "request"), intake)
        for entry, written in zip(read_entries(document), items(document, "entry"), strict=True)
    ]
    is_atomic = kind == "transaction"
    problems = [issue for step in steps if step.problem for issue in step.problem.issues]
    if is_atomic and problems:
        raise Refused(400, *problems)
    codes = [step.booking_code for step in steps]
    before = await holdings.load(codes)
    entries = [_NOTHING if step.is_satisfied(before) else step.entry for step in steps]
    taken = await intake.take(entries, text(document, "timestamp"), now, is_atomic=is_atomic)
    if is_atomic and taken.faults:
        issues = [issue for each in taken.faults for issue in refuse_receipt(each).issues]
        raise Refused(422, *issues)
    after = await holdings.load(codes)
    answers = [
        {"response": _answer(number, step, taken, before, after)}
        for number, step in enumerate(steps, start=1)
    ]
    bundle: Resource = {"resourceType": "Bundle", "type": f"{kind}-response"}
    return {**bundle, "entry": answers} if answers else bundle


@dataclass(frozen=True, slots=True)
class _Step:
    """One entry, and what is asked for it."""

    entry: Entry
    kind: str = ""
    is_unless_held: bool = False
    """``ifNoneExist``: only when there is no such booking yet."""
    problem: Refused | None = None

    @property
    def booking_code(self) -> str:
        return find_booking_code(self.entry.resource) if self.kind == APPOINTMENT else ""

    def is_satisfied(self, before: dict[str, Held]) -> bool:
        return self.is_unless_held and self.booking_code in before


def _plan(entry: Entry, asked: Resource, intake: Intake) -> _Step:
    kind = text(entry.resource, "resourceType")
    if kind != APPOINTMENT and kind not in KEPT:
        return _Step(_NOTHING, kind)
    try:
        target = _read_target(asked)
        resource = address(entry.resource, target, intake)
    except Refused as problem:
        return _Step(_NOTHING, kind, problem=problem)
    is_unless_held = bool(text(asked, "ifNoneExist"))
    return _Step(Entry(entry.full_url, resource), kind, is_unless_held)


def _read_target(asked: Resource) -> Target:
    """``Bundle.entry.request``."""
    method = text(asked, "method")
    if method not in {"POST", "PUT"}:
        raise refusal(405, "not-supported", "only POST and PUT", "Bundle.entry.request.method")
    try:
        url = URL(text(asked, "url"))
    except ValueError as error:
        raise refusal(400, "value", "not a URL", "Bundle.entry.request.url") from error
    kind, _, logical_id = url.path.strip("/").partition("/")
    identifier = next((value for name, value in url.query.items() if "identifier" in name), "")
    return Target(method, kind, logical_id, identifier)


def _answer(
    number: int, step: _Step, taken: Taken, before: dict[str, Held], after: dict[str, Held]
) -> Resource:
    receipt = taken.receipts.get(number)
    problem = step.problem
    if receipt is not None and not receipt.is_taken:
        problem = refuse_receipt(receipt)
    if problem is not None:
        return {"status": _status(problem.status), "outcome": render_outcome(problem.issues)}
    kept = taken.kept.get(number)
    if kept is not None:
        return _kept_answer(step.kind, kept)
    held = after.get(step.booking_code)
    if held is None:
        return {"status": _status(202), "outcome": render_outcome([_NOT_KEPT])}
    notices = [render_notice(notice) for notice in receipt.notices] if receipt else []
    return {
        "status": _status(200 if step.booking_code in before else 201),
        "location": f"{APPOINTMENT}/{held.id}/_history/{held.version}",
        "etag": f'W/"{held.version}"',
        "lastModified": instant(held.appointment.updated_at),
        **({"outcome": render_outcome(notices)} if notices else {}),
    }


def _kept_answer(kind: str, kept: Kept) -> Resource:
    return {
        "status": _status(201 if kept.is_new else 200),
        "location": f"{kind}/{kept.id}/_history/{kept.version}",
        "etag": f'W/"{kept.version}"',
        "lastModified": instant(kept.updated_at),
    }


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
