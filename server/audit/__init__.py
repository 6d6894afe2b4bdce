"""The one door to the session log.

An act and its entry are written in the same transaction: no entry, no act. Entries carry ids and
stable words, never a name, a text or an address. The pages that show the log are
``server.sessionlog``.
"""

from server.audit.acts import Act, ActorRole, ActOutcome
from server.audit.entry import Entry, Fact, leaf_of, name_node
from server.audit.write import append, append_in_turn, append_once, store

__all__ = [
    "Act",
    "ActOutcome",
    "ActorRole",
    "Entry",
    "Fact",
    "append",
    "append_in_turn",
    "append_once",
    "leaf_of",
    "name_node",
    "store",
]
