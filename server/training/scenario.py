"""What a scenario is: the patient, what is expected of the clinician, and the patient's script.

Pure. Scenarios come as files (``scenarios/*.json``, shipped) or from facilitators
(:mod:`server.training.library`); both pass :func:`parse_scenario`, which names the wrong field.
"""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal

import msgspec

from recordings.script import Script, ScriptWrong, check_script
from server.models import Outcome

MAX_BYTES: Final = 60_000
_PLACE: Final = re.compile(r" - at `\$\.?(?P<field>[^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `(?P<name>\w+)`")
_UNKNOWN: Final = re.compile(r"unknown field `(?P<name>\w+)`")

Words = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Sentences = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The patient, who must be nobody's: invented, as everything here."""

    family_name: Words
    given_name: Words
    sex: Literal["F", "M"]
    birth_date: date
    address: Words
    question: Words
    """Why the visit was booked."""


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the score sheet asks beyond what it asks of every visit."""

    outcomes: Annotated[tuple[Outcome, ...], msgspec.Meta(min_length=1)]
    why: Sentences
    """Why these outcomes are right here."""
    has_companion: bool = False
    """Somebody helps the patient and must be stated as present (TV-12)."""
    is_recorded: bool = False
    """The clinician is asked to try a recording."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One practice."""

    code: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,40}$")]
    title: Words
    summary: Sentences
    """One or two sentences for the list."""
    task: Sentences
    """What the clinician reads before the visit; it does not give the surprise away."""
    patient: Person
    expected: Expected
    script: Script


class ScenarioWrong(ValueError):
    """``field`` is the path of what is wrong: ``script.steps[2].act``; empty: the whole text.
    ``detail`` is English and technical."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field or 'the file'}: {detail}")
        self.field = field
        self.detail = detail


def parse_scenario(text: str | bytes) -> Scenario:
    """:raises ScenarioWrong: with the first field that is wrong."""
    if len(text) > MAX_BYTES:
        raise ScenarioWrong("", f"longer than {MAX_BYTES} bytes")
    try:
        scenario = msgspec.json.decode(text, type=Scenario)
    except msgspec.ValidationError as error:
        raise _name_field(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ScenarioWrong("", "not JSON") from error
    check_scenario(scenario)
    return scenario


def check_scenario(scenario: Scenario) -> None:
    """What the types do not say.

    :raises ScenarioWrong: with the first field that is wrong.
    """
    try:
        check_script(scenario.script)
    except ScriptWrong as error:
        raise ScenarioWrong(f"script.{error.field}", error.problem) from error
    if scenario.expected.has_companion and not scenario.script.companions:
        raise ScenarioWrong("script.companions", "missing: expected.has_companion says somebody is")
    if scenario.patient.birth_date > date(2020, 1, 1):
        raise ScenarioWrong("patient.birth_date", "later than 2020")


def encode_scenario(scenario: Scenario) -> str:
    return msgspec.json.encode(scenario).decode()


@cache
def load_shipped() -> dict[str, Scenario]:
    """The scenarios that come with the platform, by code, in the order of their files.

    :raises ScenarioWrong: a shipped file is wrong: a bug, which a test finds.
    """
    folder = resources.files(__package__) / "scenarios"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    found = [parse_scenario(file.read_bytes()) for file in files]
    return {scenario.code: scenario for scenario in found}


def _name_field(message: str) -> ScenarioWrong:
    """msgspec's sentence, taken apart: ``Expected `str`, got `int` - at `$.title```."""
    place = _PLACE.search(message)
    field = place["field"] if place else ""
    detail = message[: place.start()] if place else message
    for known, word in ((_MISSING, "missing"), (_UNKNOWN, "not known")):
        if named := known.search(detail):
            return ScenarioWrong(f"{field}.{named['name']}".lstrip("."), word)
    return ScenarioWrong(field, detail)
