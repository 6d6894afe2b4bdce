"""A tenth of the kills of ``make chaos``, without browsers: no signal is lost with a node."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.nodes import running_crowd, running_nodes

_SEED: Final = 4
_KILLS: Final = 10
_CALLS: Final = 5


@pytest.mark.timeout(400)
async def test_who_was_on_a_killed_node_goes_on_at_another_and_misses_nothing(
    tmp_path: Path,
) -> None:
    chance = random.Random(_SEED)
    moved = 0
    async with (
        running_nodes(tmp_path, 2) as nodes,
        running_crowd(nodes, _CALLS, signal_every_seconds=0.1) as crowd,
    ):
        for _ in range(_KILLS):
            await crowd.wait_for_signals()
            nodes.kill(chance.randrange(2))
            await nodes.add()
            await crowd.settle()

            counted = await crowd.audit()

            assert (counted.lost, counted.doubled, counted.reordered, counted.rejoined) == (0,) * 4
            moved += counted.moved
    assert moved >= _KILLS
