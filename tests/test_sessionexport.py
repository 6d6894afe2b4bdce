"""Exports of the session log: AuditEvents of IHE's patterns, CSV, NDJSON, proofs of one visit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B import get_fhir_model_class

from server.audit import Act, ActorRole, ActOutcome, Entry, Fact
from server.sessionexport.balp import Place, audit_event, parse_entry
from tests.balp import PROFILES, find_problems

AT = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
PLACE = Place(
    "https://televisita.example", "ausl-toscana", "Azienda USL", {"user1": "Anna Bianchi"}
)
PSEUDONYM = "0123456789abcdef"
FACTS: dict[str, Fact] = {"version": 2, "resent": True, "empty": "", "none": None, "way": "link"}


def entry_of(act: Act, role: ActorRole, visit: str | None, reason: str = "") -> Entry:
    actor = "" if role is ActorRole.SYSTEM else "user1"
    return Entry(AT, act, role, actor, visit, FACTS, "", reason)


def events_of_all_acts() -> Iterator[tuple[Act, dict[str, Any]]]:
    """Each act by each role, with a patient and without."""
    for act in Act:
        for role in ActorRole:
            for visit, patient in (("visit1", PSEUDONYM), (None, "")):
                entry = entry_of(act, role, visit, "care")
                yield act, audit_event(7, parse_entry(entry.canonical()), PLACE, patient)


# ---- AuditEvents -----------------------------------------------------------------------


def test_every_act_gives_a_valid_audit_event_of_its_pattern() -> None:
    model = get_fhir_model_class("AuditEvent")
    followed = set()

    for act, event in events_of_all_acts():
        model.model_validate_json(msgspec.json.encode(event))
        for address in event.get("meta", {}).get("profile", []):
            name = address.rpartition("IHE.BasicAudit.")[2]
            followed.add(name)
            assert find_problems(PROFILES[name], event) == [], (act, event)

    assert followed == set(PROFILES), "a pattern that nothing follows"


def write_event(act: Act, role: ActorRole = ActorRole.CLINICIAN, **more: Any) -> dict[str, Any]:
    entry = entry_of(act, role, more.get("visit", "visit1"), more.get("reason", ""))
    return audit_event(7, parse_entry(entry.canonical()), PLACE, more.get("patient", PSEUDONYM))


@pytest.mark.parametrize(
    ("act", "path"),
    [
        (Act.NOTE_OPENED, ("agent", 0, "network")),
        (Act.NOTE_OPENED, ("agent", 1, "who")),
        (Act.NOTE_OPENED, ("entity", 0, "role")),
        (Act.NOTE_SAVED, ("entity", 1, "what")),
        (Act.LOG_READ, ("entity", 1, "query")),
        (Act.LOG_EXPORTED, ("subtype", 0)),
        (Act.WAITING, ("entity", 1, "type")),
        (Act.WAITING, ("agent", 3)),
    ],
)
def test_pattern_misses_what_is_taken_away(act: Act, path: tuple[str | int, ...]) -> None:
    event = write_event(act, ActorRole.PATIENT)
    profile = PROFILES[event["meta"]["profile"][0].rpartition("IHE.BasicAudit.")[2]]
    part: Any = event
    for step in path[:-1]:
        part = part[step]

    del part[path[-1]]

    assert find_problems(profile, event)


def test_refused_and_failed_acts_claim_no_pattern_and_say_why() -> None:
    refused = write_event(Act.TURNED_AWAY, reason="not_the_patient")
    failed = write_event(Act.LOGIN_FAILED, visit=None, patient="")

    assert "meta" not in refused
    assert (refused["outcome"], refused["outcomeDesc"]) == ("4", "not_the_patient")
    assert "meta" not in failed
    assert failed["outcome"] == "8"
    assert failed["type"]["code"] == "110114"


def test_purpose_of_a_consultation_is_the_reader_s_purpose_of_use() -> None:
    event = write_event(Act.NOTE_OPENED, reason="second_opinion")

    [user] = [agent for agent in event["agent"] if agent["requestor"]]
    assert user["name"] == "Anna Bianchi"
    assert user["purposeOfUse"][0]["coding"][0]["code"] == "second_opinion"


def test_patient_is_a_pseudonym_and_nothing_empty_is_said() -> None:
    event = write_event(Act.CHECK_IN_SAVED, ActorRole.PATIENT)

    patient, data = event["entity"]
    assert patient["what"]["identifier"]["value"] == PSEUDONYM
    assert {each["type"]: each["valueString"] for each in data["detail"]} == {
        "version": "2",
        "resent": "true",
        "way": "link",
    }


def test_entry_of_before_the_tree_is_an_event_too() -> None:
    old = (
        '{"act":"room.dropped","actor":"","at":"2026-01-01T10:00:00.000+00:00","facts":{},'
        '"role":"patient","visit":"visit1"}'
    )

    event = audit_event(3, parse_entry(old), PLACE, PSEUDONYM)

    get_fhir_model_class("AuditEvent").model_validate_json(msgspec.json.encode(event))
    assert (event["id"], event["outcome"]) == ("entry-3", "8")


def test_erased_entry_is_no_event() -> None:
    with pytest.raises(msgspec.DecodeError):
        parse_entry("")


def test_outcomes_of_entries_are_told_apart() -> None:
    outcomes = {act.outcome: write_event(act)["outcome"] for act in Act}

    assert outcomes == {ActOutcome.DONE: "0", ActOutcome.REFUSED: "4", ActOutcome.FAILED: "8"}
