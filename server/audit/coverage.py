"""What a route or a command declares to leave in the session log, and whether it did.

A route without a declaration, an act that was not declared, and a sealed field that was opened
without any entry make the tests fail; a page that should have left an entry and did not is not
served.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from server.audit.acts import Act
from server.footprint import Footprint

logger = logging.getLogger(__name__)


class Unlogged(Exception):
    """The work ended well without the entry that it must leave."""


@dataclass(frozen=True, slots=True)
class Leaves:
    """``always``: one of these whenever it ends well; ``at_times``: what it may leave besides.
    ``opens``: sealed fields (``table.field``) that it may open without an entry, for the reason
    ``why``."""

    always: frozenset[Act] = frozenset()
    at_times: frozenset[Act] = frozenset()
    opens: frozenset[str] = frozenset()
    why: str = ""

    def check(self, name: str, done: Footprint, *, is_well: bool) -> None:
        """Compare with what was done; an act or a field that was not declared goes to the log.

        :raises Unlogged: it ended well without its entry.
        """
        if self is UNDECLARED:
            return
        if surprises := done.acts - self.always - self.at_times:
            logger.error("%s leaves %s: not declared", name, ", ".join(sorted(surprises)))
        if not done.acts and (surprises := done.opened - self.opens):
            logger.error("%s opens %s without an entry", name, ", ".join(sorted(surprises)))
        if is_well and self.always and not self.always & done.acts:
            raise Unlogged(name)


def leaves(*acts: Act, at_times: Iterable[Act] = ()) -> Leaves:
    """One of the acts each time."""
    return Leaves(frozenset(acts), frozenset(at_times))


def may_leave(*acts: Act, why: str, opens: Iterable[str] = ()) -> Leaves:
    """These acts when there is something to say; ``why`` there may be nothing."""
    return Leaves(at_times=frozenset(acts), opens=frozenset(opens), why=why)


def leaves_none(why: str, opens: Iterable[str] = ()) -> Leaves:
    """Nothing, and why."""
    return Leaves(opens=frozenset(opens), why=why)


UNDECLARED: Final = Leaves()
"""Of a route that says nothing: the tests name it."""
