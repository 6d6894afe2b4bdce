"""Whether a visit may be recorded now, as a fold over the events of its room. Pure.

Nothing is kept unless everybody who is in the room has agreed. Rooms, pages (``consent-fold.js``)
and the recorder fold the same events and come to the same state; the recorder keeps a frame only
while its own fold says so. It pauses for a person who is left alone, for a new one and for one who
comes back after having left; not for a new page of the same person (a lost line, a reload).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from signaling.messages import (
    Closed,
    Gone,
    Joined,
    Participant,
    ParticipantState,
    Role,
    RoomEvent,
    TurnedAway,
    Welcome,
)
from signaling.recordingevents import (
    RecordingAnswered,
    RecordingAsked,
    RecordingFailed,
    RecordingResumed,
    RecordingShown,
    RecordingState,
    RecordingStopped,
)

_OUT = (ParticipantState.GONE, ParticipantState.TURNED_AWAY)
_FEWEST = 2


class Recording:
    """The consent of one room to its recording, as of the last event."""

    __slots__ = ("_accepted", "_asked", "_failure", "_has_begun", "_humans")

    def __init__(self) -> None:
        self._humans: set[str] = set()
        """Who is in the room, or away from it and may come back; never the recorder."""
        self._asked: RecordingAsked | None = None
        self._accepted: set[str] = set()
        self._has_begun = False
        self._failure = ""

    @classmethod
    def of(cls, welcome: Welcome) -> Self:
        """The fold of a client that has just joined (not of one that resumes)."""
        fold = cls()
        fold._humans = _humans_of(welcome.participants)
        shown = welcome.recording
        if shown is not None:
            fold._asked = RecordingAsked(
                ask=shown.ask,
                participant="",
                purpose=shown.purpose,
                text_version=shown.text_version,
                text_hash=shown.text_hash,
            )
            fold._accepted = set(shown.accepted)
            fold._has_begun, fold._failure = shown.has_begun, shown.reason
        return fold

    # ---- what it says ----------------------------------------------------------------------

    @property
    def ask(self) -> str:
        """Which ask stands; empty: none."""
        return self._asked.ask if self._asked is not None else ""

    @property
    def state(self) -> RecordingState:
        if self._asked is None:
            return RecordingState.OFF
        if self._failure:
            return RecordingState.FAILED
        if not self._has_begun:
            return RecordingState.ASKED
        return RecordingState.ON if self._do_all_agree else RecordingState.PAUSED

    @property
    def _do_all_agree(self) -> bool:
        """Nobody agrees to being recorded alone."""
        return len(self._humans) >= _FEWEST and self._humans <= self._accepted

    def may_keep(self, ask: str, participant: str) -> bool:
        """Whether a frame of that person that comes now may be kept for this ask."""
        return (
            bool(ask)
            and self.ask == ask
            and self.state is RecordingState.ON
            and participant in self._humans
        )

    def has_begun(self, ask: str) -> bool:
        """Whether everybody has agreed to this ask, now or before."""
        return self.ask == ask and self._has_begun

    def has_agreed(self, participant: str) -> bool:
        return participant in self._accepted

    def shown(self) -> RecordingShown | None:
        """For ``welcome``."""
        if self._asked is None:
            return None
        return RecordingShown(
            state=self.state,
            ask=self._asked.ask,
            purpose=self._asked.purpose,
            text_version=self._asked.text_version,
            text_hash=self._asked.text_hash,
            accepted=sorted(self._accepted),
            has_begun=self._has_begun,
            reason=self._failure,
        )

    # ---- what happens ----------------------------------------------------------------------

    def apply(self, event: RoomEvent) -> bool:
        """Takes the next event of the room; False when it changes nothing here."""
        before = self.shown()
        match event:
            case Joined(participant=who, role=role):
                if role is not Role.RECORDER:
                    self._humans.add(who)
            case Gone(participant=who) | TurnedAway(participant=who):
                self._lose(who)
            case Closed():
                self._end()
            case RecordingAsked():
                self._ask_for(event)
            case RecordingAnswered() | RecordingStopped() | RecordingFailed() | RecordingResumed():
                if event.ask == self.ask:
                    self._apply_own(event)
            case _:
                return False
        self._begin_if_all_agree()
        return self.shown() != before

    def _apply_own(
        self, event: RecordingAnswered | RecordingStopped | RecordingFailed | RecordingResumed
    ) -> None:
        match event:
            case RecordingAnswered(accepted=True, participant=who):
                if who in self._humans:
                    self._accepted.add(who)
            case RecordingAnswered() | RecordingStopped():
                self._end()
            case RecordingFailed(reason=reason):
                self._failure = reason
            case RecordingResumed():
                self._failure = ""

    def _ask_for(self, event: RecordingAsked) -> None:
        self._end()
        if event.participant in self._humans:
            self._asked = event
            self._accepted.add(event.participant)

    def _begin_if_all_agree(self) -> None:
        if self._asked is not None and self._do_all_agree:
            self._has_begun = True

    def _lose(self, who: str) -> None:
        """Who has left is asked again on coming back; when all have left it is over."""
        self._humans.discard(who)
        self._accepted.discard(who)
        if not self._humans:
            self._end()

    def _end(self) -> None:
        self._asked = None
        self._accepted = set()
        self._has_begun = False
        self._failure = ""


def _humans_of(people: Iterable[Participant]) -> set[str]:
    return {
        one.participant for one in people if one.role is not Role.RECORDER and one.state not in _OUT
    }
