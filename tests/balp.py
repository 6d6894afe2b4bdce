"""IHE's Basic Audit Log Patterns as rules, and what an AuditEvent breaks of them.

:data:`PROFILES` is what the tests know of the guide; :mod:`tests.balpguide` reads the guide itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Code = tuple[str, str]
Resource = Mapping[str, Any]

OWN = "https://profiles.ihe.net/ITI/BALP/CodeSystem"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
SCT = "http://snomed.info/sct"
THO = "http://terminology.hl7.org/CodeSystem"
HL7 = "http://hl7.org/fhir"


@dataclass
class Part:
    """What is asked of one element, or of one slice of it."""

    least: int = 0
    most: int | None = None
    codes: frozenset[Code] = frozenset()
    value: object = None
    targets: frozenset[str] = frozenset()
    is_closed: bool = False
    is_observer: bool = False
    """Its ``who`` is the source's observer."""


@dataclass
class Profile:
    name: str
    parent: str
    parts: dict[str, Part] = field(default_factory=dict)

    def part(self, path: str) -> Part:
        return self.parts.setdefault(path, Part())


# ---- checking --------------------------------------------------------------------------


def find_problems(profile: Profile, event: Resource) -> list[str]:
    """What the event breaks; empty when it conforms."""
    return [problem for path in profile.parts for problem in _check(profile, event, path)]


def _check(profile: Profile, event: Resource, path: str) -> Iterator[str]:
    part = profile.parts[path]
    head, _, tail = path.partition(".")
    name, _, slice_ = head.rstrip("]").partition("[")
    items = _as_list(event.get(name))
    if slice_:
        items = [item for item in items if _is_in(profile, name, slice_, item)]
    for place, group in enumerate(_follow(items, tail)):
        if len(group) < part.least or (part.most is not None and len(group) > part.most):
            yield f"{path}#{place}: {len(group)} times"
        for value in group:
            yield from (f"{path}#{place}: {problem}" for problem in _judge(part, value, event))
    if part.is_closed:
        slices = [
            key[len(name) + 1 : -1] for key in profile.parts if re.fullmatch(rf"{name}\[\w+\]", key)
        ]
        strangers = [i for i in items if not any(_is_in(profile, name, each, i) for each in slices)]
        yield from (f"{path}: of no slice" for _ in strangers)


def _follow(items: list[Any], tail: str) -> Iterator[list[Any]]:
    """The values under each item, or the items themselves as one group."""
    if not tail:
        yield items
        return
    for item in items:
        values = [item]
        for name in tail.split("."):
            values = [below for value in values for below in _as_list(value.get(name))]
        yield values


def _is_in(profile: Profile, name: str, slice_: str, item: Any) -> bool:
    """Whether an item belongs to a slice: by its ``type``, or by itself."""
    own = profile.parts.get(f"{name}[{slice_}].type") or profile.parts[f"{name}[{slice_}]"]
    value = item.get("type") if f"{name}[{slice_}].type" in profile.parts else item
    return bool(_codes_of(value) & own.codes)


def _judge(part: Part, value: Any, event: Resource) -> Iterator[str]:
    if part.codes and not _codes_of(value) & part.codes:
        yield f"not of {sorted(part.codes)}"
    if part.value is not None and value is not part.value:
        yield f"not {part.value}"
    if part.targets and value.get("type") not in part.targets:
        yield f"refers to {value.get('type')}"
    if part.is_observer and value["who"] != event["source"]["observer"]:
        yield "is not the observer"


def _codes_of(value: Any) -> set[Code]:
    """Of a Coding, a CodeableConcept, or a ``code`` (its system is its element's)."""
    if isinstance(value, str):
        return {("", value), (f"{THO}/audit-event-outcome", value)}
    if not value:
        return set()
    return {
        (each["system"], each["code"]) for each in value.get("coding", [value]) if "code" in each
    }


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


# ---- the patterns, as the tests know them ----------------------------------------------


def _known() -> dict[str, Profile]:
    """The patterns that this platform follows. What only the guide asks for, such as elements that
    are never written here, is left to the check against the guide."""
    to_here = {"client": (DCM, "110153"), "server": (DCM, "110152")}
    from_here = {"client": (DCM, "110152"), "server": (DCM, "110153")}
    kept_here = {
        "client": (DCM, "110150"),
        "server": (f"{THO}/provenance-participant-type", "custodian"),
    }
    sources = {(f"{THO}/v3-ParticipationType", code) for code in ("AUT", "INF", "CST")}
    readers = {(f"{THO}/v3-ParticipationType", "IRCP")}
    interactions = {
        "Create": ("C", {"create"}, to_here, sources),
        "Read": ("R", {"read", "vread"}, from_here, readers),
        "Update": ("U", {"update", "patch"}, to_here, sources),
        "Delete": ("D", {"delete"}, kept_here, sources),
        "Query": ("E", {"search", "search-type", "search-system"}, to_here, readers),
    }
    profiles = [_interaction(name, *rules) for name, rules in interactions.items()]
    profiles += [_with_patient(f"Patient{profile.name}", profile) for profile in profiles]
    profiles += [_disclosure("Source", "110106", "R"), _disclosure("Recipient", "110107", "C")]
    profiles.append(_consent_decision())
    return {profile.name: profile for profile in profiles}


def _one(*codes: Code, **more: Any) -> Part:
    return Part(1, 1, frozenset(codes), **more)


def _agent(name: str, code: Code, **more: Any) -> dict[str, Part]:
    start = f"agent[{name}]"
    return {start: Part(1, 1, **more), f"{start}.type": _one(code), f"{start}.who": _one()}


def _interaction(
    name: str, action: str, verbs: set[str], ends: Mapping[str, Code], users: set[Code]
) -> Profile:
    profile = Profile(name, "AuditEvent")
    profile.parts = {
        "type": _one((f"{THO}/audit-event-type", "rest")),
        f"subtype[{name}]": _one(*((f"{HL7}/restful-interaction", verb) for verb in verbs)),
        "action": _one(("", action)),
        "outcome": _one((f"{THO}/audit-event-outcome", "0")),
        **_agent("client", ends["client"]),
        **_agent("server", ends["server"]),
        "agent[client].network": _one(),
        "agent[server].network": _one(),
        "agent[user]": Part(0, 1),
        "agent[user].type": _one(*users),
        "agent[user].who": _one(),
        "agent[user].requestor": Part(value=True),
        "agent[user].network": Part(0, 0),
    }
    what = "query" if name == "Query" else "data"
    roles = {"24"} if name == "Query" else {"3", "4", "20"}
    profile.parts |= {
        f"entity[{what}]": Part(1, 1),
        f"entity[{what}].type": _one((f"{THO}/audit-entity-type", "2")),
        f"entity[{what}].role": _one(*((f"{THO}/object-role", role) for role in roles)),
    }
    if name == "Query":
        nothing = {f"entity[query].{each}": Part(0, 0) for each in ("what", "lifecycle", "detail")}
        profile.parts |= {"entity[query].query": _one(), **nothing}
    else:
        profile.parts["entity[data].what"] = _one()
    return profile


def _with_patient(name: str, base: Profile) -> Profile:
    patient = {
        "entity[patient]": Part(1, 1),
        "entity[patient].type": _one((f"{THO}/audit-entity-type", "1")),
        "entity[patient].role": _one((f"{THO}/object-role", "1")),
        "entity[patient].what": Part(1, 1, targets=frozenset({"Patient"})),
    }
    return Profile(name, base.name, base.parts | patient)


def _disclosure(side: str, code: str, action: str) -> Profile:
    """``side`` is the agent that we are."""
    profile = Profile(f"PrivacyDisclosure.{side}", "AuditEvent")
    profile.parts = {
        "type": _one((DCM, code)),
        "subtype[disclosure]": _one((f"{THO}/iso-21089-lifecycle", "disclose")),
        "action": _one(("", action)),
        "outcome": _one(),
        **_agent("source", (DCM, "110153"), is_observer=side == "Source"),
        **_agent("recipient", (DCM, "110152"), is_observer=side == "Recipient"),
        "agent[source].network": _one(),
        "agent[recipient].network": _one(),
        "entity": Part(2),
    }
    return _with_patient(profile.name, profile)


def _consent_decision() -> Profile:
    profile = Profile("AuthZconsent", "AuditEvent")
    never = ("network", "media", "purposeOfUse", "role", "name", "policy")
    profile.parts = {
        "type": _one((DCM, "110113")),
        "subtype": _one((f"{OWN}/AuthZsubType", "AuthZ-Consent")),
        "action": _one(("", "E")),
        "outcome": _one(),
        **_agent("client", (DCM, "110150")),
        "agent[client].network": _one(),
        **_agent("user", (f"{THO}/v3-ParticipationType", "IRCP")),
        "agent[user].requestor": Part(value=True),
        **_agent("userorg", (f"{THO}/v3-RoleClass", "PROV")),
        **_agent("authorizer", (f"{THO}/extra-security-role-type", "authserver"), is_observer=True),
        **{f"agent[authorizer].{name}": Part(0, 0) for name in never},
        "entity": Part(2, is_closed=True),
        "entity[consent]": Part(1),
        "entity[consent].type": _one((f"{HL7}/resource-types", "Consent")),
        "entity[consent].what": _one(),
    }
    return _with_patient(profile.name, profile)


PROFILES = _known()
