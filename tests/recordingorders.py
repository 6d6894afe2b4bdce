"""Random orders of joining, leaving, asking, agreeing, stopping and failing, and a model of who
has agreed that knows nothing of how the fold works. Between any two events a frame of everybody
comes to the gate of the recorder: what it lets through must be covered by the model."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from signaling.messages import Admitted, Closed, Gone, Role, Welcome
from signaling.reasons import Refused
from signaling.recording import Recording
from signaling.recordingevents import (
    RecordingAnswered,
    RecordingAsked,
    RecordingFailed,
    RecordingResumed,
    RecordingStopped,
)
from signaling.room import Deliver, Effect
from tests.roomstage import Stage

DOCTOR, RECORDER = "clinician", "recorder"
PEOPLE = ("patient", "clinician", "carer")
ASKS = ("r1", "r2")
STEPS = 40


@dataclass
class Model:
    """The facts of consent, as a person would keep them on paper."""

    here: set[str] = field(default_factory=set)
    asked: str = ""
    yes: set[str] = field(default_factory=set)

    def is_covered(self, ask: str, who: str) -> bool:
        return ask == self.asked != "" and who in self.here and self.here <= self.yes

    def leave(self, who: str) -> None:
        self.here.discard(who)
        self.yes.discard(who)
        if not self.here:
            self.end()

    def end(self) -> None:
        self.asked, self.yes = "", set()


class Run:
    """One room, the recorder's own fold of what it hears, and the model."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.stage = Stage()
        self.model = Model()
        self.gate = Recording()
        self.kept = 0

    def hear(self, effects: list[Effect]) -> None:
        """What the room sends to the recorder."""
        for effect in effects:
            if isinstance(effect, Deliver) and RECORDER in effect.to:
                self.gate.apply(effect.event)

    def seat_recorder(self) -> None:
        """It joins, or joins again after its death: it knows what ``welcome`` shows."""
        self.hear(self.stage.join(RECORDER, Role.RECORDER))
        room = self.stage.room
        self.gate = Recording.of(
            Welcome(
                version=1, epoch="e", seq=room.seq, cseq=0, you=RECORDER, role=Role.RECORDER,
                polite=False, participants=room.snapshot(), resumed=False, resume="",
                late_minutes=0, still="", recording=room.recording.shown(), outcome=None,
                ice_servers=[], relay_until_admitted=False, relay_always=False,
            )
        )  # fmt: skip

    def step(self) -> None:
        who, ask = self.chance.choice(PEOPLE), self.chance.choice(ASKS)
        acts = (
            [self.join] * 4 + [self.ask] * 2 + [self.answer] * 8 + [self.leave] * 2
            + [self.lose] * 2 + [self.stop, self.fail, self.resume, self.restart, self.refuse]
        )  # fmt: skip
        self.chance.choice(acts)(who, ask)

    def join(self, who: str, ask: str) -> None:
        role = Role.CLINICIAN if who == DOCTOR else Role.PATIENT
        self.hear(self.stage.append(Admitted(participant=who)))
        try:
            self.hear(self.stage.join(who, role))
        except Refused:
            return
        self.model.here.add(who)

    def leave(self, who: str, ask: str) -> None:
        effects = self.stage.append(Gone(participant=who))
        self.hear(effects)
        if effects:
            self.model.leave(who)

    def lose(self, who: str, ask: str) -> None:
        """The line; who is away is still somebody who must have agreed."""
        if who in self.stage.sockets:
            self.hear(self.stage.lose(who))

    def ask(self, who: str, ask: str) -> None:
        event = RecordingAsked(
            ask=ask, participant=who, purpose="care", text_version="1", text_hash="h"
        )
        self.hear(self.stage.append(event))
        self.model.end()
        if who in self.model.here:
            self.model.asked, self.model.yes = ask, {who}

    def answer(self, who: str, ask: str) -> None:
        event = RecordingAnswered(ask=ask, participant=who, accepted=True)
        self.hear(self.stage.append(event))
        if ask == self.model.asked and who in self.model.here:
            self.model.yes.add(who)

    def refuse(self, who: str, ask: str) -> None:
        event = RecordingAnswered(ask=ask, participant=who, accepted=False)
        self.hear(self.stage.append(event))
        if ask == self.model.asked:
            self.model.end()

    def stop(self, who: str, ask: str) -> None:
        self.hear(self.stage.append(RecordingStopped(ask=ask, participant=who)))
        if ask == self.model.asked:
            self.model.end()

    def fail(self, who: str, ask: str) -> None:
        self.hear(self.stage.append(RecordingFailed(ask=ask, reason="disk_full")))

    def resume(self, who: str, ask: str) -> None:
        self.hear(self.stage.append(RecordingResumed(ask=ask)))

    def restart(self, who: str, ask: str) -> None:
        self.seat_recorder()

    def send_frames(self) -> None:
        """Everybody's frame for every ask, of people who are not here, too."""
        for ask in ASKS:
            for who in (*PEOPLE, RECORDER):
                if self.gate.may_keep(ask, who):
                    assert self.model.is_covered(ask, who)
                    assert len(self.model.here) > 1
                    self.kept += 1


def drive(seed: int) -> int:
    """One order; how many frames were kept."""
    run = Run(seed)
    for who in PEOPLE[:2]:
        run.join(who, "")
    run.seat_recorder()
    for _ in range(STEPS):
        run.step()
        run.send_frames()
    run.hear(run.stage.append(Closed(outcome="completed")))
    run.model.end()
    run.send_frames()
    return run.kept
