"""What SQLAlchemy has compiled for one engine serves all engines of a test process.

An engine remembers its statements, and finds them by the dialect *object* that it was made with.
Each test has engines of its own, so each compiled everything anew, which was two fifths of the
time of a test with a database. Engines of one kind speak to the same server here: a statement
that was compiled for one of them is right for all.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

from server import deadlines, onehop

_KEPT_STATEMENTS: Final = 5000


def share_statements() -> None:
    """For all engines that this process makes from now on."""
    for dialect in (onehop.Dialect, deadlines.Dialect):
        statements = LRUCache(_KEPT_STATEMENTS)

        def share(engine: Engine, statements: LRUCache = statements) -> None:
            engine._compiled_cache = statements

        dialect.engine_created = staticmethod(share)
        dialect.__eq__ = lambda one, other: type(one) is type(other)
        dialect.__hash__ = lambda one: hash(type(one))
