"""One AuditEvent from one entry of the log.

Nobody's name is in it but that of staff: patients are pseudonyms, and network addresses are not in
the log, which ``data-absent-reason`` says where BALP wants one.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec

from server.audit import Act, ActorRole, ActOutcome, Fact
from server.sessionexport.balp import codes
from server.sessionexport.balp.codes import Resource, coded
from server.sessionexport.balp.kinds import ID_FACTS, KINDS, RESOURCES, Kind

_PROFILES: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_OUTCOMES: Final = {ActOutcome.DONE: "0", ActOutcome.REFUSED: "4", ActOutcome.FAILED: "8"}
_ACTIONS: Final = {
    Kind.CREATE: "C", Kind.READ: "R", Kind.UPDATE: "U", Kind.DELETE: "D", Kind.DISCLOSURE: "R",
    Kind.RECEPTION: "C",
}  # fmt: skip
"""``E`` (execute) where it is not said."""
_WITH_PATIENT: Final = frozenset({Kind.CREATE, Kind.READ, Kind.UPDATE, Kind.DELETE, Kind.QUERY})
"""These have a second profile for what concerns a patient."""
_OF_A_PATIENT: Final = frozenset({Kind.CONSENT_DECISION, Kind.DISCLOSURE, Kind.RECEPTION})
"""These have one only for what concerns a patient; else the act is one of those of REST."""


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Written(msgspec.Struct, frozen=True):
    """The content of an entry; those of before migration 0006 have ``act`` and fewer fields."""

    at: Moment
    role: str
    action: str = ""
    act: str = ""
    actor: str = ""
    facts: dict[str, Fact] = {}
    node: str = ""
    object: str = ""
    outcome: str = ""
    reason: str = ""
    visit: str | None = None

    def __post_init__(self) -> None:
        """:raises ValueError: the words are none of ours."""
        _ = Act(self.action or self.act), ActorRole(self.role)
        if self.outcome:
            ActOutcome(self.outcome)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the log is, and what an entry does not say itself."""

    base_url: str
    organisation_code: str
    organisation_name: str
    names: Mapping[str, str]
    """Of staff, by the user's id."""


_decoder: Final = msgspec.json.Decoder(Written)


def parse_entry(text: str) -> Written:
    """:raises msgspec.DecodeError: it is not an entry; an erased one is not."""
    return _decoder.decode(text)


def audit_event(seq: int | None, entry: Written, place: Place, patient: str = "") -> Resource:
    """The resource. ``patient`` is the pseudonym of whom the entry's visit concerns."""
    writer = _Writer(entry, place, patient)
    head: Resource = {"resourceType": "AuditEvent"}
    if seq is not None:
        head["id"] = f"entry-{seq}"
    profile = writer.profile()
    if profile:
        head["meta"] = {"profile": [_PROFILES + profile]}
    return head | writer.body()


class _Writer:
    """One entry on its way to being a resource."""

    def __init__(self, entry: Written, place: Place, patient: str) -> None:
        self.entry = entry
        self.place = place
        self.patient = patient
        self.act = Act(entry.action or entry.act)
        self.outcome = ActOutcome(entry.outcome or self.act.outcome)
        self.role = ActorRole(entry.role)
        self.kind = self._kind()

    def _kind(self) -> Kind:
        kind = KINDS[self.act]
        if kind is Kind.CONSENT_DECISION and not (self.patient and self._has_person):
            return Kind.UPDATE
        if kind in _OF_A_PATIENT and not self.patient:
            return Kind.CREATE if kind is Kind.RECEPTION else Kind.READ
        return kind

    def profile(self) -> str:
        """The last words of the profile's address; empty where the event follows none."""
        is_done = self.outcome is ActOutcome.DONE
        if not is_done or self.kind in (Kind.LOGIN, Kind.ALERT):
            return ""
        return ("Patient" if self.patient and self.kind in _WITH_PATIENT else "") + self.kind

    def body(self) -> Resource:
        type_, subtypes = codes.types_of(self.kind, self.act)
        own = {"system": self._system("act"), "code": self.act.value}
        is_listed = self.kind is Kind.CONSENT_DECISION  # its subtypes are BALP's own
        body: Resource = {
            "type": type_,
            "subtype": subtypes if is_listed else [*subtypes, own],
            "action": _ACTIONS.get(self.kind, "E"),
            "recorded": self.entry.at.isoformat(timespec="milliseconds"),
            "outcome": _OUTCOMES[self.outcome],
        }
        if self.outcome is not ActOutcome.DONE and self.entry.reason:
            body["outcomeDesc"] = self.entry.reason
        if self.kind is Kind.DISCLOSURE and self.act is Act.PATIENT_EXPORTED:
            body["purposeOfEvent"] = [coded(codes.REASON, "PATRQT", "patient requested")]
        return body | {
            "agent": self._agents(),
            "source": {
                "site": self.place.organisation_name,
                "observer": self._platform(),
                "type": [codes.APPLICATION_SERVER],
            },
            "entity": self._entities(),
        }

    # ---- who -----------------------------------------------------------------------------

    def _agents(self) -> list[Resource]:
        user = self._user()
        kind = Kind.READ if self.kind in (Kind.LOGIN, Kind.ALERT) else self.kind
        client_type, server_type = codes.ENDS[kind]
        here = {"address": self.place.base_url, "type": codes.NETWORK_URI}
        there = codes.NOT_KEPT if self._has_person else here
        client = {
            "type": client_type,
            "who": self._client(),
            "requestor": user is None,
            "network": there,
        }
        server = {"type": server_type, "who": self._platform(), "requestor": False}
        if kind is not Kind.CONSENT_DECISION:
            server["network"] = here
        agents = [client, server] + ([user] if user else [])
        if kind is Kind.CONSENT_DECISION:
            agents.append({"type": codes.PROVIDER, "who": self._organisation(), "requestor": False})
        return agents

    @property
    def _has_person(self) -> bool:
        return self.role is not ActorRole.SYSTEM

    def _client(self) -> Resource:
        """The other end: a browser, the platform itself, or who gave or got the data."""
        if self.kind is Kind.RECEPTION:
            return {"type": "Organization", "display": "CUP"}
        if self.act is Act.FSE_PUBLISHED:
            return {"type": "Organization", "display": "Fascicolo Sanitario Elettronico"}
        if self.kind is Kind.DISCLOSURE:
            return self._person() if self._has_person else {"display": "command line"}
        if not self._has_person:
            return self._platform()
        if self.role is ActorRole.PATIENT and self.entry.actor:
            return self._known("Device", "device", self.entry.actor)
        return {"type": "Device", "display": "browser"}

    def _user(self) -> Resource | None:
        if not self._has_person or self.kind in (Kind.DISCLOSURE, Kind.RECEPTION):
            return None
        person = self._person()
        user: Resource = {
            "type": codes.USERS.get(self.kind, codes.RECIPIENT),
            "role": [coded(self._system("role"), self.role.value)],
            "who": person,
            "requestor": True,
        }
        if name := self.place.names.get(self.entry.actor):
            user["name"] = name
        if self.entry.reason and self.kind in (Kind.READ, Kind.QUERY):
            user["purposeOfUse"] = [coded(self._system("reason"), self.entry.reason)]
        return user

    def _person(self) -> Resource:
        if self.role is ActorRole.PATIENT:
            return self._subject() if self.patient else {"type": "Patient", "display": "patient"}
        if not self.entry.actor:
            return {"type": "Practitioner", "display": self.role.value}
        return self._known("Practitioner", "user", self.entry.actor)

    def _platform(self) -> Resource:
        return self._known("Device", "node", self.entry.node or self.place.base_url)

    def _organisation(self) -> Resource:
        return self._known("Organization", "organisation", self.place.organisation_code)

    # ---- what ----------------------------------------------------------------------------

    def _entities(self) -> list[Resource]:
        patient = [self._patient_entity()] if self.patient else []
        if self.kind is Kind.CONSENT_DECISION:
            given = self._known("Consent", "visit", self.entry.visit or "")
            return [*patient, {"type": codes.CONSENT_TYPE, "what": given}]
        if self.kind is Kind.QUERY:
            return [*patient, self._query_entity()]
        return [*patient, self._data_entity()]

    def _patient_entity(self) -> Resource:
        return {"type": codes.PERSON, "role": codes.PATIENT_ROLE, "what": self._subject()}

    def _query_entity(self) -> Resource:
        """What was asked for, as BALP wants it: the words of the filter in base64."""
        asked = urlencode({name: str(value) for name, value in sorted(self.entry.facts.items())})
        words = asked or self.entry.object or self.act.value
        return {
            "type": codes.SYSTEM_OBJECT,
            "role": codes.QUERY_ROLE,
            "description": words,
            "query": b64encode(words.encode()).decode(),
        }

    def _data_entity(self) -> Resource:
        kind, id_ = self._object()
        resource = RESOURCES.get(kind, "Basic")
        is_subject = resource == "Patient" and self.patient
        entity: Resource = {
            "what": self._subject() if is_subject else self._known(resource, kind, id_),
            "type": codes.SYSTEM_OBJECT,
            "role": codes.REPORT_ROLE if kind == "report" else codes.DOMAIN_ROLE,
        }
        details = {name: value for name, value in self.entry.facts.items() if _is_said(value)}
        if self.entry.reason and self.outcome is ActOutcome.DONE:
            details["reason"] = self.entry.reason
        if details:
            entity["detail"] = [_detail(name, details[name]) for name in sorted(details)]
        return entity

    def _object(self) -> tuple[str, str]:
        """Kind and id. An entry that names its visit alone says by its act what of it was meant:
        a note that was opened is the note of this visit."""
        kind, _, id_ = self.entry.object.partition(":")
        if kind not in ("", "visit"):
            return kind, id_ or kind
        named = self.act.value.partition(".")[0]
        if named in RESOURCES and named != "visit":
            fact = self.entry.facts.get(ID_FACTS.get(named, ""))
            return named, str(fact or self.entry.visit or self.place.organisation_code)
        if self.entry.visit:
            return "visit", self.entry.visit
        return "organisation", self.place.organisation_code

    def _subject(self) -> Resource:
        return self._known("Patient", "patient", self.patient)

    # ---- references ----------------------------------------------------------------------

    def _system(self, name: str) -> str:
        return f"{self.place.base_url}/id/{name}"

    def _known(self, resource: str, kind: str, value: str) -> Resource:
        return {"type": resource, "identifier": {"system": self._system(kind), "value": value}}


def _is_said(value: Fact) -> bool:
    return value is not None and value != ""


def _detail(name: str, value: Any) -> Resource:
    said = str(value).lower() if isinstance(value, bool) else str(value)
    return {"type": name, "valueString": said}
