"""What would leave to patients, on a page of the demonstration and for tests as JSON.

Rendered when it is looked at, from the same rows and by the same code as a real message: there is
no copy of the texts anywhere. In a real installation there is no such page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy import select

from server.audit import leaves_none
from server.auth import PUBLIC, Route
from server.db import EVERY_ORGANISATION
from server.mail.letter import load_letter
from server.mail.render import Rendered, Renderer
from server.models import DispatchState, PatientMessage
from server.services import DATABASE, KEYRING, PAGES, SETTINGS

_SHOWN: Final = 500
_LINK: Final = re.compile(r"(https?://\S+)")


@dataclass(frozen=True, slots=True)
class Shown:
    """A message and when it would have left."""

    rendered: Rendered
    sent_at: datetime

    @property
    def pieces(self) -> list[str]:
        """The text and its links in turn, a link at every odd place."""
        return _LINK.split(self.rendered.text)

    def as_json(self) -> dict[str, str]:
        one = self.rendered
        return {
            "to": one.to,
            "subject": one.subject,
            "text": one.text,
            "booking_code": one.booking_code,
            "kind": one.kind.value,
            "channel": one.channel.value,
            "sent_at": self.sent_at.isoformat(),
        }


async def show_outbox(request: web.Request) -> web.StreamResponse:
    """``GET /demo/outbox``, the newest first; a list where JSON is asked for."""
    messages = await _load_messages(request)
    if "application/json" in request.headers.get("Accept", ""):
        return web.json_response([one.as_json() for one in messages])
    return request.app[PAGES].render(request, "demo/outbox.html", messages=messages)


async def _load_messages(request: web.Request) -> list[Shown]:
    renderer = Renderer(request.app[SETTINGS].base_url)
    keyring, found = request.app[KEYRING], []
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        rows = await session.scalars(
            select(PatientMessage)
            .where(PatientMessage.state == DispatchState.SENT)
            .order_by(PatientMessage.sent_at.desc(), PatientMessage.id)
            .limit(_SHOWN)
        )
        for message in rows.all():
            if message.channel is not None and message.sent_at is not None:
                letter = await load_letter(session, keyring, message, is_fresh=False)
                rendered = renderer.render(letter, message.channel, message.sent_at)
                found.append(Shown(rendered, message.sent_at))
    return found


ROUTES: Final = (
    Route(
        "GET",
        "/demo/outbox",
        show_outbox,
        PUBLIC,
        leaves_none(
            "the messages of a demonstration", opens={"appointment.details", "patient.identity"}
        ),
    ),
)
