"""A tenth of the broken statements of ``make chaos``: no act, and no page, without its entry."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.db import Database
from server.keyring import Keyring
from tests.conftest import Cast, MakeVisit
from tests.faults import break_acts
from tests.visitors import Site, open_site

ACTS = 60


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """The chaos checks ask PostgreSQL, too: to kill its connections takes minutes."""
    return sqlite_template


@pytest.fixture
async def still_site(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring
) -> AsyncIterator[Site]:
    """Without workers: whatever changes was changed by the act."""
    async with open_site(database, database_url, data_dir, has_workers=False) as site:
        yield site


@pytest.mark.timeout(600)
async def test_no_broken_statement_parts_an_act_from_its_entry(
    still_site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring
) -> None:
    found = await break_acts(still_site, cast, make_visit, keyring, random.Random(6), share=0.1)

    assert found.wrong == []
    assert found.acts >= ACTS
    assert found.faults > 2 * ACTS
