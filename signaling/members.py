"""One person in a room and the table of what may happen to that person. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from signaling.messages import (
    Admitted,
    Away,
    Gone,
    MediaProven,
    Participant,
    ParticipantState,
    Role,
    TurnedAway,
)
from signaling.wire import Event

_WAITING = ParticipantState.WAITING
_ADMITTED = ParticipantState.ADMITTED
_CONNECTED = ParticipantState.CONNECTED
_AWAY = ParticipantState.AWAY
_GONE = ParticipantState.GONE
_TURNED_AWAY = ParticipantState.TURNED_AWAY

# What an event does to the participant it names; a pair that is not here changes nothing.
# ``joined`` is the way in from every state: ``admitted`` for a clinician and for whoever was
# admitted before, else ``waiting``. ``returned`` leads from ``away`` back to the state before,
# and ``admitted`` during ``away`` changes that state before.
TRANSITIONS: Final[Mapping[tuple[ParticipantState, type[Event]], ParticipantState]] = {
    (_WAITING, Admitted): _ADMITTED,
    (_WAITING, TurnedAway): _TURNED_AWAY,
    (_WAITING, Away): _AWAY,
    (_WAITING, Gone): _GONE,
    (_ADMITTED, MediaProven): _CONNECTED,  # once it is proven in both directions
    (_ADMITTED, Away): _AWAY,
    (_ADMITTED, Gone): _GONE,
    (_CONNECTED, Away): _AWAY,
    (_CONNECTED, Gone): _GONE,
    (_AWAY, TurnedAway): _TURNED_AWAY,  # lost its socket while the act was being kept
    (_AWAY, Gone): _GONE,
}

PRESENT: Final = (_WAITING, _ADMITTED, _CONNECTED)
OUT: Final = (_GONE, _TURNED_AWAY)


@dataclass(slots=True)
class Member:
    """One participant of the room; a new page of the same person makes a new member."""

    participant: str
    role: Role
    state: ParticipantState
    generation: int
    socket: str
    cseq: int = 0
    """The last client frame that the room has taken."""
    state_before_away: ParticipantState = _WAITING
    away_since: float | None = None
    """Seconds since 1970, by the clock of the node that saw it."""
    last_signal_seq: int = 0
    trimmed_seq: int = 0
    """Signals to this one up to here are gone from the log: who lacks them cannot resume."""
    microphone: bool = False
    camera: bool = False
    screen: bool = False

    is_present: bool = field(init=False)
    is_out: bool = field(init=False)

    def __post_init__(self) -> None:
        self._enter(self.state)

    def _enter(self, state: ParticipantState) -> None:
        self.state = state
        self.is_present = state in PRESENT
        self.is_out = state in OUT

    def move(self, event: type[Event], at: float = 0.0) -> bool:
        """Follows ``TRANSITIONS``; False when the event changes nothing for this one."""
        if self.state is _AWAY and event in (Admitted, MediaProven):
            return self._move_while_away(event)
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            return False
        if after is _AWAY:
            self.state_before_away, self.away_since = self.state, at
        self._enter(after)
        return True

    def _move_while_away(self, event: type[Event]) -> bool:
        after = TRANSITIONS.get((self.state_before_away, event))
        if after is None:
            return False
        self.state_before_away = after
        return True

    @property
    def is_away(self) -> bool:
        return self.state is _AWAY

    def come_back(self, socket: str) -> None:
        """The same page speaks on another socket."""
        if self.state is _AWAY:
            self._enter(self.state_before_away)
        self.away_since = None
        self.socket = socket

    def shown(self) -> Participant:
        return Participant(
            participant=self.participant,
            role=self.role,
            state=self.state,
            generation=self.generation,
            microphone=self.microphone,
            camera=self.camera,
            screen=self.screen,
        )


def newer_page(one: Member, other: Member) -> int:
    """The generation of a connection between two: that of the page that came later."""
    return one.generation if one.generation > other.generation else other.generation
