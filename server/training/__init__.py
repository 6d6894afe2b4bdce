"""Practice visits: a clinician and a synthetic patient, alone, with a score sheet at the end.

``scenario``: what a scenario is and the files that come with the platform; ``library``: those that
facilitators build and share; ``ground``: the training organisation; ``score``: the sheet. The
patient is a process of :mod:`recordings.bot`, which comes in by her link like everybody.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from recordings.bothost import BotHost
from server.audit import Act, leaves, leaves_none, may_leave
from server.auth import CLINICIAN, Route
from server.services import SETTINGS
from server.training.pages import BOTS, begin, send_state, show_practice, show_training
from server.training.scenariopages import (
    adopt_scenario,
    change_scenario,
    publish_scenario,
    show_scenario,
    withdraw_scenario,
)

_SCENARIO: Final = "/training/scenarios/{scenario_id}"

ROUTES: Final = (
    Route("GET", "/training", show_training, CLINICIAN, leaves_none("nobody real is in it")),
    Route(
        "POST",
        "/training/practices",
        begin,
        CLINICIAN,
        may_leave(
            Act.PRACTICE_BEGAN,
            Act.BOOKING_IMPORTED,
            why="every synthetic patient may be busy",
        ),
    ),
    Route(
        "GET",
        "/training/practices/{practice_id}",
        show_practice,
        CLINICIAN,
        leaves_none("one's own practice, with nobody real"),
    ),
    Route(
        "GET",
        "/training/practices/{practice_id}/state",
        send_state,
        CLINICIAN,
        leaves_none("one's own practice, with nobody real"),
    ),
    Route("GET", _SCENARIO, show_scenario, CLINICIAN, leaves_none("nobody real is in it")),
    Route("POST", _SCENARIO, change_scenario, CLINICIAN, leaves(Act.SCENARIO_SAVED)),
    Route(
        "POST", f"{_SCENARIO}/publish", publish_scenario, CLINICIAN, leaves(Act.SCENARIO_PUBLISHED)
    ),
    Route(
        "POST",
        f"{_SCENARIO}/withdraw",
        withdraw_scenario,
        CLINICIAN,
        leaves(Act.SCENARIO_WITHDRAWN),
    ),
    Route("POST", f"{_SCENARIO}/adopt", adopt_scenario, CLINICIAN, leaves(Act.SCENARIO_ADOPTED)),
)


def prepare(app: web.Application) -> None:
    """Give the application its synthetic patients; none of them outlives it."""
    app[BOTS] = BotHost(app[SETTINGS].training_patients)
    app.on_cleanup.append(_end_bots)


async def _end_bots(app: web.Application) -> None:
    await app[BOTS].close()
