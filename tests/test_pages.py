"""Pages escape what they are given, keep the strict policy, and speak the person's language."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jinja2
import msgspec
import pytest

from server.pages import _json_data, json_response
from tests.conftest import ROSA, Cast, MakeVisit
from tests.visitors import Site, site

__all__ = ["site"]

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "server" / "templates"
PAGES = sorted(set(TEMPLATES.rglob("*.html")) - {TEMPLATES / "subjects/copy.html"})
TEST_IDS = (
    "claim-birth-date", "claim-submit", "consent-visit", "consent-tool", "checkin-next",
    "enter-waiting-room", "waiting-status", "login-username", "login-password", "login-submit",
    "agenda-row", "open-visit", "admit", "local-video", "remote-video", "toggle-mic",
    "toggle-camera", "chat-input", "chat-log", "note-editor", "note-status", "leave",
    "finish-visit", "outcome", "outcome-confirm", "sessions-row", "session-timeline",
)  # fmt: skip
NASTY = """<script>alert("x")</script>'"&{{ 7*7 }}{% raw %}"""


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """Pages do not depend on the database."""
    return sqlite_template


@pytest.mark.parametrize("test_id", TEST_IDS)
def test_test_id_of_the_issue_is_in_a_template(test_id: str) -> None:
    found = {
        re.sub(r"\\\{\\\{.*?\\\}\\\}", r"[a-z-]+", re.escape(name))
        for path in PAGES
        for name in re.findall(r'data-testid="([^"]+)"', path.read_text())
    }

    assert any(re.fullmatch(pattern, test_id) for pattern in found)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_template_keeps_the_policy(path: Path) -> None:
    source = path.read_text()
    scripts = re.findall(r"<script\b[^>]*>", source)

    assert re.search(r"\sstyle\s*=", source) is None
    assert "<style" not in source
    assert re.search(r"\son\w+\s*=", source) is None
    assert "javascript:" not in source
    assert "| safe" not in source
    assert "autoescape false" not in source
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)
    assert re.search(r"(?:src|href|action)=\"(?:https?:)?//", source) is None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_template_can_be_compiled(path: Path) -> None:
    environment = jinja2.Environment(autoescape=True)

    environment.parse(path.read_text())


@pytest.mark.parametrize("path", sorted((ROOT / "static" / "js").rglob("*.js")), ids=str)
def test_script_makes_no_html_from_text(path: Path) -> None:
    source = path.read_text()
    forbidden = (
        "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function",
        "localStorage", ".style.", "setAttribute(\"style",
    )  # fmt: skip

    assert [word for word in forbidden if word in source] == []


async def test_what_people_and_cup_write_is_escaped(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    identity = msgspec.structs.replace(ROSA, given_name=NASTY, family_name="", address=NASTY)
    visit = await make_visit(cast.toscana, identity=identity)
    desk = await site.staff(cast.toscana.desk)

    pages = [
        (await desk.get("/desk")).text,
        (await desk.get(f"/desk/visits/{visit.id}")).text,
        (await desk.post("/desk", sought=NASTY)).text,
        (await desk.post(f"/desk/visits/{visit.id}/contact", phone=NASTY, version="1")).text,
    ]

    for page in pages:
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert "{{ 7*7 }}" in page


@pytest.mark.parametrize("value", ["</script><script>", "<!--", "&amp;", "\u2028", 'a"b', "è"])
def test_data_inside_a_page_is_inert_and_whole(value: str) -> None:
    text = str(_json_data({"value": value}))

    assert not set("<>&") & set(text)
    assert json.loads(text) == {"value": value}


async def test_language_of_the_browser_and_of_the_choice(site: Site) -> None:
    stranger = site.stranger
    italian = await stranger.get("/", **{"Accept-Language": "it"})
    english = await stranger.get("/", **{"Accept-Language": "en"})
    answer = await stranger.post("/language", language="en", back="/v")
    stranger.cookies["language"] = "en"
    chosen = await stranger.get("/", **{"Accept-Language": "it"})

    assert '<html lang="it">' in italian.text
    assert '<html lang="en">' in english.text
    assert answer.location == "/v"
    assert '<html lang="en">' in chosen.text


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
async def test_choosing_a_language_never_leads_away(site: Site, back: str) -> None:
    answer = await site.stranger.post("/language", language="en", back=back)

    assert answer.status == 303
    assert answer.location == "/"


async def test_pages_name_only_files_that_are_served(site: Site, cast: Cast) -> None:
    desk, manager = await site.staff(cast.toscana.desk), await site.staff(cast.toscana.manager)
    pages = [await site.stranger.get(path) for path in ("/", "/login", "/v", "/nothing")]
    pages += [await desk.get("/desk"), await manager.get("/sessions")]

    named = {
        path for page in pages for path in re.findall(r'(?:href|src)="(/static/[^"]+)', page.text)
    }

    assert len(named) > 3
    for path in named:
        assert (await site.stranger.get(path)).status == 200


async def test_static_files_are_compressed_where_it_helps(site: Site) -> None:
    path = "/static/0/css/bootstrap-italia.min.css"

    answer = await site.stranger.get(path, **{"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("name", ["../server/settings.py", "..%2f..%2fREADME.md", "tsconfig.json"])
async def test_only_listed_files_are_served(site: Site, name: str) -> None:
    assert (await site.stranger.get(f"/static/0/{name}")).status == 404


def test_json_answers_are_json() -> None:
    response = json_response({"name": "è"}, status=409)

    assert (response.status, response.content_type) == (409, "application/json")
    assert json.loads(response.text or "") == {"name": "è"}
