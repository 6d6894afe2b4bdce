"""Tells a CUP over FHIR what has become of its bookings.

A repeat does no harm: what is created carries the event's id in ``If-None-Exist``, what is changed
is found by the booking code. CUP's own Appointment is read first and only its status is changed,
under the version that was read; a CUP that does not show it gets the facts alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from server.cup.booking import FieldError
from server.cup.fhir import events
from server.cup.fhir.document import load_document
from server.cup.fhir.mapping import NOSOLOGICAL_SYSTEM
from server.cup.fhir.outward import AnswerRefused, ask, connect
from server.cup.fhir.tree import Resource, item, items, text
from server.cup.outbox.outgoing import OutgoingEvent, Verdict
from server.models import EventKind, Outcome
from server.sources import Outgoing

_LATER: Final = frozenset({408, 409, 412, 425, 429})
"""Refusals that may end: too busy, or somebody else was faster."""
_JSON: Final = {"Content-Type": "application/fhir+json"}


async def send(event: OutgoingEvent, outgoing: Outgoing, token: str) -> Verdict:
    """Send one event (:data:`server.cup.outbox.outgoing.Sender`).

    :raises OSError: CUP is not there.
    :raises CommandFailed: the address cannot be used.
    """
    base = URL(outgoing.address.rstrip("/"))
    async with connect(base, token) as session:
        sender = _Sender(session, base, outgoing.words)
        if event.kind in {EventKind.CONFIRMED, EventKind.CANCEL_ASKED}:
            response = events.render_response(event)
            return await sender.create("AppointmentResponse", response, event)
        if event.kind is EventKind.REBOOKING_ASKED:
            return await sender.create("Appointment", events.render_rebooking(event), event)
        if event.kind is EventKind.RECTIFIED:
            task = events.render_rectification(event, outgoing.words)
            return await sender.create("Task", task, event) if task else Verdict.NOT_WANTED
        if event.facts.get("outcome") == Outcome.COMPLETED:
            verdict = await sender.tell_encounter(event)
            if verdict is not Verdict.DELIVERED:
                return verdict
        return await sender.tell_status(event)


class _Sender:
    """One event on its connection."""

    def __init__(self, session: aiohttp.ClientSession, base: URL, words: Mapping[str, str]) -> None:
        self._session = session
        self._base = base
        self._words = words

    async def create(self, kind: str, resource: Resource, event: OutgoingEvent) -> Verdict:
        condition = URL.build(query={"identifier": f"{events.EVENT_SYSTEM}|{event.control_id}"})
        headers = {"If-None-Exist": condition.raw_query_string}
        return await self._write("POST", self._base / kind, resource, headers)

    async def tell_encounter(self, event: OutgoingEvent) -> Verdict:
        identifier = f"{NOSOLOGICAL_SYSTEM}|{events.nosological_code(event)}"
        url = (self._base / "Encounter").with_query(identifier=identifier)
        return await self._write("PUT", url, events.render_encounter(event), {})

    async def tell_status(self, event: OutgoingEvent) -> Verdict:
        url = (self._base / "Appointment").with_query(identifier=event.booking_code)
        theirs = await self._find(url)
        version = text(item(theirs, "meta"), "versionId")
        headers = {"If-Match": f'W/"{version}"'} if version else {}
        appointment = events.render_status(event, theirs, self._words)
        return await self._write("PUT", url, appointment, headers)

    async def _find(self, url: URL) -> Resource:
        """CUP's own resource, empty when it does not show exactly one.

        :raises AnswerRefused: it cannot say now.
        """
        status, content = await ask(self._session, "GET", url)
        if _is_for_later(status):
            raise AnswerRefused("not_now")
        if status != 200:
            return {}
        try:
            bundle = load_document(content)
        except FieldError:
            return {}
        found = [item(entry, "resource") for entry in items(bundle, "entry")]
        appointments = [each for each in found if each.get("resourceType") == "Appointment"]
        return appointments[0] if len(appointments) == 1 else {}

    async def _write(
        self, method: str, url: URL, resource: Resource, headers: Mapping[str, str]
    ) -> Verdict:
        body = msgspec.json.encode(resource)
        status, _ = await ask(self._session, method, url, body=body, headers={**_JSON, **headers})
        if 200 <= status < 300:
            return Verdict.DELIVERED
        return Verdict.RETRY if _is_for_later(status) else Verdict.REFUSED


def _is_for_later(status: int) -> bool:
    return status in _LATER or status >= 500
