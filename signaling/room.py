"""One room as a fold over its log: who is here and what each one is sent.

Pure: no I/O and no clock. ``rules.py`` turns what somebody wants into an event or a refusal
*before* an append; ``Room.apply`` takes what comes back from the log, in order, and returns what
to do. Every node that folds the same entries comes to the same room.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, assert_never

import msgspec

from signaling.entries import Entry
from signaling.members import Member, newer_page
from signaling.messages import (
    SIGNAL_EVENTS,
    Admitted,
    AnswerEvent,
    Away,
    Bye,
    ByeAction,
    CandidatesEvent,
    Closed,
    FilesChanged,
    Gone,
    Joined,
    Late,
    MediaChanged,
    MediaProven,
    Moved,
    OfferEvent,
    Participant,
    ParticipantState,
    Returned,
    Role,
    RoomEvent,
    Signal,
    StillChanged,
    StillState,
    TurnedAway,
)
from signaling.reasons import ByeReason
from signaling.recording import Recording
from signaling.recordingevents import (
    RecordingAnswered,
    RecordingAsked,
    RecordingFailed,
    RecordingResumed,
    RecordingStopped,
)

RESUME_SECONDS: Final = timedelta(minutes=2).total_seconds()

SignalEvent = CandidatesEvent | OfferEvent | AnswerEvent
KEPT_ACTS: Final = (Admitted, TurnedAway)
"""Admissions are kept in the records before they come to the log."""
_FROM_ANY_SOCKET: Final = (Joined, Returned, *KEPT_ACTS)
PassageEvent = Away | Gone | Admitted | TurnedAway
OtherEvent = (
    PassageEvent | Joined | Returned | MediaChanged | MediaProven | Late | Moved | StillChanged
    | FilesChanged | Closed
)  # fmt: skip
"""What is neither a signal nor about a recording."""
RECORDING_EVENTS: Final = (
    RecordingAsked, RecordingAnswered, RecordingStopped, RecordingFailed, RecordingResumed,
)  # fmt: skip


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Send the event to these participants."""

    event: RoomEvent
    to: tuple[str, ...]


class Dismiss(msgspec.Struct, frozen=True, gc=False):
    """End the participant's socket unless it is ``keep``; without a ``bye`` just cut it."""

    participant: str
    keep: str
    bye: Bye | None


class Trim(msgspec.Struct, frozen=True, gc=False):
    """The log may forget the signals below ``before`` between these two (or all of one)."""

    one: str
    other: str | None
    before: int


Effect = Deliver | Dismiss | Trim


class Room:
    """The state of one room as of ``seq``."""

    __slots__ = (
        "_admitted",
        "_tickets",
        "late_minutes",
        "members",
        "outcome",
        "proofs",
        "recording",
        "seq",
        "still",
    )

    def __init__(
        self,
        admitted: frozenset[str] = frozenset(),
        late_minutes: int = 0,
        outcome: str | None = None,
    ) -> None:
        self.seq = 0
        self.late_minutes = late_minutes
        self.outcome = outcome
        self.still = ""
        """The ask for a photo that waits for the patient."""
        self.recording = Recording()
        self.members: dict[str, Member] = {}
        self.proofs: dict[tuple[str, str], tuple[bool, bool]] = {}
        """(who has decoded, of whom) → (audio, video)."""
        self._admitted = set(admitted)
        self._tickets: set[str] = set()
        """Of those who have joined: each opens one seat, whatever node it is shown to."""

    def snapshot(self) -> list[Participant]:
        return [member.shown() for member in self.members.values()]

    def is_admitted(self, participant: str, role: Role) -> bool:
        return role is not Role.PATIENT or participant in self._admitted

    @property
    def is_deserted(self) -> bool:
        """True when nobody is here and nobody can resume; a recorder is nobody."""
        return all(
            member.is_out for member in self.members.values() if member.role is not Role.RECORDER
        )

    def is_current(self, participant: str, socket: str) -> bool:
        """True while this socket is the participant's newest and it has not left."""
        member = self.members.get(participant)
        return member is not None and member.socket == socket and not member.is_out

    def may_return(self, participant: str, page: int, seq: int, now: float) -> bool:
        """True when that page, which has applied events up to ``seq``, may resume. ``now``:
        seconds since 1970, as in the entries."""
        member = self.members.get(participant)
        if member is None or member.is_out or member.generation != page:
            return False
        if not member.trimmed_seq <= seq <= self.seq:
            return False
        return member.away_since is None or now - member.away_since <= RESUME_SECONDS

    def overdue(self, now: float) -> list[Member]:
        """Who has been away for too long to come back to the same seat."""
        return [
            member
            for member in self.members.values()
            if member.is_away and now - (member.away_since or 0.0) > RESUME_SECONDS
        ]

    def apply(self, entry: Entry) -> list[Effect]:
        """Takes one entry of the log; what follows from it, or nothing when it does not count."""
        event = entry.event
        if isinstance(event, SIGNAL_EVENTS):
            to = self.apply_signal(entry, event)
            return [] if to is None else [Deliver(event, (event.to,) if to.is_present else ())]
        self.seq = event.seq
        if self.outcome is not None or not self._is_heard(entry):
            return []
        if isinstance(event, RECORDING_EVENTS):
            return [Deliver(event, self._present())] if self.recording.apply(event) else []
        effects = self._apply_other(entry, event)
        if effects:
            self.recording.apply(event)
        return effects

    def _apply_other(self, entry: Entry, event: OtherEvent) -> list[Effect]:
        match event:
            case Joined():
                return self._apply_joined(event, entry)
            case Returned():
                return self._apply_returned(event, entry.socket)
            case MediaProven():
                return self._apply_proof(event)
            case Away() | Gone() | Admitted() | TurnedAway():
                return self._apply_passage(event, entry)
            case Closed():
                return self._apply_closed(event)
            case MediaChanged():
                if not self._apply_media(event):
                    return []
            case Late():
                self.late_minutes = event.minutes
            case StillChanged():
                is_open = event.state in (StillState.ASKED, StillState.AGREED)
                self.still = event.ask if is_open else ""
            case Moved() | FilesChanged():
                pass
            case _:
                assert_never(event)
        return [Deliver(event, self._present())]

    def apply_signal(self, entry: Entry, event: SignalEvent) -> Member | None:
        """``apply`` for what most entries are: whose the signal is, or None when it does not
        count."""
        self.seq = event.seq
        if self.outcome is not None or not self._is_heard(entry):
            return None
        sender, to = self.members.get(event.sender), self.members.get(event.to)
        if sender is None or to is None or sender.is_out or to.is_out:
            return None
        if event.generation != newer_page(sender, to):
            return None
        to.last_signal_seq = event.seq
        return to

    def _is_heard(self, entry: Entry) -> bool:
        """Drops frames of replaced sockets and frames seen before; counts the others."""
        author = self.members.get(entry.by)
        if author is None or author.socket != entry.socket:
            # An admission is kept outside the room before it comes here, so it stays true.
            return not entry.socket or isinstance(entry.event, _FROM_ANY_SOCKET)
        if entry.cseq:
            if entry.cseq <= author.cseq:
                return False
            author.cseq = entry.cseq
        return True

    def _apply_joined(self, event: Joined, entry: Entry) -> list[Effect]:
        who, socket = event.participant, entry.socket
        if entry.ticket:
            if entry.ticket in self._tickets:
                return []
            self._tickets.add(entry.ticket)
        for pair in [pair for pair in self.proofs if who in pair]:
            del self.proofs[pair]
        is_admitted = self.is_admitted(who, event.role)
        state = ParticipantState.ADMITTED if is_admitted else ParticipantState.WAITING
        self.members[who] = Member(who, event.role, state, generation=event.seq, socket=socket)
        return [
            Dismiss(who, socket, _stop(ByeReason.REPLACED)),
            Trim(who, None, event.seq),
            Deliver(event, self._present(without=who)),
        ]

    def _apply_returned(self, event: Returned, socket: str) -> list[Effect]:
        member = self.members.get(event.participant)
        if member is None or member.is_out:
            return []
        member.come_back(socket)
        return [
            Dismiss(member.participant, socket, None),
            Deliver(event, self._present(without=member.participant)),
        ]

    def _apply_passage(self, event: PassageEvent, entry: Entry) -> list[Effect]:
        """Events that move the one participant they name."""
        if isinstance(event, Admitted):
            self._admitted.add(event.participant)
        member = self.members.get(event.participant)
        hearers = self._present()
        if member is None or not member.move(type(event), entry.at):
            return []
        match event:
            case Gone():
                return self._see_off(event, self._present(), entry.reason or ByeReason.LEFT)
            case TurnedAway():
                return self._see_off(event, hearers, ByeReason.TURNED_AWAY)
            case Away() | Admitted():
                return [Deliver(event, self._present())]
            case _:
                assert_never(event)

    def _see_off(
        self, event: Gone | TurnedAway, hearers: tuple[str, ...], reason: str
    ) -> list[Effect]:
        who = event.participant
        return [
            Deliver(event, hearers),
            Dismiss(who, "", _stop(reason)),
            Trim(who, None, event.seq),
        ]

    def _apply_media(self, event: MediaChanged) -> bool:
        """False when it is so already."""
        member = self.members.get(event.participant)
        wanted = (event.microphone, event.camera, event.screen)
        if member is None or wanted == (member.microphone, member.camera, member.screen):
            return False
        member.microphone, member.camera, member.screen = wanted
        return True

    def _apply_proof(self, event: MediaProven) -> list[Effect]:
        watcher, of = self.members.get(event.participant), self.members.get(event.of)
        if watcher is None or of is None:
            return []
        pair, proof = (event.participant, event.of), (event.audio, event.video)
        if self.proofs.get(pair, (False, False)) == proof:
            return []
        self.proofs[pair] = proof
        effects: list[Effect] = [Deliver(event, self._present())]
        if (event.of, event.participant) in self.proofs:
            for member in (watcher, of):
                member.move(MediaProven)
                member.trimmed_seq = member.last_signal_seq
            effects.append(Trim(event.participant, event.of, event.seq))
        return effects

    def _apply_closed(self, event: Closed) -> list[Effect]:
        self.outcome = event.outcome
        present = self._present()
        effects: list[Effect] = [Deliver(event, present)]
        effects.extend(Dismiss(one, "", _stop(ByeReason.CLOSED)) for one in present)
        effects.extend(Trim(one, None, event.seq) for one in self.members)
        return effects

    def _present(self, without: str = "") -> tuple[str, ...]:
        present = [who for who, member in self.members.items() if member.is_present]
        if without in present:
            present.remove(without)
        return tuple(present)


def is_seen_by(event: RoomEvent, participant: str) -> bool:
    """Signals are for one participant, everything else is for the whole room."""
    return not isinstance(event, Signal) or event.to == participant


def _stop(reason: str) -> Bye:
    return Bye(reason=reason, action=ByeAction.STOP)
