"""What rewrapping costs: data keys a CPU second, beside a bare loop over the library's AES-GCM.

A hundred thousand data keys on SQLite go from one KEK version to the next by the code of ``accanto
keys rewrap``. The floor opens and wraps the same number of keys with the same additional data, and
does nothing else. Both are measured in each round, in this process.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import insert

from server.admin import add_organisation
from server.db import EVERY_ORGANISATION, Database
from server.keyring import KEK, Keyring, Wrapper, data_key_aad, load_keyring
from server.keys.rotation import rewrap, rotate
from server.migrations import migrate
from server.models import DataKey, Organisation, new_id
from server.settings import load_settings
from tests.benchmarks.report import Goal, Report, Spread, ratios

KEYS: Final = 100_000
_ROUNDS: Final = 3
"""Each moves all keys; more would not tell more."""
_MOST_SECONDS: Final = 60


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "rewrap",
        f"rewrap: {KEYS:,} data keys under a new version, SQLite",
        ("", "keys / CPU s", "wall s"),
    )
    data_dir = folder / "data"
    data_dir.mkdir()
    keyring = load_keyring(data_dir, create=True)
    database = Database(load_settings(data_dir).database)
    organisation = await _make_keys(database, keyring)
    ours: list[float] = []
    wall: list[float] = []
    floor: list[float] = []
    for _ in range(min(rounds, _ROUNDS)):
        now = datetime.now(UTC)
        await rotate(database, keyring, organisation.id, now)
        cpu, clock = time.process_time(), time.perf_counter()
        done = await rewrap(database, keyring, organisation.id, now)
        ours.append(KEYS / (time.process_time() - cpu))
        wall.append(time.perf_counter() - clock)
        if done.keys != KEYS or len(done.removed) != 1:
            raise RuntimeError(f"{done.keys} keys were rewrapped")
        floor.append(KEYS / _time_floor())
    await database.close()
    report.rows = [
        ("accanto keys rewrap", Spread(ours).text(0), Spread(wall).text(1)),
        ("AES-256-GCM alone", Spread(floor).text(0), ""),
    ]
    slower = ratios(floor, ours)
    report.figures = {"slower": slower.content(), "keys_per_cpu_second": ours, "floor": floor}
    report.goals = [Goal(f"{KEYS:,} data keys, wall seconds", max(wall), _MOST_SECONDS)]
    report.notes = [f"The floor is {slower.text(1)} times as fast by CPU time."]
    return report


async def _make_keys(database: Database, keyring: Keyring) -> Organisation:
    await migrate(database)
    organisation = Organisation(code="ausl-prova", name="Prova", desk_phone="055 123 4567")
    now = datetime.now(UTC)
    async with database.begin(EVERY_ORGANISATION) as session:
        await add_organisation(session, keyring, organisation)
        kek = Wrapper(await keyring.load_secret(session, organisation.id, KEK, 1))
        rows = []
        for _ in range(KEYS):
            id_ = new_id()
            owner = f"visit:{id_}"
            aad = data_key_aad(organisation.id, owner, id_, 1)
            rows.append({
                "id": id_, "organisation_id": organisation.id, "owner": owner, "kek_version": 1,
                "wrapped": kek.wrap(os.urandom(32), aad), "created_at": now,
            })  # fmt: skip
        await session.execute(insert(DataKey), rows)
    return organisation


def _time_floor() -> float:
    """CPU seconds of opening and wrapping as many keys."""
    old, new, aad = AESGCM(os.urandom(32)), AESGCM(os.urandom(32)), b"a" * 110
    nonce = os.urandom(12)
    wrapped = old.encrypt(nonce, os.urandom(32), aad)
    started = time.process_time()
    for _ in range(KEYS):
        new.encrypt(os.urandom(12), old.decrypt(nonce, wrapped, aad), aad)
    return time.process_time() - started
