"""The end of log entries at their term: the text goes, the tree and every proof stay."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import Database, OrganisationId
from server.keyring import Keyring
from server.logsigner.client import SignerProcess
from server.models import CallOutage, Kept, LogEntry, LogHead, LogValue
from server.retention.holds import HoldReason, lift_hold, place_hold
from server.retention.logs import Emptied, LogTerms, erase_entries, write_places
from server.sealed import keep_value
from server.sealed.logvalue import DIGEST_PREFIX
from server.sequencing.checkpoints import sign_checkpoint
from server.terms import DEFAULT_DAYS
from server.tlog.tree import Frontier, hash_leaf, root_of
from server.tlog.verify import verify
from tests.conftest import Cast, MakeVisit
from tests.nodeverifier import NodeVerifier, running_node
from tests.test_logexport import Log, read_lines
from tests.test_sequencing import number

NOW = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
TERMS = LogTerms(
    NOW - timedelta(days=DEFAULT_DAYS[Kept.LOG]),
    NOW - timedelta(days=DEFAULT_DAYS[Kept.LOG_ACCESS]),
)
DAYS = timedelta(days=1)


@pytest.fixture
async def signer(tmp_path: Path) -> AsyncIterator[SignerProcess]:
    process = SignerProcess(tmp_path / "signer")
    yield process
    await process.stop()


async def write(
    database: Database,
    organisation: OrganisationId,
    acts: Iterable[tuple[Act, timedelta]],
    visit: str | None = None,
    facts: dict[str, Fact] | None = None,
) -> None:
    """Entries of these acts and ages."""
    async with database.begin(organisation) as session:
        entries = [
            Entry(NOW - age, act, ActorRole.PATIENT, "d1", visit, facts or {}) for act, age in acts
        ]
        await append(session, organisation, *entries)


async def sign(database: Database, signer: SignerProcess, organisation: OrganisationId) -> None:
    await number(database, organisation)
    assert await sign_checkpoint(database, signer, "visite.example.org", organisation, NOW)


async def load_rows(database: Database, organisation: OrganisationId) -> list[LogEntry]:
    async with database.read(organisation) as session:
        return list(await session.scalars(select(LogEntry).order_by(LogEntry.seq)))


def read_places(text: str) -> set[int]:
    ranges = [part.partition("-") for part in text.split(",")]
    return {
        place for first, _, last in ranges for place in range(int(first), int(last or first) + 1)
    }


async def test_operations_end_after_two_years_and_authentication_after_one(
    database: Database, cast: Cast, signer: SignerProcess
) -> None:
    organisation = cast.toscana.organisation.id
    ages = [
        (Act.WAITING, 733 * DAYS), (Act.LOGGED_IN, 733 * DAYS), (Act.LOG_ERASED, 733 * DAYS),
        (Act.KEY_SHREDDED, 733 * DAYS), (Act.WAITING, 732 * DAYS), (Act.WAITING, 730 * DAYS),
        (Act.LINK_CLAIMED, 367 * DAYS), (Act.ADMITTED, 367 * DAYS), (Act.LOGIN_FAILED, 365 * DAYS),
    ]  # fmt: skip
    await write(database, organisation, ages)
    await sign(database, signer, organisation)
    before = await load_rows(database, organisation)

    assert await erase_entries(database, organisation, TERMS, NOW) == Emptied(entries=4)
    assert await erase_entries(database, organisation, TERMS, NOW) == Emptied()
    await sign(database, signer, organisation)

    rows = await load_rows(database, organisation)
    assert [row.seq for row in rows if not row.entry] == [0, 1, 4, 6]
    erased = json.loads(rows[-1].entry)
    assert (erased["action"], erased["role"]) == ("log.erased", "system")
    assert erased["facts"] == {"entries": 4, "places": "0-1,4,6", "values": 0}
    leaves = [b64decode(row.leaf or "") for row in rows]
    assert leaves[:-1] == [hash_leaf(row.entry.encode()) for row in before]
    async with database.read(organisation) as session:
        head = await session.get_one(LogHead, organisation)
    assert Frontier.decode(head.size, head.frontier).root() == root_of(leaves)


async def test_what_no_checkpoint_has_stays(
    database: Database, cast: Cast, signer: SignerProcess
) -> None:
    organisation = cast.toscana.organisation.id
    await write(database, organisation, [(Act.WAITING, 800 * DAYS)] * 3)
    await number(database, organisation)
    assert await erase_entries(database, organisation, TERMS, NOW) == Emptied()

    await sign(database, signer, organisation)
    await write(database, organisation, [(Act.WAITING, 800 * DAYS)] * 2)
    assert (await erase_entries(database, organisation, TERMS, NOW)).entries == 3


async def test_entries_of_a_held_visit_stay_until_the_hold_is_lifted(
    database: Database, cast: Cast, make_visit: MakeVisit, signer: SignerProcess
) -> None:
    held, free = await make_visit(cast.toscana), await make_visit(cast.toscana)
    organisation = held.organisation_id
    for visit in (held, free):
        await write(database, organisation, [(Act.WAITING, 800 * DAYS)] * 2, visit.id)
    async with database.begin(organisation) as session:
        await place_hold(session, held.id, HoldReason.LITIGATION, NOW)
    await sign(database, signer, organisation)

    first = await erase_entries(database, organisation, TERMS, NOW)
    async with database.begin(organisation) as session:
        await lift_hold(session, held.id, NOW)
    second = await erase_entries(database, organisation, TERMS, NOW)

    assert (first, second) == (Emptied(entries=2, held=2), Emptied(entries=2))


async def test_what_was_measured_ends_with_the_log_of_its_visit(
    database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    old, held, young = [
        await make_visit(cast.toscana, start=NOW - age * DAYS) for age in (800, 800, 1)
    ]
    async with database.begin(old.organisation_id) as session:
        await place_hold(session, held.id, HoldReason.LITIGATION, NOW)
        for visit in (old, held, young):
            outage = CallOutage(
                organisation_id=visit.organisation_id, visit_id=visit.id, seat="patient",
                began_at=NOW, seconds=3.0, cause="line",
            )  # fmt: skip
            session.add(outage)

    await erase_entries(database, old.organisation_id, TERMS, NOW)

    async with database.read(old.organisation_id) as session:
        left = set(await session.scalars(select(CallOutage.visit_id)))
    assert left == {held.id, young.id}


async def test_personal_values_go_with_their_entries(
    database: Database, keyring: Keyring, cast: Cast, signer: SignerProcess
) -> None:
    organisation = cast.toscana.organisation.id
    for age in (800 * DAYS, DAYS):
        async with database.begin(organisation) as session:
            digest = await keep_value(session, keyring, organisation, "Rosa Bianchi")
        await write(database, organisation, [(Act.WAITING, age)], facts={"who": digest})
    await sign(database, signer, organisation)

    done = await erase_entries(database, organisation, TERMS, NOW)

    assert done == Emptied(entries=1, values=1)
    async with database.read(organisation) as session:
        (left,) = (await session.scalars(select(LogValue.digest))).all()
    assert digest == f"sha256:{left}"


async def test_many_entries_are_said_in_several_and_none_is_left_out(
    database: Database, cast: Cast, signer: SignerProcess
) -> None:
    organisation = cast.toscana.organisation.id
    ages = [(Act.WAITING, 800 * DAYS), (Act.LINK_CLAIMED, 500 * DAYS), (Act.WAITING, 500 * DAYS)]
    await write(database, organisation, ages * 1_700)
    await sign(database, signer, organisation)

    assert (await erase_entries(database, organisation, TERMS, NOW)).entries == 3_400
    await number(database, organisation)

    rows = await load_rows(database, organisation)
    empty = {row.seq for row in rows if not row.entry}
    said = [json.loads(row.entry)["facts"]["places"] for row in rows[5_100:]]
    assert set().union(*map(read_places, said)) == empty
    assert len(said) == 2
    assert len(empty) == 3_400


async def test_an_old_entry_from_before_the_tree_ends_too(
    database: Database, cast: Cast, signer: SignerProcess
) -> None:
    organisation = cast.toscana.organisation.id
    await write(database, organisation, [(Act.LOGGED_IN, 400 * DAYS), (Act.WAITING, 400 * DAYS)])
    async with database.begin(organisation) as session:
        of_old = func.replace(LogEntry.entry, '{"action":', '{"act":')
        await session.execute(update(LogEntry).values(entry=of_old))
    await sign(database, signer, organisation)

    assert (await erase_entries(database, organisation, TERMS, NOW)).entries == 1


# ---- with both verifiers -----------------------------------------------------------------


@pytest.fixture(scope="module")
def node() -> Iterator[NodeVerifier]:
    with running_node() as process:
        yield process


@pytest.fixture
async def log(database: Database, cast: Cast, tmp_path: Path) -> AsyncIterator[Log]:
    made = Log(database, cast.toscana.organisation.id, tmp_path)
    yield made
    await made.signer.stop()


async def judge(
    log: Log, node: NodeVerifier, keyring: Keyring | None = None, older: Path | None = None
) -> str:
    """What both verifiers say of the log as it is now."""
    path = await log.export(keyring)
    verdict = verify(path, older)
    assert node.verify(path, older) == verdict
    return verdict


async def test_a_log_with_ended_entries_verifies_and_an_emptied_one_is_found(
    database: Database, log: Log, node: NodeVerifier, tmp_path: Path
) -> None:
    acts = (Act.WAITING, Act.LINK_CLAIMED, Act.KEY_SHREDDED, Act.ADMITTED)
    ages = [(acts[number % 4], (800 - number) * DAYS) for number in range(600)]
    await write(database, log.organisation, ages)
    await log.settle()
    older = (await log.export()).rename(tmp_path / "older.zip")

    done = await erase_entries(database, log.organisation, TERMS, NOW)
    await log.settle()

    assert done.entries == 144
    assert (await judge(log, node)).startswith("OK: 601 entries")
    assert (await judge(log, node, older=older)).startswith("OK: 601 entries")
    kept = next(row.seq for row in await load_rows(database, log.organisation) if row.entry)
    async with database.begin(log.organisation) as session:
        await session.execute(update(LogEntry).where(LogEntry.seq == kept).values(entry=""))
    assert await judge(log, node) == f"entry {kept}: erased without a record"


async def test_a_hundredth_of_the_personal_values_goes_and_everything_verifies(
    database: Database, keyring: Keyring, log: Log, node: NodeVerifier
) -> None:
    async with database.begin(log.organisation) as session:
        names = [f"Rosa {number}" for number in range(300)]
        digests = [await keep_value(session, keyring, log.organisation, name) for name in names]
        entries = [
            Entry(NOW, Act.WAITING, ActorRole.PATIENT, facts={"who": digest}) for digest in digests
        ]
        await append(session, log.organisation, *entries)
    await log.settle()
    before = log.memory.load_last()
    assert before is not None

    erased = [digest.removeprefix(DIGEST_PREFIX) for digest in digests[::100]]
    async with database.begin(log.organisation) as session:
        await session.execute(delete(LogValue).where(LogValue.digest.in_(erased)))
    await log.settle()

    assert (await judge(log, node, keyring)).startswith("OK: 300 entries")
    assert log.memory.load_last() == before
    values = read_lines(await log.export(keyring), "values.jsonl")
    assert len(values) == 297
    assert "Rosa 100" not in "".join(values)
    async with database.read(log.organisation) as session:
        head = await session.get_one(LogHead, log.organisation)
    assert Frontier.decode(head.size, head.frontier).root() == before.root


@pytest.mark.parametrize(
    ("places", "text"),
    [([0], "0"), ([3, 1, 2, 7], "1-3,7"), ([], ""), (range(5), "0-4"), ([0, 2, 4], "0,2,4")],
)
def test_places_are_written_as_ranges(places: Iterable[int], text: str) -> None:
    assert write_places(places) == text
