"""FHIR JSON as a tree of unknown shape, and how one resource is found from another.

What is of a wrong type counts as missing; nothing here knows what a field means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

Resource = dict[str, Any]

CLOSURE_RESOURCES: Final = 64
"""How much one appointment may refer to, directly or not."""
LINKS: Final[dict[str, tuple[str, ...]]] = {
    "Appointment": ("basedOn", "slot"),
    "ServiceRequest": ("subject", "requester", "insurance", "encounter"),
    "Patient": ("managingOrganization",),
    "PractitionerRole": ("practitioner", "organization"),
    "Organization": ("partOf",),
    "Encounter": ("serviceProvider",),
    "Slot": ("schedule",),
    "Practitioner": (),
    "Location": (),
    "Coverage": (),
    "HealthcareService": (),
    "Schedule": (),
}
"""The types that say something of a booking, and where each refers to others."""


class Entry(NamedTuple):
    """A resource and the full URL it has in its bundle, empty outside of one."""

    full_url: str
    resource: Resource


class Missing(NamedTuple):
    """A resource that is referred to and not at hand."""

    kind: str
    id: str


class Index(dict[str, Entry]):
    """Entries by all the names that a reference may use."""


def index_entries(entries: list[Entry]) -> Index:
    """By ``Type/id``, full URL and conditional reference (``Type?identifier=system|value``)."""
    index = Index()
    for entry in entries:
        kind = text(entry.resource, "resourceType")
        index[f"{kind}/{text(entry.resource, 'id')}"] = entry
        if entry.full_url:
            index[entry.full_url] = entry
        for identifier in items(entry.resource, "identifier"):
            index.setdefault(f"{kind}?identifier={identifier_token(identifier)}", entry)
    return index


class Closure:
    """One appointment with everything it refers to, as far as it is at hand."""

    def __init__(self, appointment: Entry, index: Index) -> None:
        self.appointment: Final = appointment.resource
        self.entries: Final = [appointment]
        self.missing: Final[list[Missing]] = []
        self._index = index
        self._contained: dict[str, Resource] = {}
        self._collect()

    def find(self, reference: Resource) -> Resource:
        """The resource that a Reference names. When it is not at hand: what the Reference itself
        says of it (identifier, display), else an empty one."""
        name = text(reference, "reference")
        if name.startswith("#"):
            return self._contained.get(name, {})
        entry = self._find_entry(reference, name)
        return entry.resource if entry else _sketch(reference, name)

    def actors(self) -> dict[str, Resource]:
        """The participants by resource type; the first of each type counts."""
        actors: dict[str, Resource] = {}
        for participant in items(self.appointment, "participant"):
            actor = self.find(item(participant, "actor"))
            actors.setdefault(text(actor, "resourceType"), actor)
        return actors

    def encode(self, timestamp: str) -> bytes:
        """A Bundle that is enough to map the appointment again."""
        entries = [
            {**({"fullUrl": full_url} if full_url else {}), "resource": resource}
            for full_url, resource in self.entries
        ]
        bundle: Resource = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        if timestamp:
            bundle["timestamp"] = timestamp
        return msgspec.json.encode(bundle)

    def _collect(self) -> None:
        """Walk along the references, nearest first, each resource once."""
        seen = {id(self.appointment)}
        for entry in self.entries:
            contained = items(entry.resource, "contained")
            for resource in contained:
                self._contained.setdefault(f"#{text(resource, 'id')}", resource)
            for reference in _references((entry.resource, *contained)):
                self._follow(reference, seen)

    def _follow(self, reference: Resource, seen: set[int]) -> None:
        name = text(reference, "reference")
        if not name or name.startswith("#"):
            return
        found = self._find_entry(reference, name)
        if found is None:
            missing = parse_reference(name)
            if missing and missing not in self.missing:
                self.missing.append(missing)
        elif id(found.resource) not in seen and len(self.entries) < CLOSURE_RESOURCES:
            seen.add(id(found.resource))
            self.entries.append(found)

    def _find_entry(self, reference: Resource, name: str) -> Entry | None:
        found = self._index.get(name) or self._index.get(unquote(name))
        if found is None and name:
            missing = parse_reference(name)
            found = self._index.get(f"{missing.kind}/{missing.id}") if missing else None
        identifier = item(reference, "identifier")
        if found is None and identifier:
            found = self._index.get(
                f"{_kind_of(reference, name)}?identifier={identifier_token(identifier)}"
            )
        return found if found and found.resource.get("resourceType") in LINKS else None


def parse_reference(name: str) -> Missing | None:
    """``Type/id`` out of a relative or absolute reference, with or without its version."""
    parts = name.partition("/_history/")[0].split("/")[-2:]
    if len(parts) == 2 and parts[0] in LINKS and is_id(parts[1]):
        return Missing(*parts)
    return None


def is_id(written: str) -> bool:
    """Whether it can be a logical id of FHIR."""
    return (
        0 < len(written) <= 64
        and written.isascii()
        and written.replace("-", "").replace(".", "").isalnum()
    )


def text(resource: Resource, key: str) -> str:
    value = resource.get(key)
    return value.strip() if isinstance(value, str) else ""


def joined(resource: Resource, key: str) -> str:
    value = resource.get(key)
    parts = value if isinstance(value, list) else []
    return " ".join(part.strip() for part in parts if isinstance(part, str))


def item(resource: Resource, key: str) -> Resource:
    value = resource.get(key)
    return value if isinstance(value, dict) else {}


def items(resource: Resource, key: str) -> list[Resource]:
    value = resource.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def first(resource: Resource, key: str) -> Resource:
    return next(iter(items(resource, key)), {})


def _references(resources: tuple[Resource, ...]) -> Iterator[Resource]:
    for resource in resources:
        for key in LINKS.get(text(resource, "resourceType"), ()):
            yield from items(resource, key) or [item(resource, key)]
        for participant in items(resource, "participant"):
            yield item(participant, "actor")


def _sketch(reference: Resource, name: str) -> Resource:
    identifier = item(reference, "identifier")
    if not identifier:
        return {}
    sketch: Resource = {"resourceType": _kind_of(reference, name), "identifier": [identifier]}
    display = text(reference, "display")
    if display:
        is_person = sketch["resourceType"] in {"Patient", "Practitioner"}
        sketch["name"] = [{"text": display}] if is_person else display
    return sketch


def _kind_of(reference: Resource, name: str) -> str:
    missing = parse_reference(name)
    return missing.kind if missing else text(reference, "type")


def identifier_token(identifier: Resource) -> str:
    """``system|value``, as a search writes it."""
    system, value = text(identifier, "system"), text(identifier, "value")
    return f"{system}|{value}" if system else value
