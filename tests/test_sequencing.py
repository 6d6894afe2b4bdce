"""Numbers, tree and checkpoints of the session log, on both databases."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text, update

from server.audit import Act, ActorRole, Entry, append
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.logsigner.client import Refusal, SignerProcess
from server.logsigner.memory import Memory
from server.models import LogCheckpoint, LogEntry, LogHead, LogTile
from server.sequencing import StoredTree, find_unnumbered, number_entries
from server.sequencing.checkpoints import sign_checkpoint
from server.sequencing.numbering import load_leaves
from server.sequencing.worker import Sequencer
from server.tlog.note import open_note
from server.tlog.tree import (
    Frontier,
    check_consistency,
    check_inclusion,
    hash_leaf,
    prove_consistency,
    prove_inclusion,
    root_of,
)
from tests.conftest import Cast

NOW = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
ENTRY = Entry(NOW, Act.WAITING, ActorRole.PATIENT, "device1", "visit1")


@pytest.fixture
async def signer(tmp_path: Path) -> AsyncIterator[SignerProcess]:
    process = SignerProcess(tmp_path / "signer")
    yield process
    await process.stop()


async def write(
    database: Database, organisation: OrganisationId, count: int, entry: Entry = ENTRY
) -> None:
    async with database.begin(organisation) as session:
        await append(session, organisation, *[entry] * count)


async def number(database: Database, organisation: OrganisationId) -> int:
    count = 0
    while True:
        async with database.begin(organisation) as session:
            numbered = await number_entries(session, organisation)
        if not numbered:
            return count
        count += len(numbered)


async def sign(database: Database, signer: SignerProcess, organisation: OrganisationId) -> str:
    note = await sign_checkpoint(database, signer, "visite.example.org", organisation, NOW)
    assert note is not None
    return note


async def test_numbers_have_no_gap_and_the_tree_is_over_the_entries(
    database: Database, cast: Cast
) -> None:
    organisation = cast.toscana.organisation.id
    for count in (1, 2, 300, 5):
        await write(database, organisation, count)
        assert await number(database, organisation) == count

    async with database.read(organisation) as session:
        rows = list(await session.scalars(select(LogEntry).order_by(LogEntry.seq)))
        head = await session.get_one(LogHead, organisation)
    leaves = [hash_leaf(row.entry.encode()) for row in rows]
    assert [row.seq for row in rows] == list(range(308))
    assert [b64decode(row.leaf or "") for row in rows] == leaves
    assert head.size == 308
    assert Frontier.decode(head.size, head.frontier).root() == root_of(leaves)


async def test_organisations_have_logs_of_their_own(database: Database, cast: Cast) -> None:
    owners = {cast.toscana.organisation.id, cast.emilia.organisation.id}
    for organisation in owners:
        await write(database, organisation, 2)

    async with database.read(EVERY_ORGANISATION) as session:
        assert set(await find_unnumbered(session)) == owners
    for organisation in owners:
        assert await number(database, organisation) == 2


async def test_two_sequencers_at_once_leave_neither_gap_nor_double(
    database: Database, cast: Cast
) -> None:
    organisation = cast.toscana.organisation.id

    async def write_often() -> None:
        for _ in range(20):
            await write(database, organisation, 3)

    async def number_often() -> int:
        total = 0
        for _ in range(15):
            total += await number(database, organisation)
        return total

    counts = await asyncio.gather(write_often(), write_often(), number_often(), number_often())
    last = await number(database, organisation)

    assert sum(filter(None, counts)) + last == 120
    async with database.read(organisation) as session:
        rows = list(await session.scalars(select(LogEntry.seq).order_by(LogEntry.seq)))
    assert rows == list(range(120))


async def test_proofs_from_tiles_hold_at_every_size(database: Database, cast: Cast) -> None:
    organisation = cast.toscana.organisation.id
    await write(database, organisation, 66_000)
    await number(database, organisation)

    async with database.read(organisation) as session:
        levels = list(await session.scalars(select(LogTile.level).distinct()))
        leaves = await load_leaves(session, organisation, 0, 66_000)
        tree = StoredTree(session, organisation, 66_000)
        for size in (1, 2, 255, 256, 257, 511, 65_535, 65_536, 65_537, 66_000):
            root = root_of(leaves[:size])
            for index in {0, size // 3, size // 2, size - 1}:
                path = await prove_inclusion(tree, index, size)
                check_inclusion(leaves[index], index, size, path, root)
            for first in {0, 1, size // 3, size // 2, size - 1, size}:
                path = await prove_consistency(tree, first, size)
                check_consistency(first, size, path, root_of(leaves[:first]), root)
    assert sorted(levels) == [0, 1]


async def test_checkpoint_is_signed_and_kept_apart(
    database: Database, cast: Cast, signer: SignerProcess, tmp_path: Path
) -> None:
    organisation = cast.toscana.organisation.id
    await write(database, organisation, 3)
    await number(database, organisation)

    note = await sign(database, signer, organisation)

    memory = Memory(tmp_path / "signer" / organisation)
    verifier = memory.load_verifier()
    assert verifier is not None
    checkpoint = open_note(note, verifier)
    async with database.read(organisation) as session:
        leaves = await load_leaves(session, organisation, 0, 3)
        kept = list(await session.scalars(select(LogCheckpoint)))
    assert (checkpoint.size, checkpoint.root) == (3, root_of(leaves))
    assert [row.note for row in kept] == memory.load_notes() == [note]
    assert await sign(database, signer, organisation) == note


async def test_signer_goes_on_where_another_process_of_it_stopped(
    database: Database, cast: Cast, tmp_path: Path
) -> None:
    organisation = cast.toscana.organisation.id
    memory = Memory(tmp_path / "signer" / organisation)
    for count in (1, 2, 3):
        await write(database, organisation, count)
        await number(database, organisation)
        process = SignerProcess(tmp_path / "signer")
        await sign(database, process, organisation)
        await process.stop()
        (memory.folder / "frontier").unlink()

    assert memory.load_frontier().size == 6
    assert len(memory.load_notes()) == 3


@pytest.mark.parametrize("attack", ["leaf", "tail", "head"])
async def test_signer_refuses_a_rewritten_or_shortened_log(
    database: Database, cast: Cast, signer: SignerProcess, attack: str
) -> None:
    organisation = cast.toscana.organisation.id
    await write(database, organisation, 5)
    await number(database, organisation)
    await sign(database, signer, organisation)
    async with database.begin(organisation) as session:
        leaves = await load_leaves(session, organisation, 0, 5)
        if attack == "leaf":
            forged = [*leaves[:4], hash_leaf(b"forged")]
        elif attack == "tail":
            forged = leaves[:3]
            await session.execute(delete(LogEntry).where(LogEntry.seq >= 3))
        else:
            forged = leaves[:2]
        frontier = Frontier()
        frontier.extend(forged)
        await session.execute(
            update(LogHead).values(size=frontier.size, frontier=frontier.encode())
        )

    with pytest.raises(Refusal) as refused:
        await sign(database, signer, organisation)
    assert refused.value.word == ("fork" if attack == "leaf" else "rollback")

    if attack == "tail":
        other = Entry(NOW, Act.ADMITTED, ActorRole.CLINICIAN, "user1", "visit1")
        await write(database, organisation, 4, other)
        await number(database, organisation)
        with pytest.raises(Refusal, match="fork"):
            await sign(database, signer, organisation)


async def test_log_that_takes_no_numbers_does_not_keep_the_others_back(
    database: Database, cast: Cast, signer: SignerProcess
) -> None:
    altered, whole = cast.toscana.organisation.id, cast.emilia.organisation.id
    refusals: list[str] = []
    rounds: list[None] = []

    async def hear(organisation: OrganisationId, refusal: Refusal) -> None:
        refusals.append(organisation)

    sequencer = Sequencer(
        database, signer, "visite.example.org", lambda: NOW, hear, lambda: rounds.append(None)
    )
    for organisation in (altered, whole):
        await write(database, organisation, 2)
    async with database.begin(altered) as session:
        taken = "INSERT INTO log_entry (organisation, seq, entry) VALUES (:o, 1, 'forged')"
        await session.execute(text(taken), {"o": altered})

    for _ in range(2):
        await sequencer.number()
    await sequencer.sign()

    async with database.read(EVERY_ORGANISATION) as session:
        sizes = dict((await session.execute(select(LogHead.organisation_id, LogHead.size))).all())
        signed = list(await session.scalars(select(LogCheckpoint.organisation_id)))
    assert (sizes[altered], sizes[whole], signed) == (0, 2, [whole])
    assert (refusals, len(rounds)) == ([], 1)


async def test_row_that_needs_only_three_columns_can_be_read_back(
    database: Database, cast: Cast
) -> None:
    organisation = cast.toscana.organisation.id
    async with database.begin(organisation) as session:
        await session.execute(
            text("INSERT INTO log_entry (organisation, seq, entry) VALUES (:o, 0, '{}')"),
            {"o": organisation},
        )
    async with database.read(organisation) as session:
        assert await session.scalar(select(LogEntry.entry)) == "{}"
