"""Where facilitators build, change, share and adopt scenarios; works without scripts."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from recordings.script import Face, Line, StepAct, Trigger
from server.auth import Actor, actor_of
from server.errors import NotFound
from server.models import Outcome, TrainingScenario
from server.services import DATABASE, PAGES, now_of
from server.training.forms import NEW_CODE, Form, parse_form, rows_of, rows_said
from server.training.library import SCENARIOS, save_scenario
from server.training.scenario import (
    Scenario,
    ScenarioWrong,
    encode_scenario,
    load_shipped,
    parse_scenario,
)

_NOTHING: Final[tuple[None, None]] = (None, None)
_BLANK: Final = {
    "title": "",
    "summary": "",
    "task": "",
    "patient": dict.fromkeys(("given_name", "family_name", "birth_date", "address", "question"), "")
    | {"sex": "F"},
    "expected": {"outcomes": (), "why": "", "has_companion": False, "is_recorded": False},
    "script": {
        "face": Face.WOMAN,
        "has_camera": True,
        "companions": "",
        "arrives_after_seconds": 0,
        "line": Line.GOOD,
    },
}
"""What the form shows of a scenario that is not there yet."""


async def show_scenario(request: web.Request) -> web.StreamResponse:
    """The form of one scenario; ``new`` is an empty one, a shipped code one to begin from."""
    actor = _facilitator(request)
    row, scenario = await _load_before(request, actor)
    return _form(request, actor, row, scenario)


async def change_scenario(request: web.Request) -> web.StreamResponse:
    """Saved as the next version; the field that is wrong is named on the page."""
    actor, form = _facilitator(request), await request.post()
    row, scenario = await _load_before(request, actor)
    try:
        wish = parse_form(form)
    except ScenarioWrong as wrong:
        return _form(request, actor, row, scenario, said=form, wrong=wrong)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await save_scenario(session, actor, wish, row, now_of(request))
    raise web.HTTPSeeOther("/training")


async def publish_scenario(request: web.Request) -> web.StreamResponse:
    actor = _facilitator(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await SCENARIOS.publish(session, actor, request.match_info["scenario_id"], now_of(request))
    raise web.HTTPSeeOther("/training")


async def withdraw_scenario(request: web.Request) -> web.StreamResponse:
    actor = _facilitator(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await SCENARIOS.withdraw(session, actor, request.match_info["scenario_id"], now_of(request))
    raise web.HTTPSeeOther("/training")


async def adopt_scenario(request: web.Request) -> web.StreamResponse:
    actor = _facilitator(request)
    scenario_id = request.match_info["scenario_id"]
    await SCENARIOS.adopt(request.app[DATABASE], actor, scenario_id, now_of(request))
    raise web.HTTPSeeOther("/training")


def _facilitator(request: web.Request) -> Actor:
    """:raises NotFound: a clinician without this right, as one of another role."""
    actor = actor_of(request)
    if not actor.is_facilitator:
        raise NotFound
    return actor


async def _load_before(
    request: web.Request, actor: Actor
) -> tuple[TrainingScenario | None, Scenario | None]:
    """The row that is changed and what is in it; a shipped one has no row."""
    scenario_id = request.match_info["scenario_id"]
    if scenario_id == NEW_CODE:
        return _NOTHING
    if (shipped := load_shipped().get(scenario_id)) is not None:
        return None, shipped
    async with request.app[DATABASE].read(actor.organisation) as session:
        row = await SCENARIOS.load(session, scenario_id)
    return row, parse_scenario(row.content)


def _form(
    request: web.Request,
    actor: Actor,
    row: TrainingScenario | None,
    scenario: Scenario | None,
    *,
    said: Form | None = None,
    wrong: ScenarioWrong | None = None,
) -> web.Response:
    """``said``: what was sent and is shown again beside what is wrong with it."""
    return request.app[PAGES].render(
        request,
        "staff/training_scenario.html",
        status=400 if wrong else 200,
        actor=actor,
        row=row,
        scenario=scenario or _BLANK,
        rows=rows_of(scenario) if said is None else rows_said(said),
        text=encode_scenario(scenario) if scenario else "",
        said=said,
        wrong=wrong,
        scenario_id=request.match_info["scenario_id"],
        faces=Face,
        lines=Line,
        triggers=Trigger,
        acts=StepAct,
        outcomes=Outcome,
    )
