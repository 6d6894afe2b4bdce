"""Around every request: cross-site writes are refused, answers carry the headers, faults an id."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.assets import Assets
from server.auth import PUBLIC, Route, register
from server.middleware import add_security_headers, answer_errors
from server.pages import Pages
from server.services import PAGES, SETTINGS
from server.settings import Settings
from tests.conftest import Cast
from tests.visitors import OWN_PAGE, Site, site

__all__ = ["site"]

JSON = {"Accept": "application/json"}


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """Nothing here depends on the database."""
    return sqlite_template


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "{origin}.evil.example"},
        {"Origin": "{origin}0"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://{host}"},
        {"Origin": "{origin}/"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "{origin}"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"Referer": "{origin}/login"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_cross_site_write_is_refused(
    site: Site, method: str, headers: dict[str, str]
) -> None:
    host = site.origin.removeprefix("http://")
    given = {name: value.format(origin=site.origin, host=host) for name, value in headers.items()}

    answer = await site.stranger.ask(method, "/language", given, data={"language": "en"})

    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        OWN_PAGE,
        {"Origin": "{origin}"},
        {**OWN_PAGE, "Origin": "{origin}"},
        {**OWN_PAGE, "Origin": "null"},
    ],
    ids=str,
)
async def test_write_of_our_own_page_is_taken(site: Site, headers: dict[str, str]) -> None:
    given = {name: value.format(origin=site.origin) for name, value in headers.items()}
    form = {"language": "en", "back": "/login"}

    answer = await site.stranger.ask("POST", "/language", given, data=form)

    assert answer.status == 303


async def test_logged_in_desk_is_not_a_tool_of_another_site(site: Site, cast: Cast) -> None:
    desk = await site.staff(cast.toscana.desk)

    answer = await desk.ask("POST", "/desk", {"Origin": "https://evil.example"}, data={})

    assert answer.status == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/login", 200),
        ("/healthz", 200),
        ("/desk", 303),
        ("/nothing", 404),
        ("/v/0000000000/room", 303),
        ("/static/0/css/app.css", 200),
        ("/static/0/nothing.css", 404),
        ("/ws", 403),
    ],
)
async def test_every_answer_carries_the_headers(site: Site, path: str, status: int) -> None:
    answer = await site.stranger.get(path)

    assert answer.status == status
    check_headers(answer.headers)


async def test_refusals_and_wrong_methods_carry_the_headers(site: Site) -> None:
    for method, path, status in (("POST", "/login", 403), ("DELETE", "/login", 405)):
        headers = OWN_PAGE if status == 405 else {}
        answer = await site.stranger.ask(method, path, headers)

        assert answer.status == status
        check_headers(answer.headers)


async def test_policy_allows_nothing_unsafe_and_nothing_foreign(site: Site) -> None:
    policy = (await site.stranger.get("/")).headers["Content-Security-Policy"]

    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["style-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert directives["require-trusted-types-for"] == "'script'"


async def test_pages_are_never_stored_and_static_files_of_this_version_are(site: Site) -> None:
    page = await site.stranger.get("/")
    file = await site.stranger.get(Assets().url("css/app.css"))
    of_another_node = await site.stranger.get("/static/0/css/app.css")

    assert page.headers["Cache-Control"] == "no-store"
    assert "immutable" in file.headers["Cache-Control"]
    assert of_another_node.headers["Cache-Control"] == "no-store"


async def test_error_shows_an_id_that_is_in_the_log_and_no_detail(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = await site.stranger.get("/nothing", **JSON)

    content = json.loads(answer.text)
    assert content["code"] == "not_found"
    assert content["id"] in caplog.text
    assert set(content) == {"code", "id"}


async def test_unknown_failure_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that breaks is answered like any refusal; only the log knows why."""

    async def fail(request: web.Request) -> web.StreamResponse:
        raise RuntimeError("Rosa Bertolucci")

    app = web.Application(middlewares=[answer_errors])
    app[SETTINGS], app[PAGES] = Settings(), Pages(Assets())
    app.on_response_prepare.append(add_security_headers)
    register(app, [Route("GET", "/fail", fail, PUBLIC)])

    async with TestClient(TestServer(app)) as client:
        with caplog.at_level(logging.ERROR):
            response = await client.get("/fail", headers=JSON)
            content = await response.json()
            page = await (await client.get("/fail")).text()

    assert response.status == 500
    assert content["code"] == "internal"
    assert content["id"] in caplog.text
    assert "Rosa" not in page + json.dumps(content)
    check_headers(response.headers)


async def test_large_body_is_refused(site: Site, cast: Cast) -> None:
    desk = await site.staff(cast.toscana.desk)

    answer = await desk.post("/desk", sought="x" * 300_000)

    assert answer.status == 413


def check_headers(headers: Mapping[str, str]) -> None:
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=(self)" in headers["Permissions-Policy"]
    assert headers["X-Robots-Tag"] == "noindex"
    assert "Server" not in headers
