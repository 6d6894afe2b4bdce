"""What the gateway is told beside the document: who asks, about whom, and the index metadata.

Pure. From ``doc/integrazione-gateway`` of ministero-salute/it-fse-support: chapters 5 and 7 (body
of a publication), 15.1 (claims), 15.2 and 15.3 (values of the Affinity Domain).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from server.report.content import Body, Identifier, IdentifierKind, ReportContent
from server.report.gateways import Catalogue, GatewayFile, GatewayUnusable

REGIONS: Final[Mapping[str, str]] = {
    "010": "Regione Piemonte",
    "020": "Regione Valle d'Aosta",
    "030": "Regione Lombardia",
    "041": "P.A. Bolzano",
    "042": "P.A. Trento",
    "050": "Regione Veneto",
    "060": "Regione Friuli Venezia Giulia",
    "070": "Regione Liguria",
    "080": "Regione Emilia-Romagna",
    "090": "Regione Toscana",
    "100": "Regione Umbria",
    "110": "Regione Marche",
    "120": "Regione Lazio",
    "130": "Regione Abruzzo",
    "140": "Regione Molise",
    "150": "Regione Campania",
    "160": "Regione Puglia",
    "170": "Regione Basilicata",
    "180": "Regione Calabria",
    "190": "Regione Sicilia",
    "200": "Regione Sardegna",
}
"""Affinity Domain, table of organisations (15.3.7)."""
_CODICE_FISCALE: Final = "2.16.840.1.113883.2.9.4.3.2"
_NATIONAL: Final = {
    IdentifierKind.CODICE_FISCALE: _CODICE_FISCALE,
    IdentifierKind.STP: "2.16.840.1.113883.2.9.4.3.17",
    IdentifierKind.ENI: "2.16.840.1.113883.2.9.4.3.18",
    IdentifierKind.TEAM: "2.16.840.1.113883.2.9.4.3.3",
    IdentifierKind.ANA: "2.16.840.1.113883.2.9.4.3.15",
}
_CATALOGUES: Final = {
    Catalogue.HSP: "2.16.840.1.113883.2.9.4.1.2",
    Catalogue.STS: "2.16.840.1.113883.2.9.4.1.3",
}
_BODIES: Final = "2.16.840.1.113883.2.9.4.1.1"
_DOCUMENT_TYPE: Final = "('75496-0^^2.16.840.1.113883.6.1')"
_DISCIPLINES: Final = frozenset(range(1, 100)) - {
    *(16, 17, 22, 23, 44, 45, 53, 59, 63, 95),
    *range(79, 94),
}
"""Numbers of ``AD_PSC`` (15.3.8) that are disciplines of the Ministry too."""
_NOT_IN_HL7: Final = re.compile(r"[\^&~|\\\s]+")


class Action(StrEnum):
    """``action_id``. A replacement is an update, of an update's purpose (15.1)."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"


def root_of(body: Body) -> str:
    """The OID under which a region numbers its documents, repositories and submissions.

    :raises GatewayUnusable: the organisation does not say its region.
    """
    if body.region_code not in REGIONS:
        raise GatewayUnusable("region_missing", "The organisation has no code of a region")
    return f"2.16.840.1.113883.2.9.2.{int(body.region_code)}.4"


def document_id(body: Body, report_id: str) -> str:
    """``identificativoDoc``: XDSDocumentEntry.uniqueId."""
    return f"{root_of(body)}.4^{report_id}"


def describe_subjects(
    content: ReportContent, settings: GatewayFile, action: Action, version: str
) -> dict[str, str | bool]:
    """The claims of both tokens that follow from the document, but for its hash."""
    body = content.body
    root_of(body)
    return {
        "sub": _cx(content.author.codice_fiscale, _CODICE_FISCALE),
        "subject_organization_id": body.region_code,
        "subject_organization": REGIONS[body.region_code],
        "locality": describe_site(body, settings),
        "subject_role": "APR" if content.document.is_annotation else "AAS",
        "person_id": describe_person(content.patient.identifier, body),
        "patient_consent": True,
        "purpose_of_use": "TREATMENT" if action is Action.CREATE else "UPDATE",
        "resource_hl7_type": _DOCUMENT_TYPE,
        "action_id": action.value,
        "subject_application_id": settings.application_id,
        "subject_application_vendor": settings.application_vendor,
        "subject_application_version": version,
    }


def describe_person(identifier: Identifier, body: Body) -> str:
    """``person_id``, an HL7 CX."""
    root = _NATIONAL.get(identifier.kind)
    return _cx(identifier.value, root or f"{root_of(body)}.1")


def describe_site(body: Body, settings: GatewayFile) -> str:
    """``locality``, an HL7 XON: the building, else the body itself."""
    if body.site_code:
        return _xon(
            body.site_name or body.name, _CATALOGUES[settings.site_catalogue], body.site_code
        )
    return _xon(body.name, _BODIES, body.ministry_code or body.code)


def describe_publication(
    content: ReportContent, settings: GatewayFile, *, workflow_instance_id: str, submission_id: str
) -> dict[str, object]:
    """``requestBody`` of a creation or a replacement; the same at every repeat."""
    body, session = content.body, content.session
    number = int.from_bytes(hashlib.sha256(submission_id.encode()).digest()[:6])
    publication: dict[str, object] = {
        "workflowInstanceId": workflow_instance_id,
        "healthDataFormat": "CDA",
        "mode": "ATTACHMENT",
        "tipologiaStruttura": settings.facility.value,
        "identificativoDoc": document_id(body, content.document.id),
        "identificativoRep": settings.repository,
        "tipoDocumentoLivAlto": "REF",
        "assettoOrganizzativo": practice_setting(body, settings),
        "dataInizioPrestazione": _moment(session.began_at),
        "dataFinePrestazione": _moment(session.ended_at),
        "tipoAttivitaClinica": "ERP",
        "identificativoSottomissione": f"{root_of(body)}.3.{number}",
    }
    if content.document.is_obscured:
        publication["attiCliniciRegoleAccesso"] = ["P99"]
    if content.order.nre:
        publication["administrativeRequest"] = ["SSN"]
    return publication


def practice_setting(body: Body, settings: GatewayFile) -> str:
    """``assettoOrganizzativo``: the clinic's discipline, where the table has it."""
    code = body.discipline_code
    if code.isascii() and code.isdigit() and int(code) in _DISCIPLINES:
        return f"AD_PSC{int(code):03}"
    return settings.practice_setting


def _cx(value: str, root: str) -> str:
    return f"{_NOT_IN_HL7.sub('', value)}^^^&{root}&ISO"


def _xon(name: str, root: str, code: str) -> str:
    plain = _NOT_IN_HL7.sub(" ", name).strip()
    return f"{plain}^^^^^&{root}&ISO^^^^{_NOT_IN_HL7.sub('', code)}"


def _moment(moment: datetime) -> str:
    """An IHE DTM: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")
