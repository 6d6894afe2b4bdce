"""The form of a scenario: its fields are named as in the files, its steps are numbered rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from multidict import MultiDictProxy

from recordings.script import MOST_STEPS, StepAct
from server.training.scenario import Scenario, parse_scenario

NEW_CODE: Final = "new"
"""Of a scenario that is not kept yet; the library gives it its own."""
_SPARE_ROWS: Final = 3
_TEXTS: Final = ("title", "summary", "task")
_PATIENT: Final = ("family_name", "given_name", "sex", "birth_date", "address", "question")
_STEP: Final = ("when", "after_seconds", "words", "act", "text", "line", "is_repeated")
_YES: Final = "yes"

Form = MultiDictProxy[Any]


def parse_form(form: Form) -> Scenario:
    """:raises ScenarioWrong: names the first field that is wrong, as a file would."""
    text = str(form.get("text", "")).strip()
    if text:
        return parse_scenario(text)
    said: dict[str, object] = {name: _words(form, name) for name in _TEXTS}
    said["code"] = NEW_CODE
    said["patient"] = {name: _words(form, f"patient.{name}") for name in _PATIENT}
    said["expected"] = {
        "outcomes": form.getall("expected.outcomes", []),
        "why": _words(form, "expected.why"),
        "has_companion": form.get("expected.has_companion") == _YES,
        "is_recorded": form.get("expected.is_recorded") == _YES,
    }
    said["script"] = {
        "face": _words(form, "script.face"),
        "has_camera": form.get("script.has_camera") == _YES,
        "companions": _words(form, "script.companions"),
        "arrives_after_seconds": _number(_words(form, "script.arrives_after_seconds")),
        "line": _words(form, "script.line"),
        "steps": [step for row in range(MOST_STEPS) if (step := _step(form, row))],
    }
    return parse_scenario(msgspec.json.encode(said))


def rows_of(scenario: Scenario | None) -> list[Mapping[str, object]]:
    """The steps as the form shows them, with room for more."""
    steps = scenario.script.steps if scenario else ()
    return _with_room(
        [
            {
                **msgspec.to_builtins(step),
                "after_seconds": f"{step.after_seconds:g}",
                "words": ", ".join(step.words),
            }
            for step in steps
        ]
    )


def rows_said(form: Form) -> list[Mapping[str, object]]:
    """The same as they were sent, right or wrong."""
    rows = [
        {name: form.get(f"steps[{row}].{name}", "") for name in _STEP} for row in range(MOST_STEPS)
    ]
    return _with_room([row for row in rows if row["when"]])


def _with_room(rows: list[Mapping[str, object]]) -> list[Mapping[str, object]]:
    return rows + [dict.fromkeys(_STEP, "")] * min(_SPARE_ROWS, MOST_STEPS - len(rows))


def _step(form: Form, row: int) -> dict[str, object]:
    """Empty where the row was left empty."""
    here = f"steps[{row}]"
    when = _words(form, f"{here}.when")
    if not when:
        return {}
    act = _words(form, f"{here}.act")
    step: dict[str, object] = {
        "when": when,
        "after_seconds": _number(_words(form, f"{here}.after_seconds")),
        "words": [
            word.strip() for word in _words(form, f"{here}.words").split(",") if word.strip()
        ],
        "act": act,
        "text": _words(form, f"{here}.text"),
        "is_repeated": form.get(f"{here}.is_repeated") == _YES,
    }
    if act == StepAct.LINE:
        step["line"] = _words(form, f"{here}.line")
    return step


def _words(form: Form, name: str) -> str:
    return " ".join(str(form.get(name, "")).split())


def _number(text: str) -> float | str:
    """What is no number stays as it is: the scenario's types then name the field."""
    try:
        return float(text.replace(",", ".") or 0)
    except ValueError:
        return text
