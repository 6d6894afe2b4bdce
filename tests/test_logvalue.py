"""Personal values of the session log: kept beside it, erasable, never in it."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64decode
from datetime import UTC, datetime

from sqlalchemy import delete, select

from server.db import Database
from server.keyring import Keyring
from server.keys.shredding import shred_visit
from server.models import LogValue, Visit
from server.sealed import is_digest, keep_value, load_values
from tests.conftest import Cast, MakeVisit

NOW = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
VALUE = "per una perizia del tribunale"


async def test_a_value_leads_to_its_digest_and_back(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    organisation = cast.toscana.organisation.id
    async with database.begin(organisation) as session:
        of_visit = await keep_value(session, keyring, organisation, VALUE, visit.id)
        again = await keep_value(session, keyring, organisation, VALUE, visit.id)
        of_none = await keep_value(session, keyring, organisation, VALUE)
        assert await keep_value(session, keyring, organisation, "") == ""
    digests = {of_visit, again, of_none}
    assert len(digests) == 3, "an equal value has another digest each time"
    async with database.read(organisation) as session:
        assert await load_values(session, keyring, digests) == dict.fromkeys(digests, VALUE)
        for row in await session.scalars(select(LogValue)):
            assert hashlib.sha256(row.salt + VALUE.encode()).digest() == b64decode(row.digest)
            assert VALUE.encode() not in row.sealed_value
    assert all(map(is_digest, digests))
    async with database.read(cast.emilia.organisation.id) as session:
        assert await load_values(session, keyring, digests) == {}


async def test_a_value_is_gone_with_its_row_or_the_key_of_its_visit(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    organisation = cast.toscana.organisation.id
    async with database.begin(organisation) as session:
        kept = await keep_value(session, keyring, organisation, VALUE)
        deleted = await keep_value(session, keyring, organisation, VALUE)
        shredded = await keep_value(session, keyring, organisation, VALUE, visit.id)
    async with database.begin(organisation) as session:
        digest = deleted.removeprefix("sha256:")
        await session.execute(delete(LogValue).where(LogValue.digest == digest))
        await shred_visit(keyring, session, await session.get_one(Visit, visit.id), NOW)
    async with database.begin(organisation) as session:
        found = await load_values(session, keyring, {kept, deleted, shredded})
        after = await keep_value(session, keyring, organisation, VALUE, visit.id)
        assert await load_values(session, keyring, [after]) == {after: VALUE}
    assert found == {kept: VALUE}


async def test_two_acts_at_once_make_one_first_key(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    organisation = cast.toscana.organisation.id

    async def act(visit_id: str | None) -> str:
        async with database.begin(organisation) as session:
            return await keep_value(session, keyring, organisation, VALUE, visit_id)

    digests = await asyncio.gather(*(act(owner) for owner in [visit.id, None] * 5))
    async with database.read(organisation) as session:
        assert await load_values(session, keyring, digests) == dict.fromkeys(digests, VALUE)
