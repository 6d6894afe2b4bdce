"""The root keys of an installation, whoever holds them.

One wraps; former ones only open, until ``accanto keys rewrap`` has left nothing under them. A
running process meets a key that was wrapped under a newer root than it knows: it looks at the
``keys`` folder again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from recordings.vault import SealBroken
from server.errors import CommandFailed
from server.keyring.wrapping import Secret, Wrapper, check_value


class RootKeyWrong(CommandFailed):
    """What an organisation's keys were wrapped by is not here. The message says what to do."""


class RootKey(Protocol):
    """Something that wraps the keys of organisations. All methods may block."""

    @property
    def id(self) -> str:
        """Names the key in ``OrganisationKey.root_id``: at most 16 characters."""

    @property
    def place(self) -> str:
        """Where it is, for a person."""

    @property
    def is_remote(self) -> bool:
        """Each use costs a request."""

    def wrap(self, secret: bytes, aad: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        """:raises SealBroken: it does not open with this key."""

    def renew(self, wrapped: bytes, aad: bytes) -> bytes:
        """The same under the newest version of this key; unchanged where it is that already."""


class FileRoot:
    """A root key in a file of the data folder."""

    is_remote: Final = False

    def __init__(self, key: bytes, place: str) -> None:
        self.key: Final = Secret(key)
        self.id: Final = check_value(key)
        self.place: Final = place
        self._wrapper = Wrapper(key)

    def __repr__(self) -> str:
        return f"<root key {self.id}>"

    def wrap(self, secret: bytes, aad: bytes) -> bytes:
        return self._wrapper.wrap(secret, aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        return self._wrapper.unwrap(wrapped, aad)

    def renew(self, wrapped: bytes, aad: bytes) -> bytes:
        return wrapped


class Roots:
    """The root key of now and those that were."""

    def __init__(
        self,
        current: RootKey,
        former: tuple[RootKey, ...] = (),
        reload: Callable[[], Roots] | None = None,
    ) -> None:
        self.current = current
        self._by_id = {root.id: root for root in (*former, current)}
        self._reload = reload

    @property
    def former(self) -> list[RootKey]:
        return [root for root in self._by_id.values() if root is not self.current]

    async def wrap(self, secret: bytes, aad: bytes) -> tuple[str, bytes]:
        """Name of the root key and the wrapped bytes."""
        root = self.current
        if root.is_remote:
            return root.id, await asyncio.to_thread(root.wrap, secret, aad)
        return root.id, root.wrap(secret, aad)

    async def renew(self, wrapped: bytes, aad: bytes) -> bytes:
        """What the root key of now has wrapped, under its newest version."""
        root = self.current
        if root.is_remote:
            return await asyncio.to_thread(root.renew, wrapped, aad)
        return root.renew(wrapped, aad)

    async def unwrap(self, root_id: str, wrapped: bytes, aad: bytes) -> Secret:
        """Open what the named root wrapped; no name, as before 0004, means the one of now.

        :raises RootKeyWrong: that one is not here.
        :raises SealBroken: it is here and does not open this.
        """
        root = self.find(root_id)
        try:
            if root.is_remote:
                return await asyncio.to_thread(root.unwrap, wrapped, aad)
            return root.unwrap(wrapped, aad)
        except SealBroken as error:
            if root_id:
                raise
            raise self._wrong("another one") from error

    def find(self, root_id: str) -> RootKey:
        """:raises RootKeyWrong: it is not here."""
        if root_id and root_id not in self._by_id and self._reload is not None:
            fresh = self._reload()
            self.current, self._by_id = fresh.current, fresh._by_id  # noqa: SLF001 - another self
        root = self._by_id.get(root_id) if root_id else self.current
        if root is None:
            raise self._wrong(f"the one with the check value {root_id}")
        return root

    def _wrong(self, wanted: str) -> RootKeyWrong:
        return RootKeyWrong(
            f"The root key does not open this database: {self.current.place} has the check value "
            f"{self.current.id}, its keys were wrapped by {wanted}. Put the right root key back, "
            "or restore it from three shares with 'accanto keys restore'"
        )
