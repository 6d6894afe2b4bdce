"""All line tests of one visit, for its page at the desk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.desk.words import say_line_test
from server.i18n import Translator
from server.models import LineTest
from server.readiness import Step, StepReport, steps_of


@dataclass(frozen=True, slots=True)
class ToldTest:
    """One test in words and figures."""

    taken_at: datetime
    browser: str
    reasons: tuple[str, ...]
    """What did not work; empty when everything tested did."""
    steps: Mapping[Step, StepReport]


async def load_told_tests(
    session: AsyncSession, words: Translator, visit_id: str
) -> Sequence[ToldTest]:
    """The newest first."""
    found = await session.scalars(
        select(LineTest)
        .where(LineTest.visit_id == visit_id)
        .order_by(LineTest.taken_at.desc(), LineTest.id.desc())
    )
    return [
        ToldTest(test.taken_at, test.browser, say_line_test(words, test), steps_of(test))
        for test in found
    ]
