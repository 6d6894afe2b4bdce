"""May this participant do this now? Asked before an append; the fold has the last word.

Pure functions over a ``Room``. Each returns the event to append, None when there is nothing to
append, or raises ``Refused``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from signaling.members import Member, newer_page
from signaling.messages import (
    SIGNAL_FRAMES,
    Admit,
    Admitted,
    Answer,
    AnswerEvent,
    Away,
    Candidates,
    CandidatesEvent,
    ClientMessage,
    Gone,
    Joined,
    Leave,
    MediaChanged,
    MediaProven,
    Offer,
    OfferEvent,
    ParticipantState,
    ProveMedia,
    Role,
    RoomEvent,
    SetMedia,
    TurnAway,
    TurnedAway,
)
from signaling.reasons import RefusalCode, Refused
from signaling.room import Room, SignalEvent

_SIGNAL_EVENTS: Final[Mapping[type[ClientMessage], type[SignalEvent]]] = {
    Candidates: CandidatesEvent,
    Offer: OfferEvent,
    Answer: AnswerEvent,
}

SignalFrame = Candidates | Offer | Answer
NumberedFrame = SignalFrame | SetMedia | ProveMedia | Admit | TurnAway | Leave


def decide_join(room: Room, participant: str, role: Role) -> Joined:
    """The event of a new page; a clinician and who was admitted before need not wait."""
    if room.outcome is not None:
        raise Refused(RefusalCode.CLOSED)
    is_admitted = room.is_admitted(participant, role)
    state = ParticipantState.ADMITTED if is_admitted else ParticipantState.WAITING
    return Joined(participant=participant, role=role, state=state)


def decide_loss(room: Room, participant: str, socket: str) -> Away | None:
    """The event of a lost socket; None when it is not the newest or has said goodbye."""
    is_loss = room.outcome is None and room.is_current(participant, socket)
    return Away(participant=participant) if is_loss else None


def decide(room: Room, participant: str, frame: NumberedFrame) -> RoomEvent | None:
    """The event of a client's frame; None for a stale signal. Whether something is so already
    the fold sees: what this client said before may still be on its way to the log."""
    if isinstance(frame, SIGNAL_FRAMES):
        return decide_signal(room, participant, frame)
    sender = _find_sender(room, participant)
    match frame:
        case SetMedia():
            return _decide_media(sender, frame)
        case ProveMedia():
            return _decide_proof(room, sender, frame)
        case Admit():
            _check_door(room, sender, frame.participant)
            return Admitted(participant=frame.participant)
        case TurnAway():
            _check_door(room, sender, frame.participant)
            return TurnedAway(participant=frame.participant)
        case Leave():
            return Gone(participant=participant)
        case _:
            assert_never(frame)


def decide_signal(room: Room, participant: str, frame: SignalFrame) -> SignalEvent | None:
    """Signals pass between a patient and a clinician, waiting or not: the two connect before
    the admission; and between a recorder and who has agreed to the recording. To somebody who is
    away they wait in the log."""
    sender = _find_sender(room, participant)
    to = room.members.get(frame.to)
    if to is None or to.is_out:
        raise Refused(RefusalCode.NOT_PRESENT)
    if to.role is sender.role:
        raise Refused(RefusalCode.NOT_ALLOWED)
    generation = newer_page(sender, to)
    if frame.generation != generation or not _may_connect(room, sender, to):
        return None
    return _SIGNAL_EVENTS[type(frame)](
        sender=participant, to=frame.to, generation=generation, payload=frame.payload
    )


def _may_connect(room: Room, one: Member, other: Member) -> bool:
    """False for a connection to the recorder of somebody who has not agreed, or no longer."""
    if Role.RECORDER not in (one.role, other.role):
        return True
    human = other if one.role is Role.RECORDER else one
    return room.recording.has_agreed(human.participant)


def _find_sender(room: Room, participant: str) -> Member:
    if room.outcome is not None:
        raise Refused(RefusalCode.CLOSED)
    sender = room.members.get(participant)
    if sender is None or not sender.is_present:
        raise Refused(RefusalCode.NOT_ALLOWED)
    return sender


def _decide_media(sender: Member, frame: SetMedia) -> MediaChanged:
    return MediaChanged(
        participant=sender.participant,
        microphone=frame.microphone,
        camera=frame.camera,
        screen=frame.screen,
    )


def _decide_proof(room: Room, sender: Member, frame: ProveMedia) -> MediaProven:
    of = room.members.get(frame.of)
    if of is None or of.is_out or of is sender:
        raise Refused(RefusalCode.NOT_PRESENT)
    if Role.RECORDER in (sender.role, of.role):
        raise Refused(RefusalCode.NOT_ALLOWED)
    if not all(room.is_admitted(one.participant, one.role) for one in (sender, of)):
        raise Refused(RefusalCode.NOT_ADMITTED)
    known_audio, known_video = room.proofs.get((sender.participant, frame.of), (False, False))
    audio, video = frame.audio or known_audio, frame.video or known_video
    return MediaProven(participant=sender.participant, of=frame.of, audio=audio, video=video)


def _check_door(room: Room, sender: Member, participant: str) -> None:
    if sender.role is not Role.CLINICIAN:
        raise Refused(RefusalCode.NOT_ALLOWED)
    member = room.members.get(participant)
    if member is None or member.state is not ParticipantState.WAITING:
        raise Refused(RefusalCode.NOT_WAITING)
