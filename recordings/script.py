"""What a synthetic patient does and when: the steps of a scenario, and who is next.

Pure: no clock, no media. The bot tells what happened (:meth:`Player.happened`) and asks what is
to be done (:meth:`Player.take_due`). The files of scenarios are ``server/training/scenarios``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

MOST_STEPS: Final = 40
LONGEST_SECONDS: Final = 1800.0
LONGEST_TEXT: Final = 300


class Trigger(StrEnum):
    """What a step waits for; ``after_seconds`` count from there."""

    WAITING = "waiting"
    """She is in the waiting room."""
    ADMITTED = "admitted"
    HEARD = "heard"
    """The clinician has written one of the step's words in the chat; without words: anything."""
    RECORDING_ASKED = "recording_asked"
    RECORDING_ON = "recording_on"
    RETURNED = "returned"
    """She has come back after a step ``leave``."""


class StepAct(StrEnum):
    """What she does."""

    SAY = "say"
    """With her voice."""
    TYPE = "type"
    """In the chat."""
    MUTE = "mute"
    UNMUTE = "unmute"
    CAMERA_OFF = "camera_off"
    CAMERA_ON = "camera_on"
    LINE = "line"
    """Her line becomes as ``line`` says."""
    LEAVE = "leave"
    """She is gone without a word, as when a line dies."""
    COME_BACK = "come_back"
    ACCEPT_RECORDING = "accept_recording"
    REFUSE_RECORDING = "refuse_recording"
    STOP_RECORDING = "stop_recording"


class Line(StrEnum):
    """How her packets arrive."""

    GOOD = "good"
    WEAK = "weak"
    """Some packets are lost and late: the picture suffers."""
    BAD = "bad"
    """Most are lost: the voice suffers too."""


class Face(StrEnum):
    """Which figure is drawn."""

    WOMAN = "woman"
    MAN = "man"
    COUPLE = "couple"
    """The patient and who helps her."""


_WITH_TEXT: Final = frozenset({StepAct.SAY, StepAct.TYPE})

Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_SECONDS)]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One act. A step is done once, unless ``is_repeated``."""

    when: Trigger
    after_seconds: Seconds = 0
    words: tuple[Text, ...] = ()
    act: StepAct
    text: Text = ""
    line: Line = Line.GOOD
    is_repeated: bool = False


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One patient. ``companions`` is what she answers at check-in about who is with her; empty:
    alone. She claims the link ``arrives_after_seconds`` after the beginning."""

    face: Face = Face.WOMAN
    has_camera: bool = True
    companions: Text = ""
    arrives_after_seconds: Seconds = 0
    line: Line = Line.GOOD
    steps: Annotated[tuple[Step, ...], msgspec.Meta(max_length=MOST_STEPS)] = ()


class ScriptWrong(ValueError):
    """``field`` as a path of the file: ``steps[2].text``; ``problem`` a stable word."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def check_script(script: Script) -> None:
    """What the types do not say.

    :raises ScriptWrong: the first field that is wrong.
    """
    for number, step in enumerate(script.steps):
        here = f"steps[{number}]"
        if step.act in _WITH_TEXT and not step.text.strip():
            raise ScriptWrong(f"{here}.text", "missing")
        if step.words and step.when is not Trigger.HEARD:
            raise ScriptWrong(f"{here}.words", "only_with_heard")
        if any(not word.strip() for word in step.words):
            raise ScriptWrong(f"{here}.words", "empty_word")
        if step.is_repeated and step.when is not Trigger.HEARD:
            raise ScriptWrong(f"{here}.is_repeated", "only_with_heard")


class Player:
    """The run of one script. Times are seconds of one clock, whichever."""

    def __init__(self, script: Script) -> None:
        self._waiting = list(script.steps)
        self._due: list[tuple[float, int, Step]] = []
        self._count = 0

    def happened(self, trigger: Trigger, now: float, text: str = "") -> None:
        """What she notices; ``text`` are the words of a chat message. One message is answered by
        the first step that knows a word of it, or else by those without words."""
        steps = [step for step in self._waiting if step.when is trigger]
        if trigger is Trigger.HEARD:
            steps = _answers(steps, text)
        for step in steps:
            if not step.is_repeated:
                self._waiting.remove(step)
            self._due.append((now + step.after_seconds, self._count, step))
            self._count += 1
        self._due.sort(key=lambda due: due[:2])

    def take_due(self, now: float) -> list[Step]:
        """The steps whose time has come, in their order; each is handed out once."""
        ripe = [step for at, _, step in self._due if at <= now]
        self._due = self._due[len(ripe) :]
        return ripe

    @property
    def next_at(self) -> float | None:
        """When to ask again; None: nothing waits for its time."""
        return self._due[0][0] if self._due else None


def _answers(steps: list[Step], text: str) -> list[Step]:
    said = text.casefold()
    for step in steps:
        if any(word.casefold() in said for word in step.words):
            return [step]
    return [step for step in steps if not step.words][:1]
