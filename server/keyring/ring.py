"""The keys of one installation in use: unwrapping, sealing, opening.

A running process keeps what it has unwrapped while another one rotates. It wraps a new data key
under the version that is the highest in the transaction which stores it, and loads versions that
it does not know when it meets them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.vault import HEADER, KEY_ID_BYTES, SealBroken, new_key, seal, unseal
from server.db import OrganisationId
from server.footprint import note_opened
from server.keyring.cache import KeyCache
from server.keyring.place import Place
from server.keyring.roots import Roots
from server.keyring.wrapping import (
    Secret,
    Wrapper,
    check_value,
    data_key_aad,
    derive,
    organisation_key_aad,
)
from server.models import DataKey, OrganisationKey, new_id

KEK: Final = "kek"
_MADE_HERE: Final = "data_keys_made_here"
"""Ids of the keys that a session has made: kept for others only once they are committed."""
_UNSAVED: Final = "data_keys_unsaved"
"""By owner and by id, the keys that a session has made and not yet read back."""
_VERSIONS: Final = "kek_versions_held"
"""By organisation, the KEK version that a session wraps with and keeps from being deleted."""
_SECRETS: Final = (KEK, "join", "index")


class Shredded(SealBroken):
    """The key was destroyed on purpose: what it sealed is gone, and nothing new is sealed."""


class Keyring:
    """The keys of one installation, unwrapped in memory while they are in use.

    ``installation`` is the secret that others are derived from.
    """

    def __init__(self, roots: Roots, installation: Secret) -> None:
        self.roots: Final = roots
        self.installation: Final = installation
        self._secrets: dict[tuple[OrganisationId, str, int], Secret] = {}
        self._data_keys = KeyCache()
        self.on_broken: Callable[[Place], None] = lambda place: None
        """Told of each opening that is refused; the server sets its alarm here."""

    def __repr__(self) -> str:
        return f"<keyring {self.roots.current.id}>"

    def derive(self, purpose: str) -> bytes:
        """A 32-byte secret of the installation, for instance for socket tickets."""
        return derive(self.installation, purpose)

    # ---- organisations -------------------------------------------------------------------

    async def add_organisation(self, session: AsyncSession, organisation: OrganisationId) -> None:
        """Make the secrets of a new organisation."""
        for purpose in _SECRETS:
            await self.add_secret(session, organisation, purpose, 1)

    async def add_secret(
        self, session: AsyncSession, organisation: OrganisationId, purpose: str, version: int
    ) -> None:
        """Make one secret of an organisation, stored with the next flush."""
        secret = new_key()
        aad = organisation_key_aad(organisation, purpose, version)
        root_id, wrapped = await self.roots.wrap(secret, aad)
        session.add(
            OrganisationKey(
                organisation_id=organisation,
                purpose=purpose,
                version=version,
                wrapped=wrapped,
                root_id=root_id,
                check_value=check_value(secret),
                created_at=datetime.now(UTC),
            )
        )

    async def load_secret(
        self, session: AsyncSession, organisation: OrganisationId, purpose: str, version: int = 1
    ) -> Secret:
        """The organisation's secret of one purpose: ``kek``, ``join`` or ``index``.

        :raises SealBroken: altered or moved, or of a version that is not there any more.
        :raises RootKeyWrong: our root key is not the one that wraps it.
        """
        known = self._secrets.get((organisation, purpose, version))
        if known is None:
            row = await session.get(OrganisationKey, (organisation, purpose, version))
            if row is None:
                raise SealBroken
            known = await self.open_organisation_key(row)
            self._secrets[organisation, purpose, version] = known
        return known

    async def open_organisation_key(self, row: OrganisationKey) -> Secret:
        """Unwrap one row; the same errors as :meth:`load_secret`."""
        aad = organisation_key_aad(row.organisation_id, row.purpose, row.version)
        return await self.roots.unwrap(row.root_id, row.wrapped, aad)

    async def blind_index(
        self, session: AsyncSession, organisation: OrganisationId, field: str, value: str
    ) -> str:
        """A keyed hash that finds an equal value inside one organisation (32 hex characters)."""
        key = await self.load_secret(session, organisation, "index")
        return hmac.digest(key, f"{field}|{value}".encode(), hashlib.sha256).hex()[:32]

    # ---- sealed fields -------------------------------------------------------------------

    async def seal(self, session: AsyncSession, place: Place, plaintext: bytes) -> bytes:
        """Seal one field; the owner's data key is made when there is none yet.

        :raises Shredded: the owner's key was destroyed.
        """
        key_id, key = await self.data_key(session, place)
        return HEADER + key_id.encode() + seal(key, place.context(key_id), plaintext)

    async def unseal(self, session: AsyncSession, place: Place, sealed: bytes) -> bytes:
        """Open one field.

        :raises SealBroken: altered, moved from another place, or its key is gone.
        :raises Shredded: its key was destroyed on purpose.
        """
        try:
            return await self._unseal(session, place, sealed)
        except Shredded:
            raise
        except SealBroken:
            self.on_broken(place)
            raise

    async def _unseal(self, session: AsyncSession, place: Place, sealed: bytes) -> bytes:
        note_opened(place.object_type, place.field)
        start = len(HEADER)
        if sealed[:start] != HEADER:
            raise SealBroken
        key_id = sealed[start : start + KEY_ID_BYTES].decode("ascii", "replace")
        key = await self.find_data_key(session, place.organisation, key_id)
        return unseal(key, place.context(key_id), sealed[start + KEY_ID_BYTES :])

    # ---- data keys -----------------------------------------------------------------------

    async def data_key(self, session: AsyncSession, place: Place) -> tuple[str, bytes]:
        """Id and 32 bytes of the key that seals a place, also for bytes outside the database;
        made when there is none yet. ``place.context(id)`` is what they are bound to.

        :raises Shredded: the owner's key was destroyed.
        """
        known = self._data_keys.find_of(place.organisation, place.owner)
        known = known or session.info.get(_UNSAVED, {}).get(place.owner)
        if known is not None:
            return known
        row = await session.scalar(select(DataKey).where(DataKey.owner == place.owner))
        if row is None:
            row = await self._new_key(session, place.organisation, place.owner)
            await session.flush()
        return await self._remember(session, row)

    async def find_data_key(
        self, session: AsyncSession, organisation: OrganisationId, key_id: str
    ) -> bytes:
        """A data key by the id that stands in the header.

        :raises SealBroken: there is none of this organisation with that id.
        :raises Shredded: it was destroyed.
        """
        known = self._data_keys.find(organisation, key_id)
        if known is not None:
            return known
        if key_id in session.info.get(_UNSAVED, {}):
            return bytes(session.info[_UNSAVED][key_id][1])
        row = await session.get(DataKey, key_id)
        if row is None or row.organisation_id != organisation:
            raise SealBroken
        return (await self._remember(session, row))[1]

    async def warm(
        self, session: AsyncSession, organisation: OrganisationId, owners: Collection[str]
    ) -> None:
        """Load the data keys of many owners in one query, before a page opens many fields."""
        missing = [
            owner for owner in owners if self._data_keys.find_of(organisation, owner) is None
        ]
        if missing:
            rows = await session.scalars(select(DataKey).where(DataKey.owner.in_(missing)))
            for row in rows:
                if row.shredded_at is None:
                    with suppress(SealBroken):  # who opens a field with it says where
                        await self._remember(session, row)

    async def make_key(
        self, session: AsyncSession, organisation: OrganisationId, owner: str
    ) -> None:
        """Make the key of an owner that is itself new: it is stored with the next flush."""
        row = await self._new_key(session, organisation, owner)
        made = (row.id, await self._open(session, row))
        unsaved = session.info.setdefault(_UNSAVED, {})
        unsaved[owner] = unsaved[row.id] = made

    def forget_made(self, session: AsyncSession) -> None:
        """The session has gone back to a savepoint: what it made since is not there."""
        session.info.pop(_UNSAVED, None)
        session.info.pop(_VERSIONS, None)

    def forget(self, organisation: OrganisationId, owner: str) -> None:
        """Its key was destroyed. Other processes keep it for five minutes at most."""
        self._data_keys.forget(organisation, owner)

    async def _new_key(
        self, session: AsyncSession, organisation: OrganisationId, owner: str
    ) -> DataKey:
        version = await self._hold_version(session, organisation)
        kek = Wrapper(await self.load_secret(session, organisation, KEK, version))
        row = DataKey(
            id=new_id(),
            organisation_id=organisation,
            owner=owner,
            kek_version=version,
            created_at=datetime.now(UTC),
        )
        row.wrapped = kek.wrap(new_key(), data_key_aad(organisation, owner, row.id, version))
        session.add(row)
        session.info.setdefault(_MADE_HERE, set()).add(row.id)
        return row

    async def _hold_version(self, session: AsyncSession, organisation: OrganisationId) -> int:
        """The highest KEK version, which is not deleted before this transaction ends: its row is
        locked, or (SQLite) nobody else writes."""
        held: dict[OrganisationId, int] = session.info.setdefault(_VERSIONS, {})
        if organisation not in held:
            version = await session.scalar(
                select(OrganisationKey.version)
                .where(
                    OrganisationKey.organisation_id == organisation,
                    OrganisationKey.purpose == KEK,
                )
                .order_by(OrganisationKey.version.desc())
                .limit(1)
                .with_for_update(read=True)
            )
            if version is None:
                raise SealBroken
            held[organisation] = version
        return held[organisation]

    async def _remember(self, session: AsyncSession, row: DataKey) -> tuple[str, Secret]:
        key = await self._open(session, row)
        if row.id not in session.info.get(_MADE_HERE, ()):
            self._data_keys.keep(row.organisation_id, row.owner, row.id, key)
        return row.id, key

    async def _open(self, session: AsyncSession, row: DataKey) -> Secret:
        """Unwrap a data key. When its KEK has gone meanwhile it was rewrapped: it is read again."""
        if row.shredded_at is not None:
            raise Shredded
        try:
            kek = await self.load_secret(session, row.organisation_id, KEK, row.kek_version)
        except SealBroken:
            before = row.kek_version
            await session.refresh(row)
            if row.kek_version == before:
                raise
            kek = await self.load_secret(session, row.organisation_id, KEK, row.kek_version)
        aad = data_key_aad(row.organisation_id, row.owner, row.id, row.kek_version)
        return Wrapper(kek).unwrap(row.wrapped, aad)
