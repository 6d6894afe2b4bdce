"""Data keys that were unwrapped lately: at most a thousand, none longer than five minutes.

Python cannot wipe memory: what leaves here is gone once the collector has been by.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.db import OrganisationId
from server.keyring.wrapping import Secret

MOST_KEYS: Final = 1000
KEPT_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Kept:
    id: str
    key: Secret
    until: float


class KeyCache:
    """By owner and by id. Keys leave in the order in which they came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_owner: OrderedDict[tuple[OrganisationId, str], _Kept] = OrderedDict()
        self._owners: dict[tuple[OrganisationId, str], tuple[OrganisationId, str]] = {}

    def __len__(self) -> int:
        return len(self._by_owner)

    def keep(self, organisation: OrganisationId, owner: str, key_id: str, key: Secret) -> None:
        self.forget(organisation, owner)
        self._by_owner[organisation, owner] = _Kept(key_id, key, self._clock() + KEPT_SECONDS)
        self._owners[organisation, key_id] = (organisation, owner)
        self._drop_old()

    def find_of(self, organisation: OrganisationId, owner: str) -> tuple[str, Secret] | None:
        """Id and key of an owner."""
        self._drop_old()
        kept = self._by_owner.get((organisation, owner))
        return None if kept is None else (kept.id, kept.key)

    def find(self, organisation: OrganisationId, key_id: str) -> Secret | None:
        owner = self._owners.get((organisation, key_id))
        found = None if owner is None else self.find_of(*owner)
        return None if found is None else found[1]

    def forget(self, organisation: OrganisationId, owner: str) -> None:
        kept = self._by_owner.pop((organisation, owner), None)
        if kept is not None:
            del self._owners[organisation, kept.id]

    def _drop_old(self) -> None:
        now = self._clock()
        while self._by_owner:
            (organisation, owner), kept = next(iter(self._by_owner.items()))
            if kept.until > now and len(self._by_owner) <= MOST_KEYS:
                return
            self.forget(organisation, owner)
