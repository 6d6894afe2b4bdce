"""The stored tree as proofs need it: hashes from whole tiles, and from rows where none is whole."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId
from server.models import LogTile
from server.sequencing.numbering import TILE, load_leaves
from server.tlog.tree import hash_node, root_of, split_hashes

_TILE_BITS: Final = 8


class StoredTree:
    """:class:`server.tlog.tree.Subtrees` of one organisation, for one transaction."""

    def __init__(self, session: AsyncSession, organisation: OrganisationId, size: int) -> None:
        """``size``: how many entries have a number."""
        self._session = session
        self._organisation = organisation
        self._size = size
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    async def root(self, start: int, end: int) -> bytes:
        """:raises LookupError: rows are missing."""
        bits = (end - start).bit_length() - 1
        level = bits // _TILE_BITS
        first = start >> (level * _TILE_BITS)
        tile = await self._tile(level, first // TILE)
        if tile:
            place = first % TILE
            return root_of(tile[place : place + (1 << bits % _TILE_BITS)])
        middle = (start + end) // 2
        return hash_node(await self.root(start, middle), await self.root(middle, end))

    async def _tile(self, level: int, number: int) -> list[bytes]:
        """A tile; of the last one at level 0 what there is, of others nothing if not whole."""
        if (level, number) not in self._tiles:
            self._tiles[level, number] = await self._load_tile(level, number)
        return self._tiles[level, number]

    async def _load_tile(self, level: int, number: int) -> list[bytes]:
        packed = await self._session.scalar(
            select(LogTile.hashes).where(
                LogTile.organisation_id == self._organisation,
                LogTile.level == level,
                LogTile.number == number,
            )
        )
        if packed is not None or level:
            return split_hashes(packed or b"")
        end = min((number + 1) * TILE, self._size)
        return await load_leaves(self._session, self._organisation, number * TILE, end)
