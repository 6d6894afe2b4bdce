"""What became of one message: the sender's answer and a file's report are built from it."""

from __future__ import annotations

from dataclasses import dataclass

from server.cup.booking import Fault, Notice
from server.cup.inbox.apply import Effect
from server.models import MessageState


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """``is_repeat``: it had come before, and the answer is the one of then."""

    message_id: str
    state: MessageState
    fault: Fault | None = None
    notices: tuple[Notice, ...] = ()
    visit_id: str | None = None
    is_repeat: bool = False
    effect: Effect = Effect.UNCHANGED
    booking_code: str = ""
    is_to_assign: bool = False
    """The booking is here, and nobody knows its clinician."""

    @property
    def is_taken(self) -> bool:
        """Whether the sender is done with it; else it waits here for a person."""
        return self.state is not MessageState.QUARANTINED
