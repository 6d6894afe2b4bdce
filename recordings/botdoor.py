"""The way of a patient into her visit over HTTP, as a browser goes it: the join link, the check-in,
the waiting room. Then tickets, and her word about a recording. Knows no media."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from recordings.roomclient import TicketRefused

_WITHIN: Final = aiohttp.ClientTimeout(total=20)
_TRY_AGAIN_SECONDS: Final = 2.0
_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36"
_LINK: Final = re.compile(r"/v/([0-9A-Za-z]+)/?")
_PAGE_DATA: Final = re.compile(
    r'<script type="application/json" id="page-data">(.*?)</script>', re.S
)
_RETRIABLE: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_FOUND: Final = 303


class DoorClosed(Exception):
    """The visit does not open; the reason is a stable word of the server, never the link."""


class Door:
    """One patient with one link. ``link``: the whole address with its fragment; ``address``:
    where the server is reached, when that is elsewhere."""

    def __init__(
        self, session: aiohttp.ClientSession, link: str, birth_date: str, address: str = ""
    ) -> None:
        """:raises DoorClosed: it is no join link."""
        parts = urlsplit(link.strip())
        found = _LINK.fullmatch(parts.path)
        if parts.scheme not in {"http", "https"} or not parts.netloc or found is None:
            raise DoorClosed("no_link")
        self._session = session
        self._locator, self._secret = found[1], parts.fragment
        self._birth_date = birth_date
        self._cookies: dict[str, str] = {}
        self._page: dict[str, Any] = {}
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._address = address or self.origin

    @property
    def socket_url(self) -> str:
        return self._address.replace("http", "ws", 1) + "/ws"

    @property
    def visit_id(self) -> str:
        """Once she is in the waiting room."""
        return str(self._page.get("visitId", ""))

    async def come_in(self, companions: str, *, has_camera: bool) -> None:
        """Claim the link, answer the check-in, sit down in the waiting room.

        :raises DoorClosed: the server says no.
        """
        await self._claim()
        here = f"/v/{self._locator}"
        alone = (
            {"company": "with", "companions": companions} if companions else {"company": "alone"}
        )
        camera = "ok" if has_camera else "failed"
        steps: tuple[tuple[str, dict[str, str]], ...] = (
            ("who", {}),
            ("consents", {"visit": "yes", "tool": "yes"}),
            ("devices", {"camera": camera, "microphone": "ok", "loudspeaker": "ok"}),
            ("place", {"address": await self._find_place(), **alone}),
        )
        for step, fields in steps:
            await self._post_form(f"{here}/check-in/{step}", fields)
        await self._post_form(f"{here}/waiting-room", {})
        self._page = _page_data(await self._get(f"{here}/room"))
        if not self.visit_id:
            raise DoorClosed("no_room")

    async def fetch_ticket(self) -> str:
        """:raises TicketRefused: the visit is over, or no longer hers."""
        status, answer = await self._ask("POST", f"/v/{self._locator}/ticket", json={})
        if status in _RETRIABLE:
            raise ConnectionError(f"ticket: {status}")
        said = _decode(answer)
        if status >= 400 or "ticket" not in said:
            raise TicketRefused(str(said.get("code", "refused")))
        return str(said["ticket"])

    async def answer_recording(self, ask: str, *, is_accepted: bool) -> bool:
        """Her answer to what was on the screen; False when the server does not take it."""
        recording = f"/v/{self._locator}/recording"
        status, shown = await self._ask("GET", f"{recording}?ask={ask}")
        text_hash = str(_decode(shown).get("hash", "")) if status == 200 else ""
        said = {"ask": ask, "is_accepted": is_accepted, "text_hash": text_hash}
        status, _ = await self._ask("POST", f"{recording}/answer", json=said)
        return status < 400

    async def stop_recording(self, ask: str) -> bool:
        """False when the server does not take it."""
        path = f"/v/{self._locator}/recording/stop"
        status, _ = await self._ask("POST", path, json={"ask": ask})
        return status < 400

    async def _claim(self) -> None:
        said = {
            "locator": self._locator,
            "secret": self._secret,
            "code": "",
            "birth_date": self._birth_date,
        }
        while True:
            status, answer = await self._ask("POST", "/api/join", json=said)
            if status < 400:
                return
            refusal = _decode(answer)
            if status not in _RETRIABLE:
                raise DoorClosed(str(refusal.get("reason") or refusal.get("code", "refused")))
            await asyncio.sleep(float(refusal.get("wait_seconds", _TRY_AGAIN_SECONDS)))

    async def _find_place(self) -> str:
        """What the page proposes: the address of the booking."""
        page = await self._get(f"/v/{self._locator}/check-in/place")
        found = re.search(r'<textarea[^>]*name="address"[^>]*>(.*?)</textarea>', page, re.S)
        return (html.unescape(found[1]).strip() if found else "") or "-"

    async def _get(self, path: str) -> str:
        status, page = await self._ask("GET", path)
        if status != 200:
            raise DoorClosed(f"page_{status}")
        return page

    async def _post_form(self, path: str, fields: dict[str, str]) -> None:
        status, _ = await self._ask("POST", path, data=fields or {"step": "next"})
        if status != _FOUND:
            raise DoorClosed(f"step_{status}")

    async def _ask(self, method: str, path: str, **body: Any) -> tuple[int, str]:
        headers = {
            "Origin": self.origin,
            "Sec-Fetch-Site": "same-origin",
            "User-Agent": _AGENT,
            "Accept": "application/json" if "json" in body else "text/html",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
        }
        async with self._session.request(
            method, self._address + path, headers=headers, allow_redirects=False, timeout=_WITHIN,
            **body,
        ) as response:  # fmt: skip
            for name, morsel in response.cookies.items():
                self._cookies[name] = morsel.value
            return response.status, (await response.read()).decode("utf-8", "replace")


def _page_data(page: str) -> dict[str, Any]:
    found = _PAGE_DATA.search(page)
    return _decode(found[1]) if found else {}


def _decode(text: str) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return {}
    return said if isinstance(said, dict) else {}
