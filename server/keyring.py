"""Keys: root → organisation → visit, and the sealing of fields with them.

The root key is a file of the data folder (``keys/root.key``, 0600). Each organisation has its own
wrapped secrets (``kek``, ``join``, ``index``), each visit or patient a data key wrapped by the
``kek``. A sealed field opens only in its own place: the context binds application, organisation,
object type, object id, field, visit, version and data key (design §4, ``security.md`` §3.3).
With the root key beside the data a stolen disk is *not* covered; ``accanto check`` says so.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.vault import KEY_BYTES, SealBroken, new_key, seal, unseal
from server.db import OrganisationId
from server.errors import CommandFailed
from server.models import DataKey, OrganisationKey, new_id

ROOT_KEY_FILE: Final = Path("keys") / "root.key"
_HEADER: Final = b"TV1\x01"
"""Format, and suite 1: Cobblestone-256."""
_KEY_ID_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_CACHED_KEYS: Final = 1000
_MADE_HERE: Final = "data_keys_made_here"
"""Ids of the keys that a session has made: kept for others only once they are committed."""
_UNSAVED: Final = "data_keys_unsaved"
"""By owner and by id, the keys that a session has made and not yet read back."""
_SECRETS: Final = ("kek", "join", "index")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed field stands. ``visit`` is empty for what belongs to no visit; ``key_owner``
    is set where many objects share one data key."""

    organisation: OrganisationId
    object_type: str
    object_id: str
    field: str
    version: int
    visit: str = ""
    key_owner: str = ""

    @property
    def owner(self) -> str:
        """Whose data key seals it: the visit's, else the object's own."""
        if self.key_owner:
            return self.key_owner
        return visit_owner(self.visit) if self.visit else f"{self.object_type}:{self.object_id}"

    def context(self, key_id: str) -> bytes:
        """Length-prefixed fields in a fixed order: no two places have the same bytes."""
        fields = (
            "tv1", self.organisation, self.object_type, self.object_id,
            self.field, self.visit, str(self.version), key_id,
        )  # fmt: skip
        encoded = [field.encode() for field in fields]
        return b"".join(len(field).to_bytes(4, "big") + field for field in encoded)


def visit_owner(visit_id: str) -> str:
    """The owner of a visit's data key."""
    return f"visit:{visit_id}"


class Keyring:
    """The keys of one installation, unwrapped in memory while they are in use."""

    def __init__(self, root_key: bytes) -> None:
        self._root = AESGCM(root_key)
        self._secrets: dict[tuple[OrganisationId, str], bytes] = {}
        self._data_keys: OrderedDict[tuple[OrganisationId, str], tuple[str, bytes]] = OrderedDict()
        self._keys_by_id: OrderedDict[str, bytes] = OrderedDict()
        self._root_key = root_key

    def derive(self, purpose: str) -> bytes:
        """A 32-byte secret of the installation, for instance for socket tickets."""
        return hmac.digest(self._root_key, f"accanto|{purpose}".encode(), hashlib.sha256)

    def add_organisation(self, session: AsyncSession, organisation: OrganisationId) -> None:
        """Make the secrets of a new organisation."""
        for purpose in _SECRETS:
            aad = _key_aad(organisation, purpose, 1)
            wrapped = _wrap(self._root, new_key(), aad)
            session.add(
                OrganisationKey(
                    organisation_id=organisation, purpose=purpose, version=1, wrapped=wrapped
                )
            )

    async def load_secret(
        self, session: AsyncSession, organisation: OrganisationId, purpose: str
    ) -> bytes:
        """The organisation's secret of one purpose: ``kek``, ``join`` or ``index``."""
        known = self._secrets.get((organisation, purpose))
        if known is None:
            row = await session.get_one(OrganisationKey, (organisation, purpose, 1))
            known = _unwrap(self._root, row.wrapped, _key_aad(organisation, purpose, 1))
            self._secrets[organisation, purpose] = known
        return known

    async def seal(self, session: AsyncSession, place: Place, plaintext: bytes) -> bytes:
        """Seal one field; the owner's data key is made when there is none yet."""
        key_id, key = await self._load_or_make_key(session, place)
        return _HEADER + key_id.encode() + seal(key, place.context(key_id), plaintext)

    async def unseal(self, session: AsyncSession, place: Place, sealed: bytes) -> bytes:
        """Open one field.

        :raises SealBroken: altered, moved from another place, or its key is gone.
        """
        start = len(_HEADER)
        if sealed[:start] != _HEADER:
            raise SealBroken
        key_id = sealed[start : start + _KEY_ID_BYTES].decode("ascii", "replace")
        key = await self._load_key(session, place.organisation, key_id)
        return unseal(key, place.context(key_id), sealed[start + _KEY_ID_BYTES :])

    async def data_key(self, session: AsyncSession, place: Place) -> tuple[str, bytes]:
        """Id and 32 bytes of the key that seals a place, for bytes outside the database; made
        when there is none yet. ``place.context(id)`` is what they are bound to."""
        return await self._load_or_make_key(session, place)

    async def find_data_key(
        self, session: AsyncSession, organisation: OrganisationId, key_id: str
    ) -> bytes:
        """A data key by the id that stands in the header.

        :raises SealBroken: there is none of this organisation with that id.
        """
        return await self._load_key(session, organisation, key_id)

    async def warm(
        self, session: AsyncSession, organisation: OrganisationId, owners: Collection[str]
    ) -> None:
        """Load the data keys of many owners in one query, before a page opens many fields."""
        missing = [owner for owner in owners if (organisation, owner) not in self._data_keys]
        if missing:
            rows = await session.scalars(select(DataKey).where(DataKey.owner.in_(missing)))
            for row in rows:
                await self._remember(session, row)

    async def make_key(
        self, session: AsyncSession, organisation: OrganisationId, owner: str
    ) -> None:
        """Make the key of an owner that is itself new: it is stored with the next flush."""
        row = await self._new_key(session, organisation, owner)
        kek = AESGCM(await self.load_secret(session, organisation, "kek"))
        made = (row.id, _unwrap(kek, row.wrapped, _data_key_aad(row)))
        unsaved = session.info.setdefault(_UNSAVED, {})
        unsaved[owner] = unsaved[row.id] = made

    def forget_made(self, session: AsyncSession) -> None:
        """The session has gone back to a savepoint: what it made since is not there."""
        session.info.pop(_UNSAVED, None)

    async def blind_index(
        self, session: AsyncSession, organisation: OrganisationId, field: str, value: str
    ) -> str:
        """A keyed hash that finds an equal value inside one organisation (32 hex characters)."""
        key = await self.load_secret(session, organisation, "index")
        return hmac.digest(key, f"{field}|{value}".encode(), hashlib.sha256).hex()[:32]

    async def _load_or_make_key(self, session: AsyncSession, place: Place) -> tuple[str, bytes]:
        known = self._data_keys.get((place.organisation, place.owner))
        known = known or session.info.get(_UNSAVED, {}).get(place.owner)
        if known is not None:
            return known
        row = await session.scalar(select(DataKey).where(DataKey.owner == place.owner))
        if row is None:
            row = await self._make_key(session, place)
        return await self._remember(session, row)

    async def _make_key(self, session: AsyncSession, place: Place) -> DataKey:
        row = await self._new_key(session, place.organisation, place.owner)
        await session.flush()
        return row

    async def _new_key(
        self, session: AsyncSession, organisation: OrganisationId, owner: str
    ) -> DataKey:
        kek = AESGCM(await self.load_secret(session, organisation, "kek"))
        row = DataKey(
            id=new_id(),
            organisation_id=organisation,
            owner=owner,
            kek_version=1,
            created_at=datetime.now(UTC),
            wrapped=b"",
        )
        row.wrapped = _wrap(kek, new_key(), _data_key_aad(row))
        session.add(row)
        session.info.setdefault(_MADE_HERE, set()).add(row.id)
        return row

    async def _load_key(
        self, session: AsyncSession, organisation: OrganisationId, key_id: str
    ) -> bytes:
        known = self._keys_by_id.get(key_id)
        if known is not None:
            return known
        if key_id in session.info.get(_UNSAVED, {}):
            return bytes(session.info[_UNSAVED][key_id][1])
        row = await session.get(DataKey, key_id)
        if row is None or row.organisation_id != organisation:
            raise SealBroken
        return (await self._remember(session, row))[1]

    async def _remember(self, session: AsyncSession, row: DataKey) -> tuple[str, bytes]:
        kek = AESGCM(await self.load_secret(session, row.organisation_id, "kek"))
        key = _unwrap(kek, row.wrapped, _data_key_aad(row))
        if row.id in session.info.get(_MADE_HERE, ()):
            return row.id, key
        self._data_keys[row.organisation_id, row.owner] = (row.id, key)
        self._keys_by_id[row.id] = key
        for cache in (self._data_keys, self._keys_by_id):
            if len(cache) > _CACHED_KEYS:
                cache.popitem(last=False)
        return row.id, key


def load_keyring(data_dir: Path, *, create: bool = False) -> Keyring:
    """Read the root key of a data folder, or make it on the first start.

    :raises CommandFailed: missing, unreadable by us, readable by others, or of a wrong size.
    """
    path = data_dir / ROOT_KEY_FILE
    if create and not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
    try:
        root_key = path.read_bytes()
        mode = path.stat().st_mode & 0o077
    except OSError as error:
        raise CommandFailed(f"Cannot read the root key {path}: {error.strerror}") from error
    if mode:
        raise CommandFailed(f"The root key {path} is readable by others: run chmod 600 on it")
    if len(root_key) != KEY_BYTES:
        raise CommandFailed(f"The root key {path} must have {KEY_BYTES} bytes")
    return Keyring(root_key)


def _key_aad(organisation: OrganisationId, purpose: str, version: int) -> bytes:
    return f"accanto|organisation-key|{organisation}|{purpose}|{version}".encode()


def _data_key_aad(row: DataKey) -> bytes:
    return f"accanto|data-key|{row.organisation_id}|{row.owner}|{row.id}|{row.kek_version}".encode()


def _wrap(key: AESGCM, secret: bytes, aad: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, secret, aad)


def _unwrap(key: AESGCM, wrapped: bytes, aad: bytes) -> bytes:
    try:
        return key.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], aad)
    except (InvalidTag, ValueError) as error:
        raise SealBroken from error
