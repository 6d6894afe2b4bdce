"""The FHIR R4 entrance of CUP: appointments and what they refer to, one by one or in a Bundle.

Each source speaks with its own bearer token and meets only its own bookings. A booking is found by
its first identifier, the booking code. The doors write nothing themselves: see
:mod:`server.cup.fhir.intake` and :mod:`server.cup.inbox`.
"""

from __future__ import annotations

from email.utils import format_datetime
from typing import Final

from aiohttp import web
from yarl import URL

from server.audit import CUP_ACTS, Act, leaves_none, may_leave
from server.auth import PUBLIC, Route
from server.cup.booking import FieldError, Reason
from server.cup.fhir.bundle import Target, address, refuse_receipt, take_bundle
from server.cup.fhir.document import find_booking_code, load_document
from server.cup.fhir.held import Held, Holdings, render_appointment
from server.cup.fhir.intake import APPOINTMENT, KEPT, Intake
from server.cup.fhir.request import (
    answered,
    opened,
    preference,
    read_body,
    refusal,
    respond,
)
from server.cup.fhir.tree import Entry, Resource
from server.cup.fhir.words import (
    render_capabilities,
    render_notice,
    render_outcome,
    render_search,
)
from server.models import Source
from server.services import DATABASE, KEYRING, SETTINGS, now_of


class _Caller:
    """A source that asks something."""

    def __init__(self, request: web.Request, source: Source) -> None:
        app = request.app
        self._request = request
        self.now: Final = now_of(request)
        self.intake: Final = Intake(app[DATABASE], app[KEYRING], source)
        self.holdings: Final = Holdings(app[DATABASE], app[KEYRING], source)

    async def take(self, target: Target) -> web.Response:
        """Take the one resource of the body."""
        raw = await read_body(self._request)
        document = await self.read(raw)
        if target.kind != APPOINTMENT:
            return await self._keep(address(document, target, self.intake), target.kind)
        if document.get("resourceType") != APPOINTMENT:
            raise await self._quarantine(raw, Reason.NOT_A_BOOKING)
        appointment = address(document, target, self.intake)
        code = find_booking_code(appointment)
        before = await self.holdings.find_by_code(code)
        taken = await self.intake.take([Entry("", appointment)], "", self.now)
        receipt = taken.receipts.get(1)
        if receipt is None:
            raise await self._quarantine(raw, Reason.NOT_A_BOOKING)
        if not receipt.is_taken:
            raise refuse_receipt(receipt)
        held = await self.holdings.find_by_code(code)
        outcome = render_outcome(render_notice(notice) for notice in receipt.notices)
        if held is None:
            return respond(outcome)
        return self.show(held, 200 if before else 201, outcome)

    async def take_bundle(self) -> web.Response:
        raw = await read_body(self._request)
        document = await self.read(raw)
        if document.get("resourceType") != "Bundle":
            raise refusal(422, "not-supported", "not a Bundle", "Bundle")
        try:
            return respond(await take_bundle(document, self.intake, self.holdings, self.now))
        except FieldError as error:
            raise await self._quarantine(raw, error.reason) from error

    async def read(self, raw: bytes) -> Resource:
        """The document of a body; one that cannot be read is kept in quarantine.

        :raises Refused: it cannot.
        """
        if not raw:
            raise refusal(400, "required", "there is no body")
        try:
            return load_document(raw)
        except FieldError as error:
            raise await self._quarantine(raw, error.reason) from error

    def show(self, held: Held, status: int, outcome: Resource | None = None) -> web.Response:
        """A booking as we hold it, or what else the client prefers to see."""
        headers = {
            "ETag": f'W/"{held.version}"',
            "Last-Modified": format_datetime(held.appointment.updated_at, usegmt=True),
        }
        if outcome is not None:
            path = f"{APPOINTMENT}/{held.id}/_history/{held.version}"
            headers["Location"] = f"{_base_url(self._request)}/{path}"
        return respond(self._preferred(render_appointment(held), outcome), status, headers)

    async def _keep(self, resource: Resource, kind: str) -> web.Response:
        taken = await self.intake.take([Entry("", resource)], "", self.now)
        kept = taken.kept[1]
        path = f"{kind}/{kept.id}/_history/{kept.version}"
        headers = {
            "ETag": f'W/"{kept.version}"',
            "Last-Modified": format_datetime(kept.updated_at, usegmt=True),
            "Location": f"{_base_url(self._request)}/{path}",
        }
        status = 201 if kept.is_new else 200
        return respond(self._preferred(resource, render_outcome([])), status, headers)

    def _preferred(self, resource: Resource, outcome: Resource | None) -> Resource | None:
        wanted = preference(self._request) if outcome is not None else ""
        if wanted == "minimal":
            return None
        return outcome if wanted == "OperationOutcome" else resource

    async def _quarantine(self, raw: bytes, reason: Reason) -> Exception:
        return refuse_receipt(await self.intake.quarantine(raw, reason, self.now))


async def _metadata(request: web.Request) -> web.Response:
    return respond(render_capabilities(_base_url(request)))


async def _bundle(request: web.Request, source: Source) -> web.Response:
    return await _Caller(request, source).take_bundle()


async def _create(request: web.Request, source: Source) -> web.Response:
    """``POST [type]``, with ``If-None-Exist`` or without."""
    condition = URL.build(query_string=request.headers.get("If-None-Exist", "").lstrip("?"))
    target = Target("POST", _kind(request), identifier=_identifier_of(condition))
    caller = _Caller(request, source)
    if target.kind == APPOINTMENT and target.identifier:
        held = await caller.holdings.find_by_code(target.booking_code)
        if held is not None:
            return caller.show(held, 200, render_outcome([]))
    return await caller.take(target)


async def _update(request: web.Request, source: Source) -> web.Response:
    """``PUT [type]/[id]`` and ``PUT [type]?identifier=…``."""
    logical_id = request.match_info.get("id", "")
    target = Target("PUT", _kind(request), logical_id, _identifier_of(request.rel_url))
    return await _Caller(request, source).take(target)


async def _read(request: web.Request, source: Source) -> web.Response:
    caller = _Caller(request, source)
    held = None
    if _kind(request) == APPOINTMENT:
        held = await caller.holdings.find_by_id(request.match_info["id"])
    if held is None:
        raise refusal(404, "not-found", "no such appointment of this source")
    return caller.show(held, 200)


async def _search(request: web.Request, source: Source) -> web.Response:
    """``GET Appointment?identifier=…``: by booking code, whatever its system."""
    if _kind(request) != APPOINTMENT:
        raise refusal(404, "not-supported", "only appointments are found")
    identifier = _identifier_of(request.rel_url)
    if not identifier:
        raise refusal(400, "required", "a search needs an identifier", "identifier")
    held = await _Caller(request, source).holdings.find_by_code(identifier.rpartition("|")[2])
    base_url = _base_url(request)
    found = [(f"{base_url}/{APPOINTMENT}/{held.id}", render_appointment(held))] if held else []
    self_link = str(URL(f"{base_url}/{APPOINTMENT}").with_query(identifier=identifier))
    return respond(render_search(self_link, found))


async def _elsewhere(request: web.Request) -> web.Response:
    if request.method in {"GET", "HEAD", "POST", "PUT"}:
        raise refusal(404, "not-found", "there is nothing at this address")
    raise refusal(405, "not-supported", f"{request.method} is not supported")


def _kind(request: web.Request) -> str:
    """The type in the path.

    :raises Refused: of no use for a booking.
    """
    kind = request.match_info["kind"]
    if kind != APPOINTMENT and kind not in KEPT:
        raise refusal(404, "not-supported", "resources of this type are not taken")
    return kind


def _identifier_of(url: URL) -> str:
    """The ``identifier`` of a condition, empty when there is no condition.

    :raises Refused: a condition that we cannot tell.
    """
    if not url.query:
        return ""
    names = [name for name in url.query if not name.startswith("_")]
    values = [value for value in url.query.getall("identifier", []) if value]
    if names and (set(names) != {"identifier"} or len(values) != 1):
        raise refusal(412, "multiple-matches", "the condition must be one identifier")
    return values[0] if values else ""


def _base_url(request: web.Request) -> str:
    return f"{request.app[SETTINGS].base_url}/fhir"


_TAKES: Final = may_leave(
    *CUP_ACTS,
    Act.CUP_MESSAGE_REPLAYED,
    why="what says nothing new leaves nothing",
    opens={"fhir_resource.content", "inbox_message.raw", "patient.identity", "appointment.details"},
)
ROUTES: Final = (
    Route(
        "GET",
        "/fhir/metadata",
        answered(_metadata),
        PUBLIC,
        leaves_none("the same page for everybody"),
    ),
    Route(
        "POST",
        "/fhir",
        opened(_bundle),
        PUBLIC,
        _TAKES,
    ),
    Route(
        "POST",
        "/fhir/",
        opened(_bundle),
        PUBLIC,
        _TAKES,
    ),
    Route(
        "GET",
        "/fhir/{kind}",
        opened(_search),
        PUBLIC,
        leaves_none("code, state and times of a booking, to the CUP that sent it"),
    ),
    Route(
        "POST",
        "/fhir/{kind}",
        opened(_create),
        PUBLIC,
        _TAKES,
    ),
    Route(
        "PUT",
        "/fhir/{kind}",
        opened(_update),
        PUBLIC,
        _TAKES,
    ),
    Route(
        "GET",
        "/fhir/{kind}/{id}",
        opened(_read),
        PUBLIC,
        leaves_none("code, state and times of a booking, to the CUP that sent it"),
    ),
    Route(
        "PUT",
        "/fhir/{kind}/{id}",
        opened(_update),
        PUBLIC,
        _TAKES,
    ),
    Route("*", "/fhir/{rest:.*}", answered(_elsewhere), PUBLIC, leaves_none("nothing is there")),
)
"""Public for the guard of sessions: each door asks for the bearer token of a source itself."""
