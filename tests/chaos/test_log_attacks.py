"""Each of the nine attacks on the session log a hundred times, on both databases.

Needs no root. ``ACCANTO_CHAOS_ATTACKS`` sets another number.
"""

from __future__ import annotations

import os

import pytest

from tests.nodeverifier import NodeVerifier
from tests.rowattacks import ROW_ATTACKS, RowAttack
from tests.test_log_attacks import check_attacks, check_going_on, log, name_of, node
from tests.test_logexport import Log

__all__ = ["log", "node"]

ROUNDS = int(os.environ.get("ACCANTO_CHAOS_ATTACKS", "100"))


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("attack", ROW_ATTACKS, ids=name_of)
async def test_every_attack_is_found_a_hundred_times(
    log: Log, node: NodeVerifier, attack: RowAttack
) -> None:
    await check_attacks(log, node, attack, ROUNDS)
    await check_going_on(log, node, attack)
