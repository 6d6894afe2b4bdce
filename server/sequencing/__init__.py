"""Numbers for the entries of the session log, the tree over them, and its signed checkpoints.

Any process writes entries; one at a time numbers those of an organisation, in a transaction that
starts from the rows and keeps nothing for the next one. The leader does it all the time, a command
whenever it needs to.
"""

from server.sequencing.numbering import Numbered, find_unnumbered, number_entries
from server.sequencing.rounds import number_log
from server.sequencing.storedtree import StoredTree

__all__ = [
    "Numbered",
    "StoredTree",
    "find_unnumbered",
    "number_entries",
    "number_log",
]
