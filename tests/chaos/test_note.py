"""Two tabs, two doctors, offline and back: 20,000 orders of steps that the suite does not take."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from server.db import Database
from server.keyring import Keyring
from server.models import Visit
from tests.conftest import Cast
from tests.interleavings import STEPS, run
from tests.notepages import Pages
from tests.test_note_interleavings import pages, template, visit

__all__ = ["pages", "template", "visit"]

COUNT = 20_000


@pytest.mark.timeout(7200)
@settings(max_examples=COUNT, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
async def test_no_interleaving_of_twenty_thousand_loses_a_word(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    visit: Visit,
    pages: Pages,
    steps: list[tuple[Any, ...]],
) -> None:
    await run(database, keyring, pages, visit, cast.toscana, steps)
