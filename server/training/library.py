"""Scenarios that facilitators build: an organisation's own, and those that others have published.

Those that come with the platform are files (:func:`server.training.scenario.load_shipped`); a
change to one of them is a scenario of one's own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act
from server.auth import Actor
from server.errors import NotFound
from server.models import TrainingScenario, new_id
from server.sharing import Shelf
from server.training.scenario import Scenario, encode_scenario, load_shipped, parse_scenario

SCENARIOS: Final = Shelf(
    model=TrainingScenario,
    word="scenario",
    copied=("title", "content"),
    saved=Act.SCENARIO_SAVED,
    published=Act.SCENARIO_PUBLISHED,
    withdrawn=Act.SCENARIO_WITHDRAWN,
    adopted=Act.SCENARIO_ADOPTED,
)


async def load_scenario(session: AsyncSession, chosen: str) -> Scenario:
    """The scenario of a shipped code, or of a row's id that is in use here.

    :raises NotFound: neither.
    """
    shipped = load_shipped().get(chosen)
    if shipped is not None:
        return shipped
    row = await SCENARIOS.load(session, chosen)
    if row.withdrawn_at is not None:
        raise NotFound
    return parse_scenario(row.content)


async def save_scenario(
    session: AsyncSession,
    author: Actor,
    scenario: Scenario,
    before: TrainingScenario | None,
    now: datetime,
) -> TrainingScenario:
    """A new scenario, or the next version of one's own; its content holds its code, too.

    :raises Conflict: somebody else saved that version first.
    """
    is_next = before is not None and before.adopted_from is None
    code = before.code if before is not None and is_next else new_id()
    content = encode_scenario(msgspec.structs.replace(scenario, code=code))
    row = TrainingScenario(code=code, title=scenario.title, content=content)
    return await SCENARIOS.save(session, author, row, before, now)
