"""The room as a fold: its transition table, who may do what, and what no interleaving may break.

The last part is a state machine over two visits with one clinician: whatever order people join,
lose their line, leave, are admitted and signal in, nothing crosses rooms and nobody is admitted
whom no clinician admitted.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from signaling.members import TRANSITIONS, Member
from signaling.messages import (
    Admit,
    Admitted,
    Away,
    Bye,
    ByeAction,
    Candidates,
    Closed,
    FilesChanged,
    Gone,
    Late,
    Leave,
    MediaProven,
    Offer,
    ParticipantState,
    ProveMedia,
    Role,
    SetMedia,
    StillChanged,
    StillState,
    TurnAway,
    TurnedAway,
)
from signaling.reasons import Refused
from signaling.room import Deliver, Dismiss, Effect, Room, Trim
from signaling.rules import NumberedFrame, decide, decide_join, decide_loss
from signaling.wire import Event
from tests.roomstage import NOW, SDP, Stage

STATES = {state.value: state for state in ParticipantState}


@pytest.fixture
def stage() -> Stage:
    """Anna waits, Dr Bruno is here."""
    stage = Stage()
    stage.join("anna")
    stage.join("bruno", Role.CLINICIAN)
    return stage


def connect(stage: Stage) -> None:
    stage.send("bruno", Admit, participant="anna")
    stage.send("anna", ProveMedia, of="bruno", audio=True, video=True)
    stage.send("bruno", ProveMedia, of="anna", audio=True, video=False)


def heard(effects: list[Effect]) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (str(effect.event.__struct_config__.tag), effect.to)
        for effect in effects
        if isinstance(effect, Deliver)
    ]


# ---- the table -------------------------------------------------------------------------------

MOVES = """
    waiting     admitted     → admitted
    waiting     turned_away  → turned_away
    waiting     away         → away
    waiting     gone         → gone
    waiting     media_proven → –
    admitted    admitted     → –
    admitted    turned_away  → –
    admitted    away         → away
    admitted    gone         → gone
    admitted    media_proven → connected
    connected   admitted     → –
    connected   turned_away  → –
    connected   away         → away
    connected   gone         → gone
    connected   media_proven → –
    away        turned_away  → turned_away
    away        away         → –
    away        gone         → gone
    gone        admitted     → –
    gone        turned_away  → –
    gone        away         → –
    gone        gone         → –
    gone        media_proven → –
    turned_away admitted     → –
    turned_away turned_away  → –
    turned_away away         → –
    turned_away gone         → –
    turned_away media_proven → –
"""
EVENTS: dict[str, type[Event]] = {
    str(event.__struct_config__.tag): event
    for event in (Admitted, TurnedAway, Away, Gone, MediaProven)
}


@pytest.mark.parametrize("line", MOVES.strip().splitlines())
def test_a_member_moves_as_the_table_says(line: str) -> None:
    before, event, _, after = line.split()
    member = Member("anna", Role.PATIENT, STATES[before], generation=1, socket="s1")

    has_moved = member.move(EVENTS[event], NOW)

    assert has_moved == (after != "–")
    assert member.state == (STATES[after] if has_moved else STATES[before])


def test_the_table_of_the_test_names_every_transition() -> None:
    named = {
        (STATES[before], EVENTS[event]): STATES[after]
        for before, event, _, after in map(str.split, MOVES.strip().splitlines())
        if after != "–"
    }

    assert named == dict(TRANSITIONS)


@pytest.mark.parametrize("before", ["waiting", "admitted", "connected"])
def test_who_returns_is_what_she_was(before: str) -> None:
    member = Member("anna", Role.PATIENT, STATES[before], generation=1, socket="s1")
    member.move(Away, NOW)

    member.come_back("s2")

    assert (member.state, member.socket, member.away_since) == (STATES[before], "s2", None)


def test_who_is_admitted_while_away_returns_admitted() -> None:
    member = Member("anna", Role.PATIENT, ParticipantState.WAITING, generation=1, socket="s1")
    member.move(Away, NOW)

    assert member.move(Admitted)
    assert member.state is ParticipantState.AWAY
    member.come_back("s2")

    assert member.state is ParticipantState.ADMITTED


# ---- entering --------------------------------------------------------------------------------


def test_a_patient_waits_and_a_clinician_does_not(stage: Stage) -> None:
    assert stage.state("anna") is ParticipantState.WAITING
    assert stage.state("bruno") is ParticipantState.ADMITTED


def test_who_was_admitted_before_the_room_was_opened_need_not_wait_again() -> None:
    stage = Stage(Room(admitted=frozenset({"anna"})))

    stage.join("anna")

    assert stage.state("anna") is ParticipantState.ADMITTED


def test_a_new_page_voids_the_connection_and_keeps_the_admission(stage: Stage) -> None:
    connect(stage)
    assert stage.state("anna") is ParticipantState.CONNECTED
    old_generation = stage.pair()

    effects = stage.join("anna")

    assert stage.state("anna") is ParticipantState.ADMITTED
    assert stage.pair() > old_generation
    assert stage.room.proofs == {}
    assert heard(effects) == [("joined", ("bruno",))]


def test_a_newer_page_sends_the_older_one_away_for_good(stage: Stage) -> None:
    effects = stage.join("anna")

    bye = Bye(reason="replaced", action=ByeAction.STOP)
    assert Dismiss("anna", stage.sockets["anna"], bye) in effects


def test_what_a_replaced_socket_still_sends_is_not_heard(stage: Stage) -> None:
    old_socket = stage.sockets["anna"]
    stage.join("anna")

    effects = stage.append(Away(participant="anna"), "anna", old_socket)

    assert effects == []
    assert stage.state("anna") is ParticipantState.WAITING
    assert decide_loss(stage.room, "anna", old_socket) is None


# ---- the clinician's door ----------------------------------------------------------------------


def refusal(stage: Stage, who: str, make: type[NumberedFrame], **fields: object) -> str:
    with pytest.raises(Refused) as refused:
        stage.send(who, make, **fields)
    return refused.value.code


def test_a_clinician_admits_one_waiting_participant(stage: Stage) -> None:
    effects = stage.send("bruno", Admit, participant="anna")

    assert stage.state("anna") is ParticipantState.ADMITTED
    assert heard(effects) == [("admitted", ("anna", "bruno"))]


def test_a_patient_cannot_admit_or_turn_away_herself_or_another(stage: Stage) -> None:
    stage.join("carla")

    assert refusal(stage, "anna", Admit, participant="anna") == "not_allowed"
    assert refusal(stage, "anna", Admit, participant="carla") == "not_allowed"
    assert refusal(stage, "anna", TurnAway, participant="carla") == "not_allowed"


def test_only_who_waits_can_be_admitted(stage: Stage) -> None:
    assert refusal(stage, "bruno", Admit, participant="nobody") == "not_waiting"
    stage.lose("anna")
    assert refusal(stage, "bruno", Admit, participant="anna") == "not_waiting"
    stage.come_back("anna")
    stage.send("bruno", Admit, participant="anna")
    assert refusal(stage, "bruno", Admit, participant="anna") == "not_waiting"
    assert refusal(stage, "bruno", TurnAway, participant="anna") == "not_waiting"


def test_who_is_turned_away_hears_it_and_then_goodbye(stage: Stage) -> None:
    effects = stage.send("bruno", TurnAway, participant="anna")

    assert heard(effects) == [("turned_away", ("anna", "bruno"))]
    assert Dismiss("anna", "", Bye(reason="turned_away", action=ByeAction.STOP)) in effects
    assert not stage.room.may_return(
        "anna", stage.see("anna").generation, stage.room.seq, NOW.timestamp()
    )


def test_an_admission_kept_while_the_clinicians_socket_changed_still_counts(stage: Stage) -> None:
    old_socket = stage.sockets["bruno"]
    stage.come_back("bruno")

    stage.append(Admitted(participant="anna"), "bruno", old_socket, 1)

    assert stage.state("anna") is ParticipantState.ADMITTED
    assert stage.room.members["bruno"].cseq == 0


# ---- signals -----------------------------------------------------------------------------------


def test_a_waiting_patient_and_the_clinician_signal_to_each_other(stage: Stage) -> None:
    there = stage.send("bruno", Offer, to="anna", generation=stage.pair(), payload=SDP)
    back = stage.send("anna", Candidates, to="bruno", generation=stage.pair(), payload=SDP)

    assert heard(there) == [("offer", ("anna",))]
    assert heard(back) == [("candidates", ("bruno",))]


def test_signals_of_an_older_connection_are_dropped_without_a_word(stage: Stage) -> None:
    old_generation = stage.pair()
    stage.join("anna")

    assert stage.send("bruno", Offer, to="anna", generation=old_generation, payload=SDP) == []


def test_a_signal_overtaken_by_a_new_page_in_the_log_is_dropped(stage: Stage) -> None:
    frame = Offer(cseq=1, to="anna", generation=stage.pair(), payload=SDP)
    event = decide(stage.room, "bruno", frame)
    assert event is not None
    stage.join("anna")

    assert stage.append(event, "bruno", stage.sockets["bruno"], 1) == []


def test_patients_do_not_signal_to_each_other_nor_anybody_to_strangers(stage: Stage) -> None:
    stage.join("carla")
    some = {"generation": stage.pair(), "payload": SDP}

    assert refusal(stage, "anna", Offer, to="carla", **some) == "not_allowed"
    assert refusal(stage, "anna", Offer, to="anna", **some) == "not_allowed"
    assert refusal(stage, "anna", Offer, to="stranger", **some) == "not_present"
    stage.send("bruno", Leave)
    assert refusal(stage, "anna", Offer, to="bruno", **some) == "not_present"


def test_a_signal_to_somebody_away_waits_in_the_log(stage: Stage) -> None:
    stage.lose("anna")

    effects = stage.send("bruno", Offer, to="anna", generation=stage.pair(), payload=SDP)

    assert effects == [Deliver(effects[0].event, ())]  # type: ignore[union-attr]


# ---- frames seen before ------------------------------------------------------------------------


def test_a_frame_sent_again_after_a_resume_is_applied_once(stage: Stage) -> None:
    frame = Candidates(cseq=1, to="anna", generation=stage.pair(), payload=SDP)
    event = decide(stage.room, "bruno", frame)
    assert event is not None

    first = stage.append(event, "bruno", stage.sockets["bruno"], 1)
    again = stage.append(event, "bruno", stage.sockets["bruno"], 1)

    assert (len(first), again) == (1, [])


def test_a_new_page_counts_its_frames_from_the_start(stage: Stage) -> None:
    stage.send("anna", SetMedia, microphone=True, camera=True)
    assert stage.room.members["anna"].cseq == 1

    stage.join("anna")

    assert stage.room.members["anna"].cseq == 0


# ---- media -------------------------------------------------------------------------------------


def test_connected_means_media_proven_in_both_directions(stage: Stage) -> None:
    stage.send("bruno", Admit, participant="anna")
    stage.send("anna", ProveMedia, of="bruno", audio=True, video=False)
    assert stage.state("anna") is stage.state("bruno") is ParticipantState.ADMITTED

    effects = stage.send("bruno", ProveMedia, of="anna", audio=False, video=True)

    assert stage.state("anna") is stage.state("bruno") is ParticipantState.CONNECTED
    assert Trim("bruno", "anna", stage.room.seq) in effects


def test_a_proof_that_adds_nothing_is_not_logged(stage: Stage) -> None:
    stage.send("bruno", Admit, participant="anna")
    stage.send("anna", ProveMedia, of="bruno", audio=True, video=False)

    assert stage.send("anna", ProveMedia, of="bruno", audio=True, video=False) == []
    effects = stage.send("anna", ProveMedia, of="bruno", audio=False, video=True)

    assert isinstance(effects[0], Deliver)
    proven = effects[0].event
    assert isinstance(proven, MediaProven)
    assert (proven.audio, proven.video) == (True, True)


def test_nothing_is_proven_with_who_is_not_admitted(stage: Stage) -> None:
    proof = {"audio": True, "video": True}

    assert refusal(stage, "anna", ProveMedia, of="bruno", **proof) == "not_admitted"
    assert refusal(stage, "bruno", ProveMedia, of="anna", **proof) == "not_admitted"
    assert refusal(stage, "bruno", ProveMedia, of="bruno", **proof) == "not_present"


def test_media_flags_are_shown_and_told_once(stage: Stage) -> None:
    effects = stage.send("anna", SetMedia, microphone=True, camera=False)
    again = stage.send("anna", SetMedia, microphone=True, camera=False)

    assert heard(effects) == [("media_changed", ("anna", "bruno"))]
    assert again == []
    assert stage.see("anna").microphone


# ---- coming back -------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "is_good"), [(0, True), (120, True), (121, False)])
def test_the_same_page_may_return_for_two_minutes(
    stage: Stage, seconds: int, is_good: bool
) -> None:
    page, seq = stage.see("anna").generation, stage.room.seq
    stage.lose("anna")

    assert (
        stage.room.may_return("anna", page, seq, (NOW + timedelta(seconds=seconds)).timestamp())
        == is_good
    )


def test_a_page_may_return_before_its_loss_was_noticed(stage: Stage) -> None:
    page = stage.see("anna").generation

    assert stage.room.may_return(
        "anna", page, stage.room.seq, (NOW + timedelta(hours=1)).timestamp()
    )
    effects = stage.come_back("anna")

    assert Dismiss("anna", stage.sockets["anna"], None) in effects
    assert stage.state("anna") is ParticipantState.WAITING


def test_neither_a_replaced_page_nor_one_from_the_future_returns(stage: Stage) -> None:
    page = stage.see("anna").generation
    assert not stage.room.may_return("anna", page, stage.room.seq + 1, NOW.timestamp())

    stage.join("anna")

    assert not stage.room.may_return("anna", page, stage.room.seq, NOW.timestamp())


def test_who_left_or_was_made_to_leave_does_not_return(stage: Stage) -> None:
    left = stage.send("anna", Leave)
    made = stage.append(Gone(participant="bruno"), reason="revoked")

    assert Dismiss("anna", "", Bye(reason="left", action=ByeAction.STOP)) in left
    assert Dismiss("bruno", "", Bye(reason="revoked", action=ByeAction.STOP)) in made
    for who in ("anna", "bruno"):
        page = stage.see(who).generation
        assert not stage.room.may_return(who, page, stage.room.seq, NOW.timestamp())
        assert stage.come_back(who) == []


def test_who_lacks_signals_that_were_trimmed_joins_afresh(stage: Stage) -> None:
    page, seq = stage.see("anna").generation, stage.room.seq
    stage.send("bruno", Offer, to="anna", generation=stage.pair(), payload=SDP)
    assert stage.room.may_return("anna", page, seq, NOW.timestamp())

    connect(stage)

    assert not stage.room.may_return("anna", page, seq, NOW.timestamp())
    assert stage.room.may_return("anna", page, seq + 1, NOW.timestamp())


# ---- the end -----------------------------------------------------------------------------------


def test_after_closed_nothing_happens(stage: Stage) -> None:
    effects = stage.append(Closed(outcome="completed"))

    assert heard(effects) == [("closed", ("anna", "bruno"))]
    assert {effect.participant for effect in effects if isinstance(effect, Dismiss)} == {
        "anna",
        "bruno",
    }
    assert stage.append(Late(minutes=5)) == []
    assert refusal(stage, "anna", Leave) == "closed"
    assert decide_loss(stage.room, "anna", stage.sockets["anna"]) is None
    with pytest.raises(Refused):
        decide_join(stage.room, "anna", Role.PATIENT)


def test_late_is_kept_for_who_comes_later(stage: Stage) -> None:
    stage.append(Late(minutes=15))

    assert stage.room.late_minutes == 15


@pytest.mark.parametrize(
    ("states", "open_ask"),
    [
        ((StillState.ASKED,), "ask"),
        ((StillState.ASKED, StillState.AGREED), "ask"),
        ((StillState.ASKED, StillState.REFUSED), ""),
        ((StillState.ASKED, StillState.AGREED, StillState.TAKEN), ""),
    ],
)
def test_an_ask_for_a_photo_is_kept_until_it_is_answered(
    stage: Stage, states: tuple[StillState, ...], open_ask: str
) -> None:
    effects = [stage.append(StillChanged(ask="ask", state=state)) for state in states]

    assert stage.room.still == open_ask
    assert heard(effects[-1]) == [("still_changed", ("anna", "bruno"))]


def test_everybody_hears_that_the_files_have_changed(stage: Stage) -> None:
    assert heard(stage.append(FilesChanged())) == [("files_changed", ("anna", "bruno"))]


# ---- any order ---------------------------------------------------------------------------------

PEOPLE = ["anna", "carla", "bruno"]
ROOMS = ["morning", "noon"]


class TwoVisits(RuleBasedStateMachine):
    """Two visits of one clinician; the patient of each is turned up in both by mistake, too."""

    @initialize()
    def open(self) -> None:
        self.stages = {name: Stage() for name in ROOMS}
        self.admitted: dict[str, set[str]] = {name: set() for name in ROOMS}

    def check(self, name: str, effects: list[Effect], sent: tuple[str, str] | None = None) -> None:
        stage = self.stages[name]
        for effect in effects:
            if isinstance(effect, Deliver):
                assert set(effect.to) <= set(stage.room.members)
                assert not sent or effect.to in ((sent[1],), ())
        if sent and effects:
            assert stage.room.members[sent[0]].role is not stage.room.members[sent[1]].role

    @rule(name=st.sampled_from(ROOMS), who=st.sampled_from(PEOPLE))
    def join(self, name: str, who: str) -> None:
        role = Role.CLINICIAN if who == "bruno" else Role.PATIENT
        self.check(name, self.stages[name].join(who, role))

    @rule(name=st.sampled_from(ROOMS), who=st.sampled_from(PEOPLE))
    def lose(self, name: str, who: str) -> None:
        if who in self.stages[name].sockets:
            self.check(name, self.stages[name].lose(who))

    @rule(name=st.sampled_from(ROOMS), who=st.sampled_from(PEOPLE))
    def come_back(self, name: str, who: str) -> None:
        if who in self.stages[name].sockets:
            self.check(name, self.stages[name].come_back(who))

    def act(self, name: str, who: str, make: type[NumberedFrame], **fields: object) -> bool:
        stage = self.stages[name]
        if who not in stage.sockets:
            return False
        sent = (who, str(fields["to"])) if "to" in fields else None
        try:
            self.check(name, stage.send(who, make, **fields), sent)
        except Refused:
            return False
        return True

    @rule(name=st.sampled_from(ROOMS), by=st.sampled_from(PEOPLE), whom=st.sampled_from(PEOPLE))
    def admit(self, name: str, by: str, whom: str) -> None:
        if self.act(name, by, Admit, participant=whom):
            assert by == "bruno"
            self.admitted[name].add(whom)

    @rule(name=st.sampled_from(ROOMS), by=st.sampled_from(PEOPLE), whom=st.sampled_from(PEOPLE))
    def turn_away(self, name: str, by: str, whom: str) -> None:
        if self.act(name, by, TurnAway, participant=whom):
            assert by == "bruno"

    @rule(name=st.sampled_from(ROOMS), who=st.sampled_from(PEOPLE))
    def leave(self, name: str, who: str) -> None:
        self.act(name, who, Leave)

    @rule(
        name=st.sampled_from(ROOMS),
        who=st.sampled_from(PEOPLE),
        to=st.sampled_from(PEOPLE),
        back=st.integers(0, 2),
        make=st.sampled_from([Offer, Candidates]),
    )
    def signal(
        self, name: str, who: str, to: str, back: int, make: type[Offer | Candidates]
    ) -> None:
        members = self.stages[name].room.members
        pair = max(
            (m.generation for m in members.values() if m.participant in (who, to)), default=0
        )
        self.act(name, who, make, to=to, generation=max(pair - back, 0), payload=SDP)

    @rule(name=st.sampled_from(ROOMS), who=st.sampled_from(PEOPLE), of=st.sampled_from(PEOPLE))
    def prove(self, name: str, who: str, of: str) -> None:
        self.act(name, who, ProveMedia, of=of, audio=True, video=True)

    @invariant()
    def nobody_is_admitted_by_other_means(self) -> None:
        for name, stage in self.stages.items():
            for one in stage.room.snapshot():
                if one.state in (ParticipantState.ADMITTED, ParticipantState.CONNECTED):
                    is_let_in = one.participant in self.admitted[name]
                    assert one.role is Role.CLINICIAN or is_let_in

    @invariant()
    def a_connection_has_two_admitted_ends(self) -> None:
        for name, stage in self.stages.items():
            for pair in stage.room.proofs:
                assert all(who == "bruno" or who in self.admitted[name] for who in pair)


TestTwoVisits = TwoVisits.TestCase
TestTwoVisits.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
