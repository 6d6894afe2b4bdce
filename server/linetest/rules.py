"""What the figures of a test mean. Pure.

The thresholds are those of a call that a person calls good: a voice needs 40 kbit/s, a picture
that shows a face a few hundred; above 5 % of loss or half a second of delay people interrupt each
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from server.readiness import RELAYS, Problem, Result, Step, StepReport

WEAK_KILOBITS: Final = 500
WEAK_LOSS_PERCENT: Final = 5
WEAK_RTT_MS: Final = 500

_SIMPLE: Final = (
    Step.SOCKET,
    Step.CAMERA,
    Step.MICROPHONE,
    Step.LOUDSPEAKER,
    Step.RECONNECT,
)


Steps = Mapping[Step, StepReport]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page sends when it is through."""

    steps: dict[Step, StepReport]


def find_problems(steps: Steps) -> tuple[Problem, ...]:
    """What a person should hear of, in the order of the steps."""
    failed = {step for step, report in steps.items() if report.result is Result.FAILED}
    found = {Problem(step.value) for step in _SIMPLE if step in failed}
    relays = [steps[step].result for step in RELAYS if step in steps]
    if Result.FAILED in relays and Result.OK not in relays:
        found.add(Problem.RELAY)
    if Step.LINE in failed:
        found.add(Problem.LINE_DEAD)
    elif Step.LINE in steps and is_weak(steps[Step.LINE]):
        found.add(Problem.LINE_WEAK)
    return tuple(problem for problem in Problem if problem in found)


def is_weak(line: StepReport) -> bool:
    """Whether a line that works is not good enough; what was not measured does not count."""
    return (
        any(
            rate is not None and rate < WEAK_KILOBITS
            for rate in (line.up_kilobits, line.down_kilobits)
        )
        or any(
            loss is not None and loss > WEAK_LOSS_PERCENT
            for loss in (line.up_loss_percent, line.down_loss_percent)
        )
        or (line.rtt_ms or 0) > WEAK_RTT_MS
    )
