"""A small FHIR server of a CUP, on a real port: pages, conditional writes, and every kind of no.

It believes nobody: what it is sent is read by fhir.resources R4B.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from fhir.resources.R4B import get_fhir_model_class

Resource = dict[str, Any]
Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Resource


@dataclass(slots=True)
class FhirServer:
    """``resources`` by ``Type/id``; ``answer`` replaces the usual answer once it is set."""

    resources: dict[str, Resource] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    page_size: int = 2
    is_including: bool = True
    answer: Answerer | None = None
    origin: str = ""

    @property
    def url(self) -> str:
        return f"{self.origin}/fhir"

    def put(self, *resources: Resource) -> None:
        self.resources |= {f"{each['resourceType']}/{each['id']}": each for each in resources}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"{}")
        if body:
            get_fhir_model_class(body["resourceType"]).model_validate(body)
        headers = {name.title(): value for name, value in request.headers.items()}
        query = list(request.query.items())
        self.asked.append(Asked(request.method, request.path, query, headers, body))
        if self.answer is not None:
            return await self.answer(request)
        return self._write(body) if request.method in {"POST", "PUT"} else self._read(request)

    def _write(self, body: Resource) -> web.Response:
        identifier = body["identifier"][0]
        name = f"{body['resourceType']}/{identifier.get('system', '')}|{identifier['value']}"
        is_new = name not in self.resources
        self.resources[name] = body
        return web.json_response({}, status=201 if is_new else 200)

    def _read(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/fhir/")
        if path != "Appointment":
            found = self.resources.get(path)
            return web.json_response(found or {}, status=200 if found else 404)
        appointments = [
            each for each in self.resources.values() if each["resourceType"] == "Appointment"
        ]
        if "identifier" in request.query:
            code = request.query["identifier"]
            appointments = [each for each in appointments if each["identifier"][0]["value"] == code]
        return web.json_response(self._page(request, appointments))

    def _page(self, request: web.Request, appointments: list[Resource]) -> Resource:
        since = request.query.get("_lastUpdated", "")
        found = [each for each in appointments if _is_since(since, each)]
        found.sort(key=lambda each: each.get("meta", {}).get("lastUpdated", ""))
        start = int(request.query.get("start", "0"))
        page = found[start : start + self.page_size]
        included = [
            each for each in self.resources.values() if each["resourceType"] != "Appointment"
        ]
        entries = [*page, *(included if self.is_including else [])]
        bundle: Resource = {
            "resourceType": "Bundle",
            "type": "searchset",
            "link": [],
            "entry": [{"resource": each} for each in entries],
        }
        if start + self.page_size < len(found):
            url = request.url.update_query(start=start + self.page_size)
            bundle["link"] = [{"relation": "next", "url": str(url)}]
        return bundle


def _is_since(condition: str, appointment: Resource) -> bool:
    stamp, since = appointment.get("meta", {}).get("lastUpdated", ""), condition[2:]
    if condition.startswith("gt"):
        return bool(stamp > since)
    return bool(stamp >= since)


@asynccontextmanager
async def serve_fhir() -> AsyncIterator[FhirServer]:
    """A server on a free port of this machine."""
    server = FhirServer()
    app = web.Application(client_max_size=10 * 1024**2)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.origin = f"http://{host}:{port}"
    yield server
    await runner.cleanup()
