"""The session log as a file that others can check: ``server/tlog/FORMAT.md`` §4.

Leaf hashes, checkpoints and the key come from the signer's memory; of the database only the
columns ``organisation``, ``seq`` and ``entry`` are believed to be there, so that a log that was
tampered with can still be taken out and judged.
"""

from server.logexport.bundle import write_log_bundle
from server.logexport.kept import NoKey
from server.logexport.settle import settle_log
from server.logexport.visitbundle import NothingSigned, write_visit_bundle

__all__ = ["NoKey", "NothingSigned", "settle_log", "write_log_bundle", "write_visit_bundle"]
