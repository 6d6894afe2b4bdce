"""What somebody of the clinic should look at after, or during, a visit. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Problem(StrEnum):
    """The kinds, the gravest first."""

    INCIDENT = "incident"
    """Somebody may have been in between, or a sealed field was altered."""
    TECHNICAL_FAILURE = "technical_failure"
    CLINICIAN_ABSENT = "clinician_absent"
    CONVERTED = "converted"
    LINE_LOST = "line_lost"
    """A line went away during the visit."""
    WEAK_LINE = "weak_line"
    """Measured as not good for picture and voice."""
    LONG_WAIT = "long_wait"
    """The patient was there and was let in, or the visit ended, long after the hour."""
    MESSAGE_FAILED = "message_failed"
    LINK_TRIED = "link_tried"
    """The link was tried with many wrong birth dates or codes."""


def pack_problems(problems: Iterable[Problem]) -> str:
    """As they stand in a column: commas between and around, so that one can be looked for."""
    words = [problem.value for problem in sorted(set(problems), key=list(Problem).index)]
    return f",{','.join(words)}," if words else ""


def unpack_problems(packed: str) -> list[Problem]:
    """:raises ValueError: not of :func:`pack_problems`."""
    return [Problem(word) for word in packed.split(",") if word]
