"""Where a sealed field stands, and the bytes that bind it there (design §4, FORMAT.md)."""

from __future__ import annotations

from dataclasses import dataclass

from recordings.vault import bind
from server.db import OrganisationId


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
        """The bytes that bind what is sealed to this place."""
        return bind(
            self.organisation, self.object_type, self.object_id, self.field,
            self.visit, self.version, key_id,
        )  # fmt: skip


def visit_owner(visit_id: str) -> str:
    """The owner of a visit's data key."""
    return f"visit:{visit_id}"
