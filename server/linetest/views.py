"""The page of the test, and what its steps ask of the server: relays, an echo, a place to keep
the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from aiohttp import web

from recordings.echohost import EchoBusy, EchoHost, EchoRefused
from server.auth import actor_of
from server.bodies import read_body
from server.browsers import browser_family
from server.errors import Conflict, InvalidInput, TooManyAttempts
from server.linetest.rules import Report
from server.linetest.store import Standing, load_standing, save_test
from server.pages import json_response
from server.readiness import (
    RELAYS,
    Problem,
    Result,
    Step,
    StepReport,
    is_line_test_open,
    problems_of,
    steps_of,
)
from server.services import DATABASE, PAGES, SETTINGS, now_of
from signaling.ice import IceConfig, ice_servers

ECHO: Final = web.AppKey("line_test_echo", EchoHost)
ICE: Final = web.AppKey("line_test_ice", IceConfig)
"""The relays, with credentials for ten minutes at most."""
CREDENTIAL_SECONDS: Final = 600
_BUSY_SECONDS: Final = 10
_SEAT: Final = "test"

_ROWS: Final[Mapping[str, tuple[Problem, ...]]] = {
    "socket": (Problem.SOCKET,),
    "camera": (Problem.CAMERA,),
    "microphone": (Problem.MICROPHONE,),
    "loudspeaker": (Problem.LOUDSPEAKER,),
    "relay": (Problem.RELAY,),
    "line": (Problem.LINE_DEAD, Problem.LINE_WEAK),
    "reconnect": (Problem.RECONNECT,),
}
"""What the patient sees as one step each, and which problems are its."""


class EchoOffer(msgspec.Struct, frozen=True):
    sdp: Annotated[str, msgspec.Meta(max_length=64 * 1024)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The newest test as the page says it."""

    results: Mapping[str, str]
    problems: tuple[Problem, ...]
    is_complete: bool
    """Whether every step was done; a relay that nobody configured is not missed."""


async def show_line_test(request: web.Request) -> web.StreamResponse:
    """The steps, and what the newest test said."""
    standing = await _load(request)
    if not _is_open(request, standing):
        raise web.HTTPSeeOther(f"/v/{standing.visit.locator}/check-in")
    appointment, organisation = standing.visit.appointment, standing.organisation
    outcome = outcome_of(standing)
    here = f"/v/{standing.visit.locator}"
    return request.app[PAGES].render(
        request,
        "patient/line_test.html",
        organisation_name=organisation.name,
        desk_phone=organisation.desk_phone,
        here=here,
        start=appointment.start,
        taken_at=standing.newest.taken_at if standing.newest else None,
        outcome=outcome,
        rows=tuple(_ROWS),
        answers=dict.fromkeys(("camera", "microphone", "loudspeaker"), ""),
        page_data={"testUrl": f"{here}/line-test"},
    )


async def send_servers(request: web.Request) -> web.StreamResponse:
    """The relays with credentials of this visit, for this test only."""
    standing = await _load_open(request)
    servers = ice_servers(request.app[ICE], f"{standing.visit.id}.{_SEAT}", now_of(request))
    return json_response({"servers": servers})


async def answer_echo(request: web.Request) -> web.StreamResponse:
    """A leg that sends back what comes; one for each visit, few at once."""
    standing = await _load_open(request)
    offer = await read_body(request, EchoOffer)
    try:
        sdp = await request.app[ECHO].answer(standing.visit.id, offer.sdp)
    except EchoBusy as error:
        raise TooManyAttempts(_BUSY_SECONDS) from error
    except EchoRefused as error:
        raise InvalidInput("sdp", "refused") from error
    return json_response({"sdp": sdp})


async def save_result(request: web.Request) -> web.StreamResponse:
    """Keep the result; the page then shows what the server makes of it."""
    actor, now = actor_of(request), now_of(request)
    report = await read_body(request, Report)
    browser = browser_family(request.headers.get("User-Agent", ""))
    async with request.app[DATABASE].begin(actor.organisation) as session:
        standing = await load_standing(session, actor)
        if not _is_open(request, standing):
            raise Conflict("the test is not open")
        problems = await save_test(session, actor, standing, report.steps, browser, now)
    return json_response({"problems": problems})


def outcome_of(standing: Standing) -> Outcome | None:
    """The newest test, row by row."""
    if standing.newest is None:
        return None
    steps = steps_of(standing.newest)
    problems = problems_of(standing.newest)
    results = {
        row: Result.FAILED.value if set(known) & set(problems) else _result_of(row, steps)
        for row, known in _ROWS.items()
    }
    done = [result for row, result in results.items() if row != "relay"]
    return Outcome(results, problems, is_complete=all(result == Result.OK for result in done))


def _result_of(row: str, steps: Mapping[Step, StepReport]) -> str:
    wanted = RELAYS if row == "relay" else (Step(row),)
    results = {steps[step].result for step in wanted if step in steps}
    return next((one.value for one in Result if one in results), Result.SKIPPED.value)


def _is_open(request: web.Request, standing: Standing) -> bool:
    visit, hours = standing.visit, request.app[SETTINGS].line_test_hours
    return is_line_test_open(visit, visit.appointment, now_of(request), hours)


async def _load(request: web.Request) -> Standing:
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        return await load_standing(session, actor)


async def _load_open(request: web.Request) -> Standing:
    standing = await _load(request)
    if not _is_open(request, standing):
        raise Conflict("the test is not open")
    return standing
