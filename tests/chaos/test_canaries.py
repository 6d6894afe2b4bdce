"""Ten thousand canaries in two hundred visits, on both databases: none is found. Needs no root."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.db import Database
from server.keyring import Keyring
from tests.canaries import PER_VISIT
from tests.conftest import Cast, MakeVisit
from tests.test_canaries import search_visits
from tests.visitors import Site, site

__all__ = ["site"]

VISITS = 200


@pytest.mark.timeout(3_600)
async def test_nothing_of_two_hundred_visits_is_in_clear(
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    tmp_path: Path,
) -> None:
    found, canaries = await search_visits(
        site, cast, make_visit, database, keyring, tmp_path, VISITS
    )

    print(f"{len(found)} hits of {len(canaries.words)} canaries in {VISITS} visits")
    assert len(canaries.words) == VISITS * PER_VISIT == 10_000
    assert found == []
