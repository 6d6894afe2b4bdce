"""The gateway of the national record over HTTP: one call, one answer. Never raises for what the
other side does.

Mutual TLS with the *authentication* certificate, two new JWTs each time
(:mod:`server.fse.tokens`). No redirect is followed and no cookie kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from server.fse.answers import Answer, Meaning, read_answer
from server.fse.metadata import Action, describe_publication, describe_subjects, document_id
from server.fse.tokens import make_headers
from server.report.content import ReportContent
from server.report.gateways import Gateway

logger = logging.getLogger(__name__)

CALL_SECONDS: Final = 30.0
_MOST_ANSWER_BYTES: Final = 1024 * 1024
_VALIDATION: Final = {"healthDataFormat": "CDA", "mode": "ATTACHMENT", "activity": "VALIDATION"}


@dataclass(frozen=True, slots=True)
class Paper:
    """One document as it travels: what it says, and the whole PDF."""

    content: ReportContent
    pdf: bytes


class Client:
    """Calls in the name of one organisation."""

    def __init__(
        self, gateway: Gateway, clock: Callable[[], datetime], seconds: float = CALL_SECONDS
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=seconds)

    async def validate(self, paper: Paper) -> Answer:
        """``POST /documents/validation``; taken: a workflow instance to publish with."""
        return await self._send("POST", "/documents/validation", paper, Action.CREATE, _VALIDATION)

    async def create(self, paper: Paper, workflow_instance_id: str, submission_id: str) -> Answer:
        """``POST /documents``: taken in charge, not yet findable."""
        request = self._describe(paper, workflow_instance_id, submission_id)
        return await self._send("POST", "/documents", paper, Action.CREATE, request)

    async def replace(
        self, paper: Paper, workflow_instance_id: str, submission_id: str, replaced_id: str
    ) -> Answer:
        """``PUT /documents/{id}`` in the place of the report ``replaced_id``."""
        request = self._describe(paper, workflow_instance_id, submission_id)
        former = quote(document_id(paper.content.body, replaced_id), safe="")
        return await self._send("PUT", f"/documents/{former}", paper, Action.UPDATE, request)

    async def ask_status(self, paper: Paper, workflow_instance_id: str) -> Answer:
        """``GET /status/{workflowInstanceId}``: the events of a transaction."""
        path = f"/status/{quote(workflow_instance_id, safe='')}"
        headers = self._sign(paper.content, b"", Action.CREATE)
        return await self._call("GET", path, headers, None)

    def _describe(
        self, paper: Paper, workflow_instance_id: str, submission_id: str
    ) -> dict[str, object]:
        return describe_publication(
            paper.content,
            self._gateway.settings,
            workflow_instance_id=workflow_instance_id,
            submission_id=submission_id,
        )

    async def _send(
        self, method: str, path: str, paper: Paper, action: Action, request: Mapping[str, object]
    ) -> Answer:
        form = aiohttp.FormData()
        form.add_field("requestBody", json.dumps(request))
        form.add_field("file", paper.pdf, filename="referto.pdf", content_type="application/pdf")
        headers = self._sign(paper.content, paper.pdf, action)
        return await self._call(method, path, headers, form)

    def _sign(self, content: ReportContent, pdf: bytes, action: Action) -> dict[str, str]:
        subjects = describe_subjects(content, self._gateway.settings, action, version("accanto"))
        return make_headers(self._gateway, subjects, pdf, self._clock())

    async def _call(
        self, method: str, path: str, headers: Mapping[str, str], form: aiohttp.FormData | None
    ) -> Answer:
        url = URL(self._gateway.url + path, encoded=True)
        connector = aiohttp.TCPConnector(ssl=self._gateway.tls)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                session.request(
                    method,
                    url,
                    data=form,
                    headers={**headers, "Accept": "application/json"},
                    allow_redirects=False,
                ) as response,
            ):
                body = await _read_some(response)
                retry_after = response.headers.get("Retry-After", "")
                return read_answer(response.status, _parse(body), retry_after, self._clock())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.warning("fse: no answer to %s (%s)", method, type(error).__name__)
            return Answer(Meaning.UNREACHABLE, "unreachable", is_everybodys=True)


async def _read_some(response: aiohttp.ClientResponse) -> bytes:
    """The body; what is longer than an answer can be is cut, and is no JSON then."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MOST_ANSWER_BYTES:
            break
    return body


def _parse(body: bytes) -> Mapping[str, Any]:
    """The JSON object of an answer; empty when it is none."""
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
