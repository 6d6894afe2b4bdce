"""Nodes are killed in the middle of calls, with their database or without it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest

from server.db import Database
from tests.chaos.record import Figure, Record
from tests.conftest import Cast, MakeVisit
from tests.spoolkills import count_wrong, kill_a_node, load_numbers, start_next_node

_ROUNDS: Final = 40
_FIGURES: Final = (
    Figure("wrong", "entries lost, doubled or out of order", 0, is_worst_meant=True),
    Figure("taken", "events that the node had taken when it was killed"),
)


@pytest.mark.timeout(3_600)
async def test_no_killed_node_loses_or_doubles_an_entry(
    database: Database, cast: Cast, make_visit: MakeVisit, tmp_path: Path
) -> None:
    engine = database.engine.dialect.name
    record = Record(f"spool-{engine}", _FIGURES)
    for number in record.missing(_ROUNDS):
        visit = await make_visit(cast.toscana)
        chance, folder = random.Random(number), tmp_path / str(number)
        taken = await kill_a_node(database, folder, visit.id, chance, is_away=number % 2 == 1)
        await start_next_node(database, folder)
        wrong = count_wrong(await load_numbers(database, visit.id), taken)
        record.add({"wrong": wrong, "taken": taken}, is_away=number % 2 == 1)

    assert record.figures[0].is_met([one["wrong"] for one in record.load()])
