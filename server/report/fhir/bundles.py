"""The bundles of a report: type ``document`` and type ``transaction``. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from server.report.content import ReportContent
from server.report.fhir import composition, encounter, people
from server.report.fhir.parts import Forms, Resource, instant, profile
from server.report.texts import clean

_EMPTY: Final[tuple[Any, ...]] = ("", [], {})
_ADMINISTRATIVE: Final = ("Patient", "Practitioner", "Organization", "PractitionerRole")
"""Sent with PUT by identifier: the same person or body once more is no second one."""


def render_document(content: ReportContent) -> bytes:
    """A bundle of type ``document``: the Composition first, then all it refers to."""
    forms = Forms(content)
    bundle = {
        "resourceType": "Bundle",
        "id": forms.id("Bundle"),
        "meta": profile("BundleRefertodiTelevisita"),
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{forms.id('Bundle')}"},
        "type": "document",
        "timestamp": instant(content.document.created_at),
        "entry": [_entry(resource) for resource in _resources(forms)],
    }
    return _encode(bundle)


def render_transaction(content: ReportContent) -> bytes:
    """A bundle of type ``transaction``: people and bodies first, with PUT; the rest with POST."""
    forms = Forms(content)
    resources = sorted(_resources(forms), key=_place)
    bundle = {
        "resourceType": "Bundle",
        "id": forms.id("Transaction"),
        "meta": profile("BundleRefertoDiTelevisitaTransaction"),
        "type": "transaction",
        "entry": [_entry(resource) | {"request": _request(resource)} for resource in resources],
    }
    return _encode(bundle)


def _resources(forms: Forms) -> list[Resource]:
    """In the order of a document: Composition first."""
    content = forms.content
    return [
        composition.make_composition(forms),
        people.make_patient(forms),
        people.make_practitioner(forms),
        people.make_role(forms),
        people.make_organisation(forms),
        encounter.make_encounter(forms),
        encounter.make_service_request(forms),
        encounter.make_appointment(forms),
        *(encounter.make_procedure(forms, number) for number in range(len(content.services))),
        *(composition.make_observation(forms, kind) for kind in composition.find_observed(forms)),
        *(composition.make_condition(forms, at) for at in range(len(content.diagnosis_codes))),
        composition.make_picture(forms),
    ]


def _encode(bundle: Resource) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_tidy(bundle)), indent=1)


def _tidy(node: Any) -> Any:
    """Texts without what no form may hold, and without what is empty: FHIR has no empty element."""
    if isinstance(node, str):
        return clean(node)
    if isinstance(node, list):
        return [tidy for each in node if (tidy := _tidy(each)) not in _EMPTY]
    if isinstance(node, dict):
        tidied = {name: each if name == "data" else _tidy(each) for name, each in node.items()}
        return {name: each for name, each in tidied.items() if each not in _EMPTY}
    return node


def _entry(resource: Resource) -> Resource:
    return {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource}


def _place(resource: Resource) -> int:
    kind = resource["resourceType"]
    return _ADMINISTRATIVE.index(kind) if kind in _ADMINISTRATIVE else len(_ADMINISTRATIVE)


def _request(resource: Resource) -> Resource:
    kind = resource["resourceType"]
    if kind not in _ADMINISTRATIVE:
        return {"method": "POST", "url": kind}
    identifier = resource["identifier"][0]
    return {
        "method": "PUT",
        "url": f"{kind}?identifier={identifier['system']}|{identifier['value']}",
    }
