"""All ordered pairs of 200 sealed values moved by SQL: 39,800 on each database. Needs no root."""

from __future__ import annotations

import pytest

from server.db import Database
from server.keyring import Keyring
from tests.conftest import Cast, MakeVisit
from tests.sealground import choose, collect, count_refused, fill
from tests.test_seal_swaps import ROWS


@pytest.mark.timeout(3_600)
async def test_every_swap_is_refused(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    await fill(database, keyring, cast, make_visit)
    values = choose(await collect(database), ROWS)

    refused = 0
    for distance in range(1, ROWS):
        refused += await count_refused(database, keyring, values, distance)

    print(f"{refused} of {ROWS * (ROWS - 1)} moved values were refused")
    assert refused == ROWS * (ROWS - 1)
