"""How long records are kept, what may not be deleted, and the job that shreds.

A record ends by the destruction of its key (:mod:`server.keys.shredding`): what lies in backups of
the data is gone with it. Rows and files that nobody can open any more are deleted, too; the visit
and its appointment stay as they are without anything sealed. Each end leaves a line in the log.
"""

from typing import Final

from server.audit import Act, leaves, leaves_none, may_leave
from server.auth import ADMINISTRATOR, Route
from server.retention import pages

ROUTES: Final = (
    Route(
        "GET",
        "/admin/retention",
        pages.show_retention,
        ADMINISTRATOR,
        leaves_none("no data of patients"),
    ),
    Route(
        "POST",
        "/admin/retention",
        pages.save_terms,
        ADMINISTRATOR,
        may_leave(Act.RETENTION_CHANGED, why="a term that stays leaves nothing"),
    ),
    Route("POST", "/admin/retention/holds", pages.place, ADMINISTRATOR, leaves(Act.HOLD_PLACED)),
    Route(
        "POST",
        "/admin/retention/holds/{visit_id}/lift",
        pages.lift,
        ADMINISTRATOR,
        leaves(Act.HOLD_LIFTED),
    ),
)
