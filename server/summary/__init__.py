"""Summaries of visits: one row of plain figures each, for lists, exports and figures.

:mod:`~server.summary.told` folds the session log of a visit, without I/O; ``follow`` keeps the rows
up with the log; ``problems`` names what somebody should look at. The pages are
``server.sessionlog``.
"""

from server.summary.follow import Summaries, follow_log
from server.summary.problems import Problem, pack_problems, unpack_problems
from server.summary.wish import Wish, parse_wish

__all__ = [
    "Problem",
    "Summaries",
    "Wish",
    "follow_log",
    "pack_problems",
    "parse_wish",
    "unpack_problems",
]
