"""The session log as people read it: each role as far as :mod:`server.sessionlog.sight` says.

Every reading is itself an entry. The log is written through :mod:`server.audit`; nothing here
changes a line of it. Lists are made from :mod:`server.summary`.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, may_leave
from server.auth import LOG_READERS, MANAGER, STAFF, Route
from server.sessionlog.problems import acknowledge, poll_problems, show_problems
from server.sessionlog.saved import delete_view, save_view
from server.sessionlog.views import list_sessions, show_session

_READ: Final = leaves(Act.LOG_READ)
ROUTES: Final = (
    Route("GET", "/sessions", list_sessions, STAFF, _READ),
    Route("POST", "/sessions/views", save_view, STAFF, leaves(Act.VIEW_SAVED)),
    Route(
        "POST", "/sessions/views/delete", delete_view, STAFF,
        may_leave(Act.VIEW_SAVED, why="a view that is gone already leaves nothing"),
    ),
    Route("GET", "/sessions/problems", show_problems, LOG_READERS, _READ),
    Route(
        "GET", "/sessions/problems/news", poll_problems, LOG_READERS,
        may_leave(Act.LOG_READ, why="nothing is shown as long as the list is the same"),
    ),
    Route(
        "POST", "/sessions/problems/{visit_id}/acknowledge", acknowledge, MANAGER,
        leaves(Act.PROBLEM_ACKNOWLEDGED),
    ),
    Route("GET", "/sessions/{visit_id}", show_session, STAFF, _READ),
)  # fmt: skip
