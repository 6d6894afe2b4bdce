"""What a route or a command declares to leave in the session log, and whether it did.

A route without a declaration, an act that was not declared, an entry that lacks and a sealed field
that was opened without any entry make the tests fail; a page that is read and has not left its
entry is not served. (Nothing is changed without its entry: both are in one transaction.)
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
    """What was read must leave an entry, and has not."""


@dataclass(frozen=True, slots=True)
class Leaves:
    """``always``: one of these whenever it ends well; ``at_times``: what it may leave besides.
    ``opens``: sealed fields (``table.field``) that it may open without an entry, for the reason
    ``why``."""

    always: frozenset[Act] = frozenset()
    at_times: frozenset[Act] = frozenset()
    opens: frozenset[str] = frozenset()
    why: str = ""

    def check(self, name: str, done: Footprint, *, is_well: bool, is_read: bool) -> None:
        """Compare with what was done; what was not declared, or lacks, goes to the log.

        :raises Unlogged: something was read, well, without its entry.
        """
        if self is UNDECLARED:
            return
        if surprises := done.acts - self.always - self.at_times:
            logger.error("%s leaves %s: not declared", name, ", ".join(sorted(surprises)))
        if is_well and not done.acts and (surprises := done.opened - self.opens):
            logger.error("%s opens %s without an entry", name, ", ".join(sorted(surprises)))
        if is_well and self.always and not self.always & done.acts:
            logger.error("%s leaves no entry", name)
            if is_read:
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


OWN_DATA: Final = leaves_none(
    "the patient's own data, shown to nobody else",
    opens={"patient.identity", "appointment.details", "check_in.answers", "attachment.words"},
)
UNDECLARED: Final = Leaves()
"""Of a route that says nothing: the tests name it."""
