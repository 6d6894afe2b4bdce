"""The lines of ``values.jsonl``: the personal values that were not erased."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.vault import SealBroken
from server.db import OrganisationId
from server.keyring import Keyring
from server.models import LogValue
from server.sealed.logvalue import open_log_value, warm_values

_AT_ONCE: Final = 500


async def read_values(
    session: AsyncSession, keyring: Keyring, organisation: OrganisationId
) -> AsyncIterator[str]:
    """A line for each value of a log."""
    after = ""
    while True:
        rows = (
            await session.scalars(
                select(LogValue)
                .where(LogValue.organisation_id == organisation, LogValue.digest > after)
                .order_by(LogValue.digest)
                .limit(_AT_ONCE)
            )
        ).all()
        if not rows:
            return
        after = rows[-1].digest
        for line in await _write_lines(session, keyring, rows):
            yield line


async def read_values_of(
    session: AsyncSession, keyring: Keyring, organisation: OrganisationId, digests: Iterable[str]
) -> list[str]:
    """A line for each of these digests (base64) that has a value still."""
    asked, lines = sorted(set(digests)), []
    for start in range(0, len(asked), _AT_ONCE):
        found = select(LogValue).where(
            LogValue.organisation_id == organisation,
            LogValue.digest.in_(asked[start : start + _AT_ONCE]),
        )
        rows = (await session.scalars(found.order_by(LogValue.digest))).all()
        lines += await _write_lines(session, keyring, rows)
    return lines


async def _write_lines(
    session: AsyncSession, keyring: Keyring, rows: Sequence[LogValue]
) -> list[str]:
    """Values whose key was destroyed are erased; the alarm has heard of those that were altered."""
    await warm_values(keyring, session, rows)
    lines = []
    for row in rows:
        try:
            value = await open_log_value(keyring, session, row)
        except SealBroken:
            continue
        salt = b64encode(row.salt).decode()
        line = {"digest": row.digest, "salt": salt, "value": value}
        lines.append(json.dumps(line, ensure_ascii=False))
    return lines
