"""Elements that the resources of a report share, and what makes a resource of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5
from xml.sax.saxutils import escape

from server.i18n import ROME
from server.report.content import Address, ReportContent
from server.report.fhir import rules
from server.report.texts import clean, clean_line

Resource = dict[str, Any]

UNKNOWN: Final = {"extension": [{"url": rules.ABSENT, "valueCode": "unknown"}]}
RFC_3986: Final = "urn:ietf:rfc:3986"


def profile(name: str) -> Resource:
    return {"profile": [f"{rules.GUIDE}/StructureDefinition/{name}"]}


def instant(when: datetime) -> str:
    """With seconds and the offset of Europe/Rome."""
    return when.astimezone(ROME).isoformat(timespec="seconds")


def coded(system: str, code: str, display: str = "") -> Resource:
    """A CodeableConcept of one code; of its words alone where there is no code."""
    code, display = clean_line(code), clean_line(display)
    if not code:
        return {"text": display}
    return {"coding": [{"system": system, "code": code} | told(display=display)]}


def narrative(lines: Iterable[str]) -> Resource:
    text = "".join(f"<p>{escape(clean(line))}</p>" for line in lines)
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{text}</div>'
    return {"status": "additional", "div": div}


def told(**parts: Any) -> Resource:
    return {name: part for name, part in parts.items() if part}


def period(start: datetime, end: datetime) -> Resource:
    return {"start": instant(start), "end": instant(end)}


def address_of(address: Address) -> Resource:
    return told(
        line=[address.street] if address.street else [],
        city=address.city,
        district=address.province,
        postalCode=address.postal_code,
        country=address.country,
    )


class Forms:
    """One report, and how its resources are named and refer to each other."""

    def __init__(self, content: ReportContent) -> None:
        self.content = content

    def id(self, name: str, document_id: str = "") -> str:
        """A UUID that stands for one resource of this document, or of another."""
        return str(uuid5(NAMESPACE_OID, f"{document_id or self.content.document.id}:{name}"))

    def reference(self, name: str) -> Resource:
        return {"reference": f"urn:uuid:{self.id(name)}"}

    def make(
        self, kind: str, content: Resource, *, of: str = "", name: str = "", **optional: Any
    ) -> Resource:
        """A resource of the profile ``of``; optional elements only when they hold something."""
        head: Resource = {"resourceType": kind, "id": self.id(name or kind)}
        return head | ({"meta": profile(of)} if of else {}) | content | told(**optional)
