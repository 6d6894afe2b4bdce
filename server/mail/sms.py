"""SMS by an HTTP gateway: ``POST {"to", "text", "id"}`` with a bearer token, 2xx means taken over.

``id`` is the same when a message is sent again, so that the gateway can tell a repeat. A gateway
that speaks otherwise needs a small relay in front, or another class like this one.
"""

from __future__ import annotations

import logging
from typing import Final

import aiohttp

from server.mail.delivery import SENT, Delivered, DispatchVerdict
from server.mail.render import Rendered

logger = logging.getLogger(__name__)

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20)
_FINAL: Final = frozenset({400, 413, 422})
"""What a gateway says of the number or of the text; other 4xx are about us."""


class SmsGateway:
    """One gateway; its connections are opened by the first message."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def send(self, rendered: Rendered) -> DispatchVerdict:
        """Hand one message to the gateway."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        content = {"to": rendered.to, "text": rendered.text, "id": rendered.message_id}
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            async with self._session.post(
                self._url, json=content, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.warning("SMS gateway: %s", type(error).__name__)
            return DispatchVerdict(Delivered.RETRY, "no_answer")
        if 200 <= status < 300:
            return SENT
        if status in _FINAL:
            return DispatchVerdict(Delivered.REFUSED, "recipient_refused")
        logger.warning("SMS gateway: status %d", status)
        return DispatchVerdict(Delivered.RETRY, f"status_{status}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
