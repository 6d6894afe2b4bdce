"""A rotation of all keys, killed at a hundred points while others write fifty times a second."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from server.db import Database
from server.keyring import Keyring
from tests.chaos.record import Figure, Record
from tests.conftest import Cast
from tests.rotations import Records, kill_rotations

POINTS = 100
_FIGURES = (
    Figure("killed", "rotations killed", limit=90, is_least=True),
    Figure("written", "fields written meanwhile, all readable"),
    Figure("read", "fields read by a fresh process meanwhile"),
)


@pytest.mark.timeout(3600)
async def test_rotation_is_killed_at_a_hundred_points(
    database: Database, database_url: str, keyring: Keyring, data_dir: Path, cast: Cast
) -> None:
    kind = database.engine.dialect.name
    record = Record(f"keys-{kind}", _FIGURES)
    if not list(record.missing(1)):
        return
    organisations = (cast.toscana.organisation.id, cast.emilia.organisation.id)
    records = Records(database, data_dir, organisations, keyring, random.Random(12))

    killed = await kill_rotations(database_url, records, points=POINTS, seed=6)

    record.add({"killed": killed, "written": len(records.kept), "read": records.reads})
    assert killed >= POINTS * 0.9
