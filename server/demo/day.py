"""A believable day of visits around now, as the two files that CUP would send.

Pure. The first body sends a FHIR R4 bundle in the shape of the HL7 Italia televisita guide, the
second a CSV file. Instants are computed in UTC and written with their offset, so that the day is
right across midnight and the change of the hour.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, Final
from zoneinfo import ZoneInfo

from codicefiscale import codicefiscale

from server.demo import people
from server.demo.people import Person, Service, Staff
from server.models import AppointmentStatus

MAIN_BOOKING: Final = "TA26-100005"
"""The booking of the patient whose link the banner shows."""
_ROME: Final = ZoneInfo("Europe/Rome")
_GRID: Final = timedelta(minutes=5)
_BOOKED_BEFORE: Final = timedelta(days=15)
_PRESCRIBED_BEFORE: Final = timedelta(days=5)
_GUIDE: Final = "http://hl7.it/fhir/televisita"
_CODICE_FISCALE: Final = "http://hl7.it/sid/codiceFiscale"
_BODY_CODE: Final = "http://hl7.it/sid/fls"
_UNKNOWN_CODE: Final = "TA-99999"
"""A locum whom nobody has added yet: the booking is listed as *to assign*."""

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One booking of the day."""

    booking_code: str
    clinician_code: str
    service: Service
    person: Person
    question: str
    start: datetime
    minutes: int
    priority: str
    is_first_visit: bool = False
    is_cancelled: bool = False
    booked_at: datetime | None = None
    """When CUP made the booking; else fifteen days before its file."""

    @property
    def end(self) -> datetime:
        return self.start + timedelta(minutes=self.minutes)

    @property
    def service_code(self) -> str:
        return self.service.first_code if self.is_first_visit else self.service.code

    @property
    def service_name(self) -> str:
        return self.service.first_name if self.is_first_visit else self.service.name


def first_start(now: datetime) -> datetime:
    """When the main visit starts: in about five minutes, on the grid of the agenda."""
    soon = now.astimezone(UTC) + _GRID
    return datetime.fromtimestamp(-(-soon.timestamp() // 300) * 300, UTC)


def plan_day(now: datetime) -> tuple[list[Slot], list[Slot]]:
    """The bookings of the Tuscan and of the Emilian body."""
    start = first_start(now)
    patients = iter(people.PATIENTS)
    main = _agenda("TA26-1", people.CLINICIAN, people.CARDIOLOGY, start, range(-4, 8), patients)
    main[4] = _replaced(main[4], people.ROSA)
    colleague = _agenda("TA26-2", people.COLLEAGUE, people.DIABETES, start, range(-1, 3), patients)
    others = _agenda("EP26-1", people.OTHER_CLINICIAN, people.LUNGS, start, range(-1, 4), patients)
    others += _agenda("EP26-2", people.OTHER_COLLEAGUE, people.NERVES, start, range(4), patients)
    locum = Staff(people.TUSCANY, "", people.CLINICIAN.role, "", "", "", _UNKNOWN_CODE)
    unassigned = _agenda("TA26-3", locum, people.CARDIOLOGY, start, range(3, 4), patients)
    return main + colleague + unassigned, others


def _agenda(
    prefix: str,
    clinician: Staff,
    service: Service,
    start: datetime,
    places: range,
    patients: Iterator[Person],
) -> list[Slot]:
    """Half-hour bookings around ``start``: two of the earlier ones were cancelled."""
    questions, priorities = cycle(service.questions), cycle("DBPUDP")
    return [
        Slot(
            booking_code=f"{prefix}{number:05}",
            clinician_code=clinician.code or "",
            service=service,
            person=next(patients),
            question=next(questions),
            start=start + place * timedelta(minutes=30),
            minutes=30 if place == 2 else 20,
            priority=next(priorities),
            is_first_visit=place == 2,
            is_cancelled=place in {-4, -2},
        )
        for number, place in enumerate(places, start=1)
    ]


def _replaced(slot: Slot, person: Person) -> Slot:
    """The slot of the main visit, with its own patient."""
    return Slot(
        booking_code=MAIN_BOOKING,
        clinician_code=slot.clinician_code,
        service=slot.service,
        person=person,
        question=slot.service.questions[0],
        start=slot.start,
        minutes=slot.minutes,
        priority="B",
    )


def codice_fiscale_of(person: Person) -> str:
    code: str = codicefiscale.encode(
        lastname=person.family_name,
        firstname=person.given_name,
        gender="F" if person.sex == "F" else "M",
        birthdate=person.birth_date.strftime("%d/%m/%Y"),
        birthplace=person.born_in,
    )
    return code


def render_csv(slots: list[Slot]) -> bytes:
    """The second body's file, as a booking centre exports it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(
        ("codice_prenotazione", "ente", "codice_medico", "codice_ambulatorio", "ambulatorio",
         "inizio", "durata_minuti", "stato", "priorità", "cognome", "nome", "data_nascita",
         "sesso", "codice_fiscale", "telefono", "email", "indirizzo", "nre", "quesito",
         "codice_prestazione", "prestazione")
    )  # fmt: skip
    for slot in slots:
        person = slot.person
        writer.writerow(
            (slot.booking_code, people.EMILIA.code, slot.clinician_code, slot.service.clinic_code,
             slot.service.clinic_name, _rome(slot.start), slot.minutes, _status(slot).value,
             slot.priority, person.family_name, person.given_name, f"{person.birth_date:%d/%m/%Y}",
             person.sex, codice_fiscale_of(person), _phone(slot), _email(slot), person.address,
             _nre("080", slot), slot.question, slot.service_code, slot.service_name)
        )  # fmt: skip
    return text.getvalue().encode("utf-8-sig")


def render_bundle(slots: list[Slot], now: datetime) -> bytes:
    """The first body's file: a transaction bundle."""
    body = people.TUSCANY
    resources: list[Resource] = [
        {
            "resourceType": "Organization",
            "id": body.code,
            "identifier": [{"system": _BODY_CODE, "value": body.code}],
            "name": body.name,
        }
    ]
    resources += [_clinic(service) for service in (people.CARDIOLOGY, people.DIABETES)]
    for clinician in (people.CLINICIAN, people.COLLEAGUE):
        resources += _clinician(clinician.code or "", clinician.given_name, clinician.family_name)
    resources += _clinician(_UNKNOWN_CODE, "Medico", "Sostituto")
    for slot in slots:
        resources += [_patient(slot), _request(slot, now), _appointment(slot, now)]
    entries = [
        {
            "fullUrl": f"http://cup.example.it/fhir/{resource['resourceType']}/{resource['id']}",
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return json.dumps(bundle, ensure_ascii=False).encode()


def _clinic(service: Service) -> Resource:
    return {
        "resourceType": "Location",
        "id": service.clinic_code,
        "identifier": [{"value": service.clinic_code}],
        "name": service.clinic_name,
    }


def _clinician(code: str, given_name: str, family_name: str) -> list[Resource]:
    return [
        {
            "resourceType": "Practitioner",
            "id": f"p-{code}",
            "name": [{"family": family_name, "given": [given_name]}],
        },
        {
            "resourceType": "PractitionerRole",
            "id": code,
            "identifier": [{"value": code}],
            "practitioner": {"reference": f"Practitioner/p-{code}"},
            "organization": {"reference": f"Organization/{people.TUSCANY.code}"},
        },
    ]


def _patient(slot: Slot) -> Resource:
    person = slot.person
    line, _, town = person.address.rpartition(", ")
    postal_code, _, city = town.partition(" ")
    return {
        "resourceType": "Patient",
        "id": f"pat-{slot.booking_code}",
        "meta": {"profile": [f"{_GUIDE}/StructureDefinition/PatientTelevisita"]},
        "identifier": [
            {"system": system, "value": value}
            for system, value in person.numbers or ((_CODICE_FISCALE, codice_fiscale_of(person)),)
        ],
        "name": [{"family": person.family_name, "given": person.given_name.split()}],
        "telecom": [
            {"system": "phone", "value": _phone(slot)},
            *({"system": "email", "value": email} for email in (_email(slot),) if email),
        ],
        "gender": "female" if person.sex == "F" else "male",
        "birthDate": person.birth_date.isoformat(),
        "address": [{"line": [line], "city": city, "postalCode": postal_code, "country": "IT"}],
        "managingOrganization": {"reference": f"Organization/{people.TUSCANY.code}"},
    }


def _request(slot: Slot, now: datetime) -> Resource:
    priority = {
        "url": f"{_GUIDE}/StructureDefinition/classePriorita",
        "valueCoding": {"system": "urn:oid:2.16.840.1.113883.2.9.5.2.3", "code": slot.priority},
    }
    service = {
        "system": f"{_GUIDE}/CodeSystem/CsCatalogoNazionalePrestazioni",
        "code": slot.service_code,
        "display": slot.service_name,
    }
    return {
        "resourceType": "ServiceRequest",
        "id": f"req-{slot.booking_code}",
        "meta": {"profile": [f"{_GUIDE}/StructureDefinition/ServiceRequestTelevisita"]},
        "extension": [priority],
        "requisition": {"value": _nre("090", slot)},
        "status": "active",
        "intent": "order",
        "code": {"coding": [service]},
        "subject": {"reference": f"Patient/pat-{slot.booking_code}"},
        "authoredOn": _rome(_booked_at(slot, now) - _PRESCRIBED_BEFORE),
        "requester": {"display": "dott.ssa Serena Mori"},
        **({"reasonCode": [{"text": slot.question}]} if slot.question else {}),
    }


def _appointment(slot: Slot, now: datetime) -> Resource:
    actors = (
        f"Patient/pat-{slot.booking_code}",
        f"PractitionerRole/{slot.clinician_code}",
        f"Location/{slot.service.clinic_code}",
    )
    return {
        "resourceType": "Appointment",
        "id": slot.booking_code,
        "meta": {"profile": [f"{_GUIDE}/StructureDefinition/AppointmentTelevisita"]},
        "identifier": [{"value": slot.booking_code}],
        "status": _status(slot).value,
        "basedOn": [{"reference": f"ServiceRequest/req-{slot.booking_code}"}],
        "created": _rome(_booked_at(slot, now)),
        "start": _rome(slot.start),
        "end": _rome(slot.end),
        "participant": [{"actor": {"reference": actor}, "status": "accepted"} for actor in actors],
    }


def _booked_at(slot: Slot, now: datetime) -> datetime:
    return slot.booked_at or now - _BOOKED_BEFORE


def _status(slot: Slot) -> AppointmentStatus:
    return AppointmentStatus.CANCELLED if slot.is_cancelled else AppointmentStatus.BOOKED


def _rome(instant: datetime) -> str:
    return instant.astimezone(_ROME).isoformat(timespec="seconds")


def _phone(slot: Slot) -> str:
    return f"+39 000 {slot.booking_code[-6:-3]} {slot.booking_code[-3:]}"


def _nre(region: str, slot: Slot) -> str:
    return f"{region}A04{slot.booking_code[-6:]:0>9}"


def _email(slot: Slot) -> str:
    """Two in three have an address; the others get everything by SMS."""
    number = int(slot.booking_code[-6:])
    return f"paziente.{number}@posta.example.org" if number % 3 else ""
