"""What each role sees of the session log: the role table of the design, in one place. Pure.

Desk: presence only. Clinician: her own visits. Administrator: what is technical, and nobody's name
or booking. Manager and auditor: the organisation's, patients by pseudonym.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from server.audit import Act, ActorRole, Fact
from server.line.presence import Line

_PRESENCE: Final = frozenset(
    {
        Act.WAITING, Act.LATE_ANNOUNCED, Act.ADMITTED, Act.TURNED_AWAY, Act.ROOM_JOINED,
        Act.ROOM_REJOINED, Act.ROOM_DROPPED, Act.ROOM_LEFT, Act.FINISHED, Act.OUTCOME,
    }
)  # fmt: skip
_TECHNICAL: Final = _PRESENCE | {
    Act.MEDIA_CHANGED, Act.MEDIA_PROVEN, Act.LINE_TESTED, Act.MESSAGE_SENT, Act.MESSAGE_FAILED,
    Act.LINK_ISSUED, Act.LINK_REVOKED, Act.LINK_CLAIMED, Act.LINK_CLAIM_FAILED,
    Act.DEVICE_CODE_SENT, Act.DEVICE_REPLACED, Act.SAS_CONFIRMED, Act.SAS_MISMATCH,
    Act.SAS_SKIPPED, Act.SUITABILITY_STATED, Act.SEAL_BROKEN, Act.KEY_SHREDDED, Act.LOG_READ,
    Act.LOG_EXPORTED, Act.LOG_VERIFIED, Act.FSE_RETRIED, Act.RECORDING_BEGAN,
    Act.RECORDING_FAILED, Act.RECORDING_RESUMED, Act.RECORDING_ENDED, Act.RECORDING_FOUND,
}  # fmt: skip
_OF_PRESENCE: Final = frozenset({"participant", "outcome", "minutes"})


@dataclass(frozen=True, slots=True)
class Sight:
    """``acts`` and ``facts``: all of them when they are ``None``."""

    is_own_only: bool = False
    has_bookings: bool = False
    """Booking codes, and the personal values beside the log."""
    has_pseudonyms: bool = False
    has_names: bool = True
    """Of the staff."""
    has_line: bool = True
    """What was measured, and problems."""
    has_proofs: bool = False
    acts: frozenset[Act] | None = None
    facts: frozenset[str] | None = None

    def sees(self, line: Line) -> bool:
        return self.acts is None or line.act in self.acts

    def facts_of(self, line: Line) -> Mapping[str, Fact]:
        if self.facts is None:
            return line.facts
        return {name: value for name, value in line.facts.items() if name in self.facts}


SIGHTS: Final[Mapping[ActorRole, Sight]] = {
    ActorRole.MANAGER: Sight(has_bookings=True, has_pseudonyms=True, has_proofs=True),
    ActorRole.AUDITOR: Sight(has_pseudonyms=True, has_proofs=True),
    ActorRole.CLINICIAN: Sight(is_own_only=True, has_bookings=True),
    ActorRole.DESK: Sight(has_bookings=True, has_line=False, acts=_PRESENCE, facts=_OF_PRESENCE),
    ActorRole.ADMINISTRATOR: Sight(has_names=False, acts=_TECHNICAL),
}
