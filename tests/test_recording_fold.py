"""Consent to a recording as a fold: its table, and that no order of events keeps a frame of a room
in which somebody has not agreed. The same fold is the recorder's gate."""

from __future__ import annotations

import pytest

from signaling.messages import (
    Closed,
    Gone,
    Joined,
    Offer,
    ParticipantState,
    ProveMedia,
    Role,
    RoomEvent,
)
from signaling.reasons import Refused
from signaling.recording import Recording
from signaling.recordingevents import (
    RecordingAnswered,
    RecordingAsked,
    RecordingFailed,
    RecordingResumed,
    RecordingState,
    RecordingStopped,
)
from tests.recordingorders import drive
from tests.roomstage import SDP, Stage

ASK = "r1"
DOCTOR, ANNA, TAPE = "clinician", "patient", "recorder"
ORDERS = 1000


def asked(ask: str = ASK, by: str = DOCTOR) -> RecordingAsked:
    return RecordingAsked(ask=ask, participant=by, purpose="care", text_version="1", text_hash="h")


def said(accepted: bool, who: str = ANNA, ask: str = ASK) -> RecordingAnswered:
    return RecordingAnswered(ask=ask, participant=who, accepted=accepted)


def joined(who: str, role: Role = Role.PATIENT) -> Joined:
    return Joined(participant=who, role=role, state=ParticipantState.ADMITTED)


GONE, BACK = Gone(participant=ANNA), joined(ANNA)
FAILED, RESUMED = RecordingFailed(ask=ASK, reason="disk_full"), RecordingResumed(ask=ASK)
STOPPED = RecordingStopped(ask=ASK, participant=ANNA)
YES, NO = said(accepted=True), said(accepted=False)
Table = list[tuple[list[RoomEvent], RecordingState]]
TABLE: Table = [
    ([], RecordingState.OFF),
    ([YES], RecordingState.OFF),
    ([asked()], RecordingState.ASKED),
    ([asked(by="nobody")], RecordingState.OFF),
    ([asked(), NO], RecordingState.OFF),
    ([asked(), said(accepted=True, ask="r0")], RecordingState.ASKED),
    ([asked(), YES], RecordingState.ON),
    ([asked(), YES, asked("r2")], RecordingState.ASKED),
    ([asked(), YES, NO], RecordingState.OFF),
    ([asked(), YES, STOPPED], RecordingState.OFF),
    ([asked(), YES, STOPPED, YES], RecordingState.OFF),
    ([asked(), YES, Closed(outcome="completed")], RecordingState.OFF),
    ([asked(), YES, BACK], RecordingState.ON),
    ([asked(), YES, joined(TAPE, Role.RECORDER)], RecordingState.ON),
    ([asked(), YES, joined("carer")], RecordingState.PAUSED),
    ([asked(), YES, joined("carer"), said(accepted=True, who="carer")], RecordingState.ON),
    ([asked(), YES, joined("carer"), said(accepted=False, who="carer")], RecordingState.OFF),
    ([asked(), YES, GONE], RecordingState.PAUSED),
    ([asked(), YES, GONE, BACK], RecordingState.PAUSED),
    ([asked(), YES, GONE, YES, BACK], RecordingState.PAUSED),
    ([asked(), YES, GONE, BACK, YES], RecordingState.ON),
    ([asked(), GONE], RecordingState.ASKED),
    ([asked(), YES, GONE, Gone(participant=DOCTOR)], RecordingState.OFF),
    ([asked(), YES, FAILED], RecordingState.FAILED),
    ([asked(), YES, FAILED, RESUMED], RecordingState.ON),
    ([asked(), YES, FAILED, GONE, BACK, RESUMED], RecordingState.PAUSED),
    ([asked(), YES, FAILED, STOPPED], RecordingState.OFF),
    ([asked(), YES, FAILED, STOPPED, RESUMED], RecordingState.OFF),
]


@pytest.fixture
def stage() -> Stage:
    """Anna was admitted, her doctor and a recorder are here."""
    stage = Stage()
    stage.join(DOCTOR, Role.CLINICIAN)
    stage.room.is_admitted(ANNA, Role.PATIENT)
    stage.join(ANNA)
    stage.join(TAPE, Role.RECORDER)
    return stage


@pytest.mark.parametrize(("events", "state"), TABLE)
def test_the_table(events: list[RoomEvent], state: RecordingState) -> None:
    fold = Recording()
    for event in [joined(DOCTOR, Role.CLINICIAN), joined(ANNA), *events]:
        fold.apply(event)

    assert fold.state is state
    assert fold.may_keep(ASK, ANNA) is (state is RecordingState.ON)


def test_a_frame_of_another_ask_or_of_somebody_who_is_not_here_is_not_kept() -> None:
    fold = Recording()
    for event in (joined(DOCTOR, Role.CLINICIAN), joined(ANNA), asked(), YES):
        fold.apply(event)

    assert fold.may_keep(ASK, ANNA)
    assert not fold.may_keep("r0", ANNA)
    assert not fold.may_keep("", ANNA)
    assert not fold.may_keep(ASK, TAPE)


def test_the_recorder_is_nobody(stage: Stage) -> None:
    assert stage.state(TAPE) is ParticipantState.ADMITTED
    for who in (ANNA, DOCTOR):
        stage.append(Gone(participant=who))

    assert stage.room.is_deserted
    for frame in (ProveMedia(cseq=1, of=DOCTOR, audio=True, video=True),):
        with pytest.raises(Refused):
            stage.send(TAPE, type(frame), of=DOCTOR, audio=True, video=True)


def test_only_who_has_agreed_connects_with_the_recorder(stage: Stage) -> None:
    def offer(who: str, to: str) -> bool:
        generation = max(stage.see(one).generation for one in (who, to))
        return bool(stage.send(who, Offer, to=to, generation=generation, payload=SDP))

    assert not offer(ANNA, TAPE)
    stage.append(asked())

    assert offer(DOCTOR, TAPE)
    assert offer(TAPE, DOCTOR)
    assert not offer(ANNA, TAPE)
    assert not offer(TAPE, ANNA)
    stage.append(YES)
    assert offer(ANNA, TAPE)
    stage.append(STOPPED)
    assert not offer(ANNA, TAPE)


def test_only_what_counts_is_heard(stage: Stage) -> None:
    assert not stage.append(YES)
    assert stage.append(asked())
    assert not stage.append(said(accepted=True, who="nobody"))
    assert stage.append(YES)
    assert not stage.append(YES)
    assert not stage.append(RESUMED)


def test_no_order_keeps_a_frame_outside_consent() -> None:
    kept = sum(drive(seed) for seed in range(ORDERS))

    assert kept > ORDERS
