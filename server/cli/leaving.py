"""What each command leaves in the session log; a test keeps the table complete.

Commands speak for the platform: whoever runs one has the machine, not a login.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.audit import CUP_ACTS, Act, Leaves, leaves, leaves_none, may_leave

_NO_PERSON: Final = leaves_none("no data of patients")
_CUP: Final = may_leave(
    *CUP_ACTS,
    Act.CUP_MESSAGE_REPLAYED,
    Act.CUP_MESSAGE_DISCARDED,
    why="what says nothing new leaves nothing",
    opens={"inbox_message.raw", "patient.identity", "appointment.details"},
)
LEAVES: Final[Mapping[str, Leaves]] = {
    "appointments": leaves_none("booking codes, states and times, without persons"),
    "backup": leaves_none(
        "copies what is sealed as it is; a row of each kind is opened to try the keys",
    ),
    "bot": leaves_none("comes in by links, as patients do, and opens no database"),
    "check": _NO_PERSON,
    "clinic set": leaves(Act.CLINIC_CHANGED),
    "codes import": leaves(Act.CODE_LIST_LOADED),
    "cup import": _CUP,
    "cup inbox": leaves_none("states of messages, nothing of what is in them"),
    "cup outbox": leaves_none("states of events, nothing of patients"),
    "cup quarantine": leaves_none("states of messages, nothing of what is in them"),
    "cup reconcile": leaves_none(
        "compares two lists and shows booking codes",
        opens={"appointment.details", "patient.identity"},
    ),
    "cup replay": _CUP,
    "cup retry": may_leave(Act.CUP_EVENT_RETRIED, why="there may be no such event"),
    "cup source add": leaves(Act.SOURCE_CHANGED),
    "cup source set": leaves(Act.SOURCE_CHANGED),
    "cup source token": leaves(Act.SOURCE_KEY_ISSUED),
    "cup sources": _NO_PERSON,
    "demo": leaves_none("invented persons"),
    "hold lift": leaves(Act.HOLD_LIFTED),
    "hold list": leaves_none("booking codes and reasons, without persons"),
    "hold place": leaves(Act.HOLD_PLACED),
    "init": _NO_PERSON,
    "keys escrow": may_leave(Act.KEYS_ESCROWED, why="there may be no organisation"),
    "keys restore": may_leave(Act.KEYS_RESTORED, why="there may be no organisation"),
    "keys rewrap": may_leave(Act.KEYS_REWRAPPED, Act.KEY_ROTATED, why="all may be wrapped anew"),
    "keys rotate": may_leave(Act.KEY_ROTATED, Act.KEYS_REWRAPPED, why="there may be none"),
    "keys shred": leaves(Act.KEY_SHREDDED),
    "keys status": _NO_PERSON,
    "log accept": may_leave(Act.LOG_ACCEPTED, Act.LOGIN_FAILED, why="there may be nothing torn"),
    "log checkpoint": _NO_PERSON,
    "log export": may_leave(
        Act.LOG_EXPORTED,
        why="a log that cannot be written any more is exported all the same",
        opens={"log_value.value"},
    ),
    "log seed": leaves_none("invented visits"),
    "log verify": leaves_none("a file, without the database"),
    "log witness": leaves_none("hashes"),
    "migrate": _NO_PERSON,
    "organisation add": leaves(Act.ORGANISATION_CHANGED),
    "organisation phase": leaves(Act.PHASE_CHANGED),
    "organisation set": leaves(Act.ORGANISATION_CHANGED),
    "patient export": may_leave(
        Act.PATIENT_EXPORTED, Act.CONTACT_OPENED, why="nobody may be found"
    ),
    "patient rectify": may_leave(
        Act.PATIENT_RECTIFIED, Act.CONTACT_OPENED, *CUP_ACTS, why="nobody may be found"
    ),
    "report export": leaves(Act.REPORT_EXPORTED),
    "restore": leaves_none(
        "puts back what is sealed; a row of each kind is opened to try the keys"
    ),
    "retention run": may_leave(Act.KEY_SHREDDED, Act.LOG_ERASED, why="no term may be over"),
    "retention set": may_leave(Act.RETENTION_CHANGED, why="a term that stays leaves nothing"),
    "retention show": _NO_PERSON,
    "serve": leaves_none("its pages say it for themselves"),
    "settings": _NO_PERSON,
    "turn-config": _NO_PERSON,
    "user add": leaves(Act.USER_CHANGED),
    "user password": leaves(Act.USER_CHANGED),
    "user set": leaves(Act.USER_CHANGED),
    "user signer": leaves(Act.SIGNER_CHANGED, Act.SIGNER_REMOVED),
    "visits": leaves_none("states of visits, without persons"),
}
"""By the words of the command."""
LONG_ONES: Final = frozenset({"serve", "demo", "log seed"})
"""Not one piece of work but many: their pages are held to what routes declare."""
