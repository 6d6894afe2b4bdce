"""Whether what was restored can be used: the keys open it, and no line of the session log lacks.

One row of each sealed column is opened with the keys that came with it; nothing of it is shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, joinedload

from recordings.vault import SealBroken
from server import sealed
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring, Shredded
from server.models import (
    Appointment,
    Attachment,
    CheckIn,
    FhirResource,
    InboxMessage,
    LogEntry,
    LogHead,
    LogValue,
    Note,
    Organisation,
    Patient,
    Rating,
    Report,
    Signer,
    Source,
    Submission,
    User,
    Visit,
)
from server.totp import open_second_factor

_TRIED: Final = 200
"""Rows of a column, in search of one that was not shredded."""
Opener = Callable[[Keyring, AsyncSession, Any], Awaitable[object]]


async def _open_justification(
    keyring: Keyring, session: AsyncSession, appointment: Appointment
) -> str:
    """Sealed in the place of the visit."""
    of_it = select(Visit).where(Visit.appointment_id == appointment.id)
    visit = await session.scalar(of_it.options(joinedload(Visit.appointment)))
    if visit is None:
        raise SealBroken
    return await sealed.open_justification(keyring, session, visit)


OPENERS: Final[dict[InstrumentedAttribute[Any], Opener]] = {
    Patient.sealed_identity: sealed.open_identity,
    Appointment.sealed_details: sealed.open_details,
    Appointment.sealed_justification: _open_justification,
    CheckIn.sealed_answers: sealed.open_answers,
    Visit.sealed_eligibility: sealed.open_eligibility,
    Note.sealed_text: sealed.open_note,
    InboxMessage.sealed_raw: sealed.open_message,
    FhirResource.sealed_content: sealed.open_resource,
    Source.sealed_outgoing_token: sealed.open_outgoing_token,
    User.sealed_totp_secret: open_second_factor,
    User.sealed_codice_fiscale: sealed.open_codice_fiscale,
    Signer.sealed_content: sealed.open_signer,
    Attachment.sealed_words: sealed.open_attachment_words,
    Rating.sealed_words: sealed.open_rating_words,
    Report.sealed_content: sealed.open_report_content,
    Report.sealed_pdf: sealed.open_report_pdf,
    Report.sealed_cda: sealed.open_report_cda,
    Submission.sealed_detail: sealed.open_submission_detail,
    LogValue.sealed_value: sealed.open_log_value,
}
"""How each sealed column of a backup is opened; a test compares this with the models."""


async def prove(database: Database, keyring: Keyring) -> list[str]:
    """Open and count; returns what was proved, in words.

    :raises CommandFailed: says what does not open or which log is not whole.
    """
    async with database.read(EVERY_ORGANISATION) as session:
        return [await _open_one_of_each(keyring, session), await _count_log(session)]


async def _open_one_of_each(keyring: Keyring, session: AsyncSession) -> str:
    opened = 0
    for column, open_row in OPENERS.items():
        statement = select(column.class_).where(column.is_not(None)).limit(_TRIED)
        if column.class_ is User:
            statement = statement.options(joinedload(User.organisation))
        try:
            opened += await _open_first(keyring, session, statement, open_row)
        except (SealBroken, NoResultFound) as error:
            name = f"{column.class_.__tablename__}.{column.key}"
            raise CommandFailed(f"The keys do not open {name}: they are of other data") from error
    return f"the keys open {opened} of {len(OPENERS)} sealed columns, the others are empty"


async def _open_first(
    keyring: Keyring, session: AsyncSession, statement: Select[Any], open_row: Opener
) -> bool:
    """Open the first row that was not shredded; whether there is one."""
    for row in list(await session.scalars(statement)):
        try:
            await open_row(keyring, session, row)
        except Shredded:
            continue
        return True
    return False


async def _count_log(session: AsyncSession) -> str:
    lines = 0
    counts = select(
        LogEntry.organisation_id,
        func.count(),
        func.count(LogEntry.seq),
        func.min(LogEntry.seq),
        func.max(LogEntry.seq),
    ).group_by(LogEntry.organisation_id)
    found = {row[0]: row[1:] for row in await session.execute(counts)}
    heads = select(Organisation.code, LogHead).join(
        LogHead, LogHead.organisation_id == Organisation.id
    )
    for code, head in await session.execute(heads):
        count, *numbered = found.pop(head.organisation_id, (0, 0, None, None))
        if numbered != ([head.size, 0, head.size - 1] if head.size else [0, None, None]):
            raise CommandFailed(f"The session log of {code} is not whole: lines are missing")
        lines += count
    if found:
        raise CommandFailed("There are lines of the session log without an organisation")
    return f"the session log has all of its {lines} lines"
