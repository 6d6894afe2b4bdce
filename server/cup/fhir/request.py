"""The FHIR door's manners: who may speak, in which format, how much, and how it is told no.

A door is a handler that gets the source behind the bearer token. Whatever goes wrong in it is
answered with an OperationOutcome; no cookie and no session counts here.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from aiohttp import web

from server.cup.fhir.document import FILE_BYTES
from server.cup.fhir.tree import Resource
from server.cup.fhir.words import render_issue, render_outcome
from server.cup.tokens import find_source
from server.db import EVERY_ORGANISATION
from server.errors import AccantoError
from server.models import Source, new_id
from server.services import DATABASE

logger = logging.getLogger(__name__)

FHIR_JSON: Final = "application/fhir+json"
_JSON_TYPES: Final = frozenset({FHIR_JSON, "application/json", "application/json+fhir"})
_ACCEPTABLE: Final = _JSON_TYPES | {"*/*", "application/*", "json", "text/html"}
"""A browser that looks at the door gets JSON, too."""
_PAUSED_SECONDS: Final = 60

Door = Callable[[web.Request, Source], Awaitable[web.Response]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(AccantoError):
    """The answer is an OperationOutcome with these issues."""

    code = "fhir_refused"

    def __init__(
        self, status: int, *issues: Resource, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"refused {status}")
        self.status = status
        self.issues = issues
        self.headers = headers or {}


def refusal(status: int, code: str, words: str, expression: str = "") -> Refused:
    """A refusal for one reason; ``code`` is FHIR's issue type."""
    return Refused(status, render_issue("error", code, words, expression))


def answered(handler: Handler) -> Handler:
    """A handler whose every failure is an OperationOutcome."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            _require_acceptable(request)
            return await handler(request)
        except Refused as error:
            return respond(render_outcome(error.issues), error.status, error.headers)
        except Exception:
            fault_id = new_id()
            logger.exception("fhir request failed fault=%s method=%s", fault_id, request.method)
            issue = render_issue("fatal", "exception", f"fault {fault_id}")
            return respond(render_outcome([issue]), 500)

    return handle


def opened(door: Door) -> Handler:
    """The handler of a door."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await door(request, await _authenticate(request))

    return answered(handle)


def respond(
    resource: Resource | None, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer in FHIR JSON; without a body when there is no resource."""
    body = b"" if resource is None else msgspec.json.encode(resource)
    return web.Response(
        status=status, body=body, content_type=FHIR_JSON, charset="utf-8", headers=headers
    )


async def read_body(request: web.Request) -> bytes:
    """The body as it came, at most 5 MiB of it.

    :raises Refused: compressed (a small one could unfold to gigabytes), not JSON, or too large.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise refusal(415, "not-supported", "compressed bodies are not read")
    if request.content_type not in _JSON_TYPES:
        raise refusal(415, "not-supported", f"the body must be {FHIR_JSON}")
    if (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise refusal(415, "not-supported", "the body must be UTF-8")
    body = bytearray()
    if (request.content_length or 0) <= FILE_BYTES:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > FILE_BYTES:
                break
        else:
            return bytes(body)
    raise refusal(413, "too-long", f"at most {FILE_BYTES // 1024**2} MiB")


def preference(request: web.Request) -> str:
    """What the client wants back: ``minimal``, ``OperationOutcome`` or ``representation``."""
    for part in ",".join(request.headers.getall("Prefer", [])).replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "return":
            return value.strip()
    return "representation"


async def _authenticate(request: web.Request) -> Source:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    found = None
    if scheme.lower() == "bearer" and token.strip():
        async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
            found = await find_source(session, token.strip())
    if found is None:
        logger.info("FHIR refused: no bearer token of a source")
        issue = render_issue("error", "login", "a bearer token of a source is needed")
        raise Refused(401, issue, headers={"WWW-Authenticate": 'Bearer realm="fhir"'})
    if found.is_paused:
        issue = render_issue("error", "transient", "this source is paused")
        raise Refused(503, issue, headers={"Retry-After": str(_PAUSED_SECONDS)})
    return found


def _require_acceptable(request: web.Request) -> None:
    wanted = request.query.get("_format", "").replace(" ", "+")  # a plus sign nobody has quoted
    wanted = wanted or request.headers.get("Accept") or "*/*"
    types = {part.partition(";")[0].strip().lower() for part in wanted.split(",")}
    if not types & _ACCEPTABLE:
        raise refusal(406, "not-supported", f"answers are {FHIR_JSON} only")
