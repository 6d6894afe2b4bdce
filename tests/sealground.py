"""Two organisations in which every sealed column has several values, each made by the function
that seals it in the server; and the moving of these values by plain SQL."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, joinedload

from recordings.vault import SealBroken
from server import sealed
from server.auth import start_session
from server.backup.proof import OPENERS
from server.db import EVERY_ORGANISATION, Base, Database
from server.keyring import Keyring
from server.models import (
    Attachment,
    AttachmentKind,
    CheckIn,
    FhirResource,
    Note,
    Rating,
    Report,
    Signer,
    SignerKind,
    Source,
    Submission,
    User,
    UserSession,
    Visit,
    new_id,
)
from server.totp import new_second_factor, seal_second_factor
from tests.conftest import Cast, MakeVisit, Team

NOW: Final = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
VISITS_OF_EACH: Final = 8
Column = InstrumentedAttribute[Any]
Opener = Callable[[Keyring, AsyncSession, Any], Awaitable[object]]
ALL_OPENERS: Final[dict[Column, Opener]] = {
    **OPENERS,
    UserSession.sealed_signing_pin: sealed.open_signing_pin,
}
"""Those of a backup, and of the logins that no backup has."""


@dataclass(frozen=True, slots=True)
class SealedValue:
    """One sealed value and where it belongs."""

    column: Column
    key: tuple[Any, ...]
    sealed: bytes


async def fill(database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit) -> None:
    """At least two rows of every sealed column in both organisations."""
    for team in (cast.toscana, cast.emilia):
        for number in range(VISITS_OF_EACH):
            patient = sealed.Identity(family_name="Neri", given_name=f"Ada {number}")
            visit = await make_visit(team, identity=patient)
            async with database.begin(EVERY_ORGANISATION) as session:
                await _fill_visit(keyring, session, team, visit.id)
        async with database.begin(EVERY_ORGANISATION) as session:
            await _fill_team(keyring, session, team)


async def _fill_visit(keyring: Keyring, session: AsyncSession, team: Team, visit_id: str) -> None:
    options = [joinedload(Visit.appointment)]
    visit = await session.get_one(Visit, visit_id, options=options)
    own = {"organisation_id": visit.organisation_id, "visit_id": visit.id}
    check_in = CheckIn(**own, version=1, updated_at=NOW)
    await sealed.seal_answers(keyring, session, check_in, sealed.Answers(companions="la figlia"))
    await sealed.seal_eligibility(keyring, session, visit, sealed.Eligibility(ground="follow_up"))
    await sealed.seal_justification(keyring, session, visit, "Sono in ospedale.")
    session.add(check_in)
    for version in (1, 2):
        note = Note(**own, version=version, author_id=team.clinician.id, saved_at=NOW)
        await sealed.seal_note(keyring, session, note, sealed.NoteContent())
        session.add(note)
    attachment = Attachment(
        **own, id=new_id(), kind=AttachmentKind.STILL, media_type="image/jpeg", size_bytes=1,
        sealed_sha256="0" * 64, received_at=NOW,
    )  # fmt: skip
    await sealed.seal_attachment_words(keyring, session, attachment, sealed.AttachmentWords())
    session.add(attachment)
    rating = Rating(**own, seat="patient", words_version=1, rated_at=NOW)
    await sealed.seal_rating_words(keyring, session, rating, "Tutto bene.")
    session.add(rating)
    await sealed.keep_value(session, keyring, team.organisation.id, "PRN-1", visit.id)
    await _add_report(keyring, session, team, visit)


async def _add_report(keyring: Keyring, session: AsyncSession, team: Team, visit: Visit) -> None:
    report = Report(
        organisation_id=visit.organisation_id, id=new_id(), visit_id=visit.id, set_id=new_id(),
        content_version=1, author_id=team.clinician.id, created_at=NOW,
    )  # fmt: skip
    await sealed.seal_report_content(keyring, session, report, b"{}")
    await sealed.seal_report_forms(keyring, session, report, pdf=b"%PDF", cda=b"<x/>")
    session.add(report)
    await session.flush()
    submission = Submission(
        organisation_id=visit.organisation_id, id=new_id(), report_id=report.id, next_try_at=NOW,
        created_at=NOW, changed_at=NOW, detail_version=1,
    )  # fmt: skip
    await sealed.seal_submission_detail(keyring, session, submission, b"{}")
    session.add(submission)


async def _fill_team(keyring: Keyring, session: AsyncSession, team: Team) -> None:
    organisation = team.organisation.id
    source = (await session.scalars(select(Source).filter_by(organisation_id=organisation))).one()
    await sealed.seal_outgoing_token(keyring, session, source, "gettone")
    for number in range(2):
        resource = FhirResource(
            organisation_id=organisation, source_id=source.id, resource_index=f"{number:032}",
            kind="Patient", version=1, updated_at=NOW,
        )  # fmt: skip
        await sealed.seal_resource(keyring, session, resource, b"{}")
        session.add(resource)
    for member in (team.clinician, team.colleague):
        user = await session.get_one(User, member.id, options=[joinedload(User.organisation)])
        await seal_second_factor(keyring, session, user, new_second_factor())
        await sealed.seal_codice_fiscale(keyring, session, user, "BNCNNA75A41D612K")
        signer = Signer(
            organisation_id=organisation, user_id=user.id, kind=SignerKind.PKCS12, version=1,
            certificate_sha256="0" * 64, valid_until=NOW, added_at=NOW,
        )  # fmt: skip
        await sealed.seal_signer(keyring, session, signer, b"p12")
        session.add(signer)
        await start_session(session, user, NOW)
        login = (await session.scalars(select(UserSession).filter_by(user_id=user.id))).one()
        await sealed.seal_signing_pin(keyring, session, login, "123456")


async def collect(database: Database) -> list[SealedValue]:
    """Every sealed value of the database."""
    values = []
    async with database.read(EVERY_ORGANISATION) as session:
        for column in ALL_OPENERS:
            for row in await session.scalars(select(column.class_).where(column.is_not(None))):
                values.append(SealedValue(column, inspect(row).identity, getattr(row, column.key)))
    return values


def choose(values: list[SealedValue], count: int) -> list[SealedValue]:
    """So many values, always the same, and at least two of each column."""
    order = random.Random(200)
    shuffled = order.sample(values, len(values))
    needed = [
        value
        for column in ALL_OPENERS
        for value in [value for value in shuffled if value.column is column][:2]
    ]
    others = [value for value in shuffled if value not in needed]
    return order.sample(chosen := (needed + others)[:count], len(chosen))


async def count_refused(
    database: Database, keyring: Keyring, values: list[SealedValue], distance: int
) -> int:
    """Move every value to the row and column of the one ``distance`` further on, by SQL; open all
    by the functions of the server; how many were refused. Nothing stays moved."""
    refused = 0
    async with database.begin(EVERY_ORGANISATION) as session:
        for place, target in enumerate(values):
            moved = values[(place - distance) % len(values)]
            await _overwrite(session, target, moved.sealed)
        for target in values:
            options = [joinedload(User.organisation)] if target.column.class_ is User else []
            row = await session.get_one(target.column.class_, target.key, options=options)
            try:
                await ALL_OPENERS[target.column](keyring, session, row)
            except SealBroken:
                refused += 1
        await session.rollback()
    return refused


async def _overwrite(session: AsyncSession, target: SealedValue, moved: bytes) -> None:
    table = Base.metadata.tables[target.column.class_.__tablename__]
    keys = list(inspect(target.column.class_).primary_key)
    of_it = and_(*(column == bindparam(f"key_{column.name}") for column in keys))
    statement = update(table).where(of_it).values({target.column.key: bindparam("moved")})
    values = {f"key_{column.name}": key for column, key in zip(keys, target.key, strict=True)}
    result = await session.execute(statement, {**values, "moved": moved})
    assert result.rowcount == 1  # type: ignore[attr-defined]
