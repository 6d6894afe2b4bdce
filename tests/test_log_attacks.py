"""Nine attacks on the rows of the session log: every one is found, where it is, by both verifiers.

``tests/chaos/test_log_attacks.py`` runs the same a hundred times each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from server.db import Database
from server.logexport import write_log_bundle
from server.logsigner.memory import LEAVES_FILE
from server.tlog.verify import verify
from tests import rowattacks
from tests.conftest import Cast
from tests.nodeverifier import NodeVerifier, running_node
from tests.rowattacks import ROW_ATTACKS, RowAttack
from tests.test_logexport import NOW, Log

ROUNDS = 10
SIZES = (1, 40, 41, 90, 130)
"""Of the checkpoints."""


def name_of(attack: RowAttack) -> str:
    return attack.__name__


class _Undo(Exception):
    """Ends a transaction whose changes are not wanted."""


@pytest.fixture(scope="module")
def node() -> Iterator[NodeVerifier]:
    with running_node() as process:
        yield process


@pytest.fixture
async def log(database: Database, cast: Cast, tmp_path: Path) -> AsyncIterator[Log]:
    made = Log(database, cast.toscana.organisation.id, tmp_path)
    written = 0
    for number, size in enumerate(SIZES):
        await made.write(size - written, f"visit{number}")
        assert await made.settle() == []
        written = size
    yield made
    await made.signer.stop()


async def attack_and_export(log: Log, attack: RowAttack, chance: Random) -> tuple[str, Path]:
    """What must be found, and the export; the rows are then as before."""
    path = log.folder / "attacked.zip"
    try:
        async with log.database.begin(log.organisation) as session:
            expected = await attack(rowattacks.Victim(session, log.organisation, SIZES[-1], chance))
            await write_log_bundle(
                session, None, log.memory, log.organisation, path, name="toscana", now=NOW
            )
            raise _Undo
    except _Undo:
        return expected, path


async def check_attacks(log: Log, node: NodeVerifier, attack: RowAttack, rounds: int) -> None:
    """Attack so many times; each one has to be found in its place by both verifiers."""
    for number in range(rounds):
        chance = Random(f"{attack.__name__} {number}")
        expected, path = await attack_and_export(log, attack, chance)
        assert (verify(str(path)), node.verify(path)) == (expected, expected)
    path = await log.export()
    assert verify(str(path)) == node.verify(path)
    assert verify(str(path)).startswith(f"OK: {SIZES[-1]} entries of ")


async def check_going_on(log: Log, node: NodeVerifier, attack: RowAttack) -> None:
    """Entries, numbers and checkpoints go on over the forged rows before anybody looks."""
    chance = Random(f"on {attack.__name__}")
    async with log.database.begin(log.organisation) as session:
        expected = await attack(rowattacks.Victim(session, log.organisation, SIZES[-1], chance))
    if attack is not rowattacks.replace:
        await log.write(3, "later")
    complaints = await log.settle()

    path = await log.export()

    assert (verify(str(path)), node.verify(path)) == (expected, expected), complaints


async def test_every_attack_is_found_where_it_is(log: Log, node: NodeVerifier) -> None:
    for attack in ROW_ATTACKS:
        await check_attacks(log, node, attack, ROUNDS)


@pytest.mark.parametrize(
    "attack", [rowattacks.insert, rowattacks.replace, rowattacks.drop_tail], ids=name_of
)
async def test_attack_is_found_after_the_log_has_gone_on(
    log: Log, node: NodeVerifier, attack: RowAttack
) -> None:
    await check_going_on(log, node, attack)


async def test_forger_of_the_whole_tree_is_refused_and_found(log: Log, node: NodeVerifier) -> None:
    """The rows, the tree's head and the checkpoints in the database all fit each other."""
    async with log.database.begin(log.organisation) as session:
        attacked = rowattacks.Victim(session, log.organisation, SIZES[-1], Random(1))
        await rowattacks.drop_tail(attacked)
        await attacked.run("UPDATE log_entry SET seq = NULL")
        await attacked.run("DELETE FROM log_tile")
        await attacked.run("DELETE FROM log_checkpoint")
        await attacked.run("UPDATE log_head SET size = 0, frontier = :empty", empty=b"")

    complaints = await log.settle()
    path = await log.export()

    (complaint,) = complaints
    assert "rollback" in complaint
    assert verify(str(path)) == node.verify(path)
    assert verify(str(path)).endswith(": missing")


async def test_range_is_named_where_the_leaf_hashes_are_lost(log: Log, node: NodeVerifier) -> None:
    (log.memory.folder / LEAVES_FILE).write_bytes(b"")
    for number in range(ROUNDS):
        expected, path = await attack_and_export(log, rowattacks.edit, Random(number))
        place = int(expected.removeprefix("entry ").split(":")[0])
        end = next(size for size in SIZES if size > place)
        start = max(size for size in (0, *SIZES) if size <= place)
        wanted = f"entries {start}-{end - 1}: altered"
        assert (verify(str(path)), node.verify(path)) == (wanted, wanted)
