"""The one door to the session log.

An act and its entry are written in the same transaction: no entry, no act. Entries carry ids and
stable words, never a name, a text or an address. The pages that show the log are
``server.sessionlog``.
"""

from server.audit.acts import CUP_ACTS, Act, ActorRole, ActOutcome
from server.audit.coverage import (
    OWN_DATA,
    UNDECLARED,
    Leaves,
    leaves,
    leaves_none,
    may_leave,
)
from server.audit.entry import Entry, Fact, leaf_of, name_node
from server.audit.write import append, append_alone, store, store_in_turn, store_once

__all__ = [
    "CUP_ACTS",
    "OWN_DATA",
    "UNDECLARED",
    "Act",
    "ActOutcome",
    "ActorRole",
    "Entry",
    "Fact",
    "Leaves",
    "append",
    "append_alone",
    "leaf_of",
    "leaves",
    "leaves_none",
    "may_leave",
    "name_node",
    "store",
    "store_in_turn",
    "store_once",
]
