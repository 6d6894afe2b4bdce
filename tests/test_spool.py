"""The spool of running calls: nothing lost and nothing doubled, whoever dies when."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from server.db import Database, OrganisationId
from server.models import Visit
from server.waiting import Spool, VisitHooks
from server.waiting.rowwriter import LONGEST_QUEUE
from server.waiting.spool import Row, pack, parse
from tests.conftest import Cast, MakeVisit
from tests.spoolkills import (
    count_wrong,
    kill_a_node,
    load_numbers,
    rename_table,
    start_next_node,
)
from tests.spoolnode import changed

ROWS = [Row(OrganisationId("toscana"), "visit1", f'{{"at":{number}}}') for number in range(3)]


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


def test_rows_are_read_back_and_cut_ones_passed_over() -> None:
    whole = b"".join(map(pack, ROWS))

    assert list(parse(whole)) == ROWS
    for end in range(len(whole)):
        cut = whole[:end]
        count = sum(len(b"".join(map(pack, ROWS[: size + 1]))) <= end for size in range(3))
        assert list(parse(cut)) == ROWS[:count]
        assert list(parse(cut + pack(ROWS[2])))[-1] == ROWS[2]
    bitten = whole.replace(b"toscana", b"emilia1", 1)
    assert list(parse(bitten)) == ROWS[1:]


def test_the_file_of_a_living_process_is_nobody_elses(tmp_path: Path) -> None:
    spool, other = Spool(tmp_path), Spool(tmp_path)
    assert spool.write(ROWS[0])
    spool.sync()

    assert list(other.adopt()) == []
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    spool.close()
    (remnant,) = other.adopt()
    assert remnant.rows() == ROWS[:1]
    remnant.close(is_stored=True)
    assert list(tmp_path.glob("*.rows")) == []


def test_a_long_file_gives_way_to_one_of_what_still_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    long = Row(OrganisationId("toscana"), "visit1", "x" * 65_536)
    while not spool.is_long:
        assert spool.write(long)

    spool.begin_anew(ROWS[:2])
    assert spool.write(ROWS[2])

    assert not spool.is_long
    spool.close()
    (remnant,) = Spool(tmp_path).adopt()
    assert remnant.rows() == ROWS
    remnant.close(is_stored=True)


def test_a_long_file_stays_where_there_is_no_room_for_another(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.write(ROWS[0])
    moved = tmp_path.rename(tmp_path.with_name("elsewhere"))
    tmp_path.write_text("no folder")

    spool.begin_anew(ROWS[1:])
    assert spool.write(ROWS[2])

    tmp_path.unlink()
    moved.rename(tmp_path)
    spool.close()
    (remnant,) = Spool(tmp_path).adopt()
    assert remnant.rows() == [ROWS[0], ROWS[2]]
    remnant.close(is_stored=True)


@pytest.mark.parametrize("is_away", [False, True], ids=["database", "no database"])
async def test_what_a_killed_node_has_taken_is_in_the_log_once(
    database: Database, visit: Visit, tmp_path: Path, is_away: bool
) -> None:
    chance = random.Random(6)

    taken = await kill_a_node(database, tmp_path, visit.id, chance, is_away=is_away)
    before = len(await load_numbers(database, visit.id))
    await start_next_node(database, tmp_path)

    assert count_wrong(await load_numbers(database, visit.id), taken) == 0
    assert taken > 0
    assert not is_away or before == 0


async def test_more_rows_than_memory_holds_wait_in_the_spool(
    database: Database, visit: Visit, tmp_path: Path
) -> None:
    count = LONGEST_QUEUE + 500
    hooks = VisitHooks(database, Spool(tmp_path), lambda: datetime.now(UTC))
    await rename_table(database, "log_entry", "log_entry_away")
    async with asynccontextmanager(hooks.lifetime)(web.Application()):
        hooks.opened(visit.id, await hooks.load(visit.id))
        for number in range(count):
            hooks.observe(visit.id, changed(number))
        await rename_table(database, "log_entry_away", "log_entry")

    assert count_wrong(await load_numbers(database, visit.id), count) == 0
    assert list(tmp_path.glob("*.rows")) == []
