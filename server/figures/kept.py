"""The settled figures of the last month, read once an hour however often they are asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId
from server.figures.load import load_released
from server.figures.month import Month, last_settled
from server.figures.tables import Table, TableName

_KEPT_FOR: Final = timedelta(hours=1)


class KeptFigures:
    """What was read last of each organisation."""

    def __init__(self) -> None:
        self._known: dict[OrganisationId, tuple[Month, datetime, dict[TableName, Table]]] = {}

    async def load(
        self, session: AsyncSession, organisation: OrganisationId, now: datetime
    ) -> tuple[Month, dict[TableName, Table]]:
        """The newest settled month and its tables."""
        month = last_settled(now)
        known = self._known.get(organisation)
        if known and known[0] == month and now - known[1] < _KEPT_FOR:
            return month, known[2]
        tables = await load_released(session, organisation, month, now)
        self._known[organisation] = (month, now, tables)
        return month, tables


FIGURES: Final = web.AppKey("figures", KeptFigures)
