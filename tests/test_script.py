"""The steps of a synthetic patient: each at its time, once, and answers to what was written."""

from __future__ import annotations

import pytest

from recordings.script import (
    Line,
    Player,
    Script,
    ScriptWrong,
    Step,
    StepAct,
    Trigger,
    check_script,
)

GREETING = Step(when=Trigger.ADMITTED, after_seconds=2, act=StepAct.SAY, text="Buongiorno")
LEAVES = Step(when=Trigger.ADMITTED, after_seconds=30, act=StepAct.LEAVE)
PILLS = Step(when=Trigger.HEARD, words=("pastiglie", "farmaci"), act=StepAct.TYPE, text="Due.")
PAIN = Step(when=Trigger.HEARD, words=("dolore",), act=StepAct.TYPE, text="No.", is_repeated=True)
ELSE = Step(when=Trigger.HEARD, act=StepAct.TYPE, text="Come dice?", is_repeated=True)


def player(*steps: Step) -> Player:
    return Player(Script(steps=steps))


def test_steps_come_in_the_order_of_their_times() -> None:
    patient = player(LEAVES, GREETING)

    patient.happened(Trigger.ADMITTED, 100.0)

    assert patient.next_at == 102.0
    assert patient.take_due(101.9) == []
    assert patient.take_due(500.0) == [GREETING, LEAVES]
    assert patient.next_at is None


def test_a_step_is_done_once_however_often_its_moment_comes() -> None:
    patient = player(GREETING)

    for now in (0.0, 10.0):
        patient.happened(Trigger.ADMITTED, now)

    assert patient.take_due(60.0) == [GREETING]


def test_one_message_has_one_answer_the_one_that_knows_a_word_of_it() -> None:
    patient = player(ELSE, PILLS, PAIN)

    patient.happened(Trigger.HEARD, 0.0, "Ha DOLORE quando prende i FARMACI?")

    assert patient.take_due(0.0) == [PILLS]


def test_what_is_repeated_is_answered_again_and_the_rest_by_the_words_for_everything() -> None:
    patient = player(PILLS, PAIN, ELSE)

    for words in ("dolore?", "dolore, ancora?", "quante pastiglie?", "quante pastiglie?"):
        patient.happened(Trigger.HEARD, 0.0, words)

    assert patient.take_due(0.0) == [PAIN, PAIN, PILLS, ELSE]


@pytest.mark.parametrize(
    ("step", "field"),
    [
        (Step(when=Trigger.ADMITTED, act=StepAct.SAY), "steps[1].text"),
        (Step(when=Trigger.HEARD, act=StepAct.TYPE, text="  "), "steps[1].text"),
        (Step(when=Trigger.ADMITTED, words=("a",), act=StepAct.MUTE), "steps[1].words"),
        (Step(when=Trigger.HEARD, words=(" ",), act=StepAct.MUTE), "steps[1].words"),
        (
            Step(when=Trigger.ADMITTED, act=StepAct.LINE, line=Line.BAD, is_repeated=True),
            "steps[1].is_repeated",
        ),
    ],
)
def test_a_wrong_step_is_named(step: Step, field: str) -> None:
    with pytest.raises(ScriptWrong) as refused:
        check_script(Script(steps=(GREETING, step)))

    assert refused.value.field == field
