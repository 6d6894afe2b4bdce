"""Statements that fail, or whose connection is killed, in the middle of audited acts.

An act is one request to a route that declares what it leaves in the session log. It is done once in
peace, to learn how many statements it has (a commit is one); then with each of some of them broken.
What must hold after each: nothing changed without an entry, and nothing shown without one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import asyncpg
from sqlalchemy import event, func, select
from sqlalchemy.engine import Connection
from sqlalchemy.util.concurrency import await_

from server.audit import Leaves
from server.auth import ROUTES
from server.db import EVERY_ORGANISATION, Base, Database
from server.footprint import is_followed
from server.keyring import Keyring
from server.models import LogEntry, Visit
from server.services import DATABASE, FILES
from tests.conftest import ROSA, Cast, MakeVisit
from tests.test_isolation import PATIENT, STAFF, ask, make_objects, user_of
from tests.visitors import Answer, Site, Visitor

FAILED, KILLED = "failed", "killed"
WAYS: Final = (FAILED, KILLED)
_LATEST: Final = 400
_FEWEST: Final = 3
"""Statements that every act has: it is read, written down and committed."""
_BEGUN: Final = 200
"""A download that broke off: what there was of it was shown."""
_FORMS: Final[Mapping[str, dict[str, str]]] = {
    "POST /v/{locator}/check-in/consents": {"visit": "yes", "tool": "yes"},
    "POST /v/{locator}/check-in/place": {"address": "Via Roma 1"},
    "POST /login": {"username": "anna", "password": "sbagliata"},
}
_BEFORE: Final[Mapping[str, tuple[str, ...]]] = {
    "POST /v/{locator}/waiting-room": (
        "POST /v/{locator}/check-in/who",
        "POST /v/{locator}/check-in/consents",
        "POST /v/{locator}/check-in/place",
    ),
    "POST /v/{locator}/consents/withdraw": (
        "POST /v/{locator}/check-in/who",
        "POST /v/{locator}/check-in/consents",
    ),
}
"""What has to be done first, by the same person."""
_NOT_ACTS: Final = frozenset({"data_key", "user_session", "log_head", "log_tile", "log_checkpoint"})
"""Tables that hold no act: keys made for what then did not happen, the hour of a session, the tree
over entries that are there."""


class Breaker:
    """Breaks one statement of whatever a route does: the ``at``-th from the moment of
    :meth:`aim`. Other statements, of the guard and of workers, are let through."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine.sync_engine
        self._at = 0
        self._way = FAILED
        self.count = 0

    @contextmanager
    def attached(self) -> Iterator[Breaker]:
        event.listen(self._engine, "before_cursor_execute", self._execute, retval=True)
        event.listen(self._engine, "commit", self._commit)
        try:
            yield self
        finally:
            event.remove(self._engine, "before_cursor_execute", self._execute)
            event.remove(self._engine, "commit", self._commit)

    def aim(self, at: int, way: str = FAILED) -> None:
        """``at`` 0: none."""
        self.count, self._at, self._way = 0, at, way

    def _is_hit(self) -> bool:
        if not is_followed():
            return False
        self.count += 1
        return self.count == self._at

    def _execute(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, *rest: Any
    ) -> tuple[str, Any]:
        if not self._is_hit():
            return statement, parameters
        if self._way == FAILED:
            return "SELECT nothing FROM nowhere", ()
        _kill(connection)
        return statement, parameters

    def _commit(self, connection: Connection) -> None:
        if self._is_hit():
            _kill(connection)


def _kill(connection: Connection) -> None:
    """Close the connection under whoever uses it: PostgreSQL by its own command."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        await_(driver.close())
        return
    address = connection.engine.url

    async def terminate() -> None:
        other = await asyncpg.connect(
            user=address.username, database=address.database, host=address.query["host"]
        )
        await other.execute("SELECT pg_terminate_backend($1)", driver.get_server_pid())
        await other.close()

    await_(terminate())


@dataclass(frozen=True, slots=True)
class Act:
    """One request of one person about one visit."""

    route: str
    leaves: Leaves
    visitor: Visitor
    visit: Visit
    objects: Mapping[str, str]

    async def do(self) -> Answer:
        return await send(self.visitor, self.route, self.visit, self.objects)


async def send(visitor: Visitor, route: str, visit: Visit, objects: Mapping[str, str]) -> Answer:
    if route in _FORMS:
        path = route.split(" ")[1].replace("{locator}", visit.locator)
        return await visitor.post(path, **_FORMS[route])
    try:
        return await ask(visitor, route, visit, objects)
    except aiohttp.ClientPayloadError:
        return Answer(_BEGUN, {}, "")


@dataclass(slots=True)
class Found:
    """What was tried, and what was wrong with it."""

    acts: int = 0
    faults: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class State:
    """The database as far as acts are concerned: the rows of each table as the driver gives them,
    and how many entries."""

    rows: dict[str, list[str]]
    entries: int


async def load_state(database: Database) -> State:
    rows: dict[str, list[str]] = {}
    async with database.read(EVERY_ORGANISATION) as session:
        connection = await session.connection()
        for table in Base.metadata.sorted_tables:
            if table.name not in _NOT_ACTS and table.name != LogEntry.__tablename__:
                found = await connection.exec_driver_sql(f'SELECT * FROM "{table.name}"')  # noqa: S608
                rows[table.name] = sorted(map(repr, found))
        entries = await session.scalar(select(func.count()).select_from(LogEntry))
    return State(rows, entries or 0)


async def break_acts(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring, chance: random.Random,
    share: float,
) -> Found:  # fmt: skip
    """Every act that the tables of routes know, with ``share`` of its statements broken, one at
    least, in each of the two ways."""
    found = Found()
    with Breaker(site.app[DATABASE]).attached() as breaker:
        for route in site.app[ROUTES]:
            if not route.leaves.always | route.leaves.at_times:
                continue
            act = await prepare(site, cast, make_visit, keyring, route.name, route.leaves)
            if act is not None:
                await break_act(act, site.database, breaker, chance, share, found)
    return found


async def prepare(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring, route: str, leaves: Leaves
) -> Act | None:
    """A visit that is ready for the act; ``None`` when the tables do not know who does it."""
    visit = await make_visit(cast.toscana)
    if route in PATIENT:
        visitor = await site.patient(visit)
    elif route in STAFF:
        visitor = await site.staff(user_of(cast.toscana, min(STAFF[route])))
    else:
        return None
    objects = await make_objects(site.database, keyring, visit, site.app[FILES])
    for before in _BEFORE.get(route, ()):
        await send(visitor, before, visit, objects)
    return Act(route, leaves, visitor, visit, objects)


async def break_act(
    act: Act, database: Database, breaker: Breaker, chance: random.Random, share: float,
    found: Found,
) -> None:  # fmt: skip
    """Broken first, done in peace at the end: a broken act must leave the visit as it was."""
    tried, before = 0, await load_state(database)
    at, is_over = chance.randint(1, min(_FEWEST, round(1 / share))), False
    while not is_over and at < _LATEST:
        for way in WAYS:
            breaker.aim(at, way)
            answer = await act.do()
            is_over = breaker.count < at
            breaker.aim(0)
            if is_over:
                break
            tried += 1
            after = await load_state(database)
            found.wrong += judge(act, answer, before, after, at, way)
            before = after
        at += max(1, chance.randint(1, round(2 / share) - 1))
    if not is_over:
        found.wrong.append(f"{act.route}: no end after {_LATEST} statements")
    found.faults += tried
    found.acts += tried > 0


def judge(act: Act, answer: Answer, before: State, after: State, at: int, way: str) -> list[str]:
    """What must never be, in words."""
    name = f"{act.route}, statement {at} {way}, {answer.status}"
    is_logged = after.entries > before.entries
    wrong = []
    changed = [table for table, rows in after.rows.items() if rows != before.rows[table]]
    if changed and not is_logged:
        wrong.append(f"{name}: {', '.join(changed)} changed without an entry")
    if answer.status < 300 and act.leaves.always and not is_logged:
        wrong.append(f"{name}: shown without an entry")
    if ROSA.family_name in answer.text and not is_logged:
        wrong.append(f"{name}: a name without an entry")
    return wrong
