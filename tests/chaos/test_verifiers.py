"""200 good, 2,000 bad and 2,000 scratched exports of a session log before both verifiers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.record import Figure, Record
from tests.nodeverifier import NodeVerifier, running_node
from tests.test_tlog_verify import judge_bad, judge_good, judge_scratched

_ROUNDS: Final = 10
_A_ROUND: Final = {judge_good: 20, judge_bad: 200, judge_scratched: 200}
_FIGURES: Final = (
    Figure("wrong", "exports with two verdicts, or the wrong one", 0, is_worst_meant=True),
    Figure("exports", "exports in a round"),
)


@pytest.mark.timeout(3600)
def test_both_verifiers_say_the_same_of_every_export(tmp_path: Path) -> None:
    record = Record("verifiers", _FIGURES)
    with running_node() as node:
        for number in record.missing(_ROUNDS):
            wrong = [
                f"{judge.__name__} {seed}"
                for judge, count in _A_ROUND.items()
                for seed in range(number * count, (number + 1) * count)
                if not _is_right(judge, seed, tmp_path, node)
            ]
            record.add({"wrong": len(wrong), "exports": sum(_A_ROUND.values())}, seeds=wrong)

    assert all(one["wrong"] == 0 for one in record.load())


def _is_right(
    judge: Callable[[int, Path, NodeVerifier], None], seed: int, folder: Path, node: NodeVerifier
) -> bool:
    try:
        judge(seed, folder, node)
    except AssertionError:
        return False
    return True
