"""Two tabs, two doctors, offline and back: 2,000 orders of steps, the same ones each time.
``make chaos`` takes 20,000 others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from server.db import Database
from server.keyring import Keyring
from server.models import Visit
from tests.conftest import Cast, MakeVisit
from tests.interleavings import STEPS, run
from tests.notepages import Pages, open_pages


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    with open_pages() as pages:
        yield pages


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """That saves at once meet on PostgreSQL too is in ``test_notes``."""
    return sqlite_template


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


@pytest.mark.timeout(900)
@settings(
    max_examples=2_000,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(steps=STEPS)
async def test_no_interleaving_loses_a_word(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    visit: Visit,
    pages: Pages,
    steps: list[tuple[Any, ...]],
) -> None:
    await run(database, keyring, pages, visit, cast.toscana, steps)
