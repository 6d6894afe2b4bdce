"""The room as a synthetic patient follows it: who is here, and which connections she should hold.

Pure; the Python twin of ``static/js/fold.js`` as far as a patient needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from signaling.messages import (
    Admitted,
    Away,
    Closed,
    Gone,
    Joined,
    MediaChanged,
    Participant,
    ParticipantState,
    Returned,
    Role,
    RoomEvent,
    TurnedAway,
    Welcome,
)
from signaling.recording import Recording
from signaling.recordingevents import RecordingState

_LET_IN: Final = (ParticipantState.ADMITTED, ParticipantState.CONNECTED)
_OUT: Final = (ParticipantState.GONE, ParticipantState.TURNED_AWAY)


@dataclass(slots=True)
class Person:
    """``is_away``: the socket was lost; ``is_out``: she left or was not let in."""

    id: str
    role: Role
    generation: int
    is_admitted: bool
    is_away: bool = False
    is_out: bool = False
    microphone: bool = False
    camera: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """The one connection that two pages should hold now."""

    to: str
    generation: int
    epoch: str


@dataclass(slots=True)
class RoomView:
    you: str = ""
    epoch: str = ""
    people: dict[str, Person] = field(default_factory=dict)
    recording: Recording = field(default_factory=Recording)

    def join(self, welcome: Welcome) -> None:
        """A fresh page: the room as it is now."""
        self.you, self.epoch = welcome.you, welcome.epoch
        self.people = {one.participant: _person(one) for one in welcome.participants}
        self.recording = Recording.of(welcome)

    def apply(self, event: RoomEvent) -> None:
        self.recording.apply(event)
        match event:
            case Joined(participant=who, role=role, state=state, seq=seq):
                self.people[who] = Person(who, role, seq, state in _LET_IN)
            case Closed():
                for person in self.people.values():
                    person.is_out = True
            case Returned() | Away() | Gone() | Admitted() | TurnedAway() | MediaChanged():
                if event.participant in self.people:
                    _change(self.people[event.participant], event)
            case _:
                pass

    @property
    def self(self) -> Person | None:
        return self.people.get(self.you)

    @property
    def is_admitted(self) -> bool:
        return self.self is not None and self.self.is_admitted and not self.self.is_out

    @property
    def clinician(self) -> Person | None:
        return next((one for one in self.people.values() if one.role is Role.CLINICIAN), None)

    @property
    def pair(self) -> Pair | None:
        """With the clinician."""
        return self._pair_with(self.clinician)

    @property
    def recorder_pair(self) -> Pair | None:
        """With the recorder; none before she has agreed."""
        if not self.is_admitted or not self.recording.has_agreed(self.you):
            return None
        recorders = (one for one in self.people.values() if one.role is Role.RECORDER)
        return self._pair_with(next(recorders, None))

    @property
    def is_recording(self) -> bool:
        return self.recording.state is RecordingState.ON

    def _pair_with(self, other: Person | None) -> Pair | None:
        if self.self is None or other is None or self.self.is_out or other.is_out:
            return None
        return Pair(other.id, max(self.self.generation, other.generation), self.epoch)


def _person(one: Participant) -> Person:
    return Person(
        one.participant,
        one.role,
        one.generation,
        is_admitted=one.state in _LET_IN or one.role is Role.CLINICIAN,
        is_away=one.state is ParticipantState.AWAY,
        is_out=one.state in _OUT,
        microphone=one.microphone,
        camera=one.camera or one.screen,
    )


def _change(
    person: Person, event: Returned | Away | Gone | Admitted | TurnedAway | MediaChanged
) -> None:
    match event:
        case Returned():
            person.is_away = False
        case Away():
            person.is_away = True
        case Gone() | TurnedAway():
            person.is_out = True
        case Admitted():
            person.is_admitted = True
        case MediaChanged():
            person.microphone = event.microphone
            person.camera = event.camera or event.screen
