"""The finished visits of the demonstration: who, when, what the doctor wrote. Pure.

Between them they are what a report has to bear: first and control visit, with and without a
caregiver, people without codice fiscale, every section and hardly any, hard texts, a correction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from server.demo import people
from server.demo.day import Slot
from server.demo.people import Person, Service, Staff
from server.i18n import ROME
from server.sealed import NATIONAL_SECTIONS, Coding, Section

SPACING: Final = timedelta(minutes=48)
"""From one visit to the next: each is over and reported before the next patient comes, and the
doctor is still logged in."""
_FIRST_AT: Final = time(8, 30)
_LONGEST: Final = 20_000
_STP: Final = "http://hl7.it/sid/stp"
_ENI: Final = "http://hl7.it/sid/eni"
_TEAM_CARD: Final = "urn:oid:2.16.840.1.113883.2.9.4.3.7"
_TEAM_NUMBER: Final = "urn:oid:2.16.840.1.113883.2.9.4.3.3"


@dataclass(frozen=True, slots=True)
class Case:
    """One visit of yesterday. ``corrected`` is what the second version says, if there is one."""

    person: Person
    clinician: Staff
    service: Service
    sections: Mapping[Section, str]
    question: str = ""
    codes: tuple[Coding, ...] = ()
    companions: str = ""
    is_first_visit: bool = False
    corrected: Mapping[Section, str] = field(default_factory=dict)
    is_read: bool = False
    """The patient has downloaded the report."""


def _findings(text: str) -> dict[Section, str]:
    return {Section.FINDINGS: text}


def _foreigner(
    family_name: str, given_name: str, sex: str, born_on: date, address: str, *numbers: str
) -> Person:
    """Somebody without codice fiscale; ``numbers`` are systems and values in turn."""
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    return Person(family_name, given_name, sex, born_on, "", address, pairs)


_FULL: Final[dict[Section, str]] = {
    Section.QUESTION: "Prima visita per dispnea da sforzo e gonfiore alle caviglie.",
    Section.HISTORY: "Ipertensione arteriosa da 15 anni. Diabete tipo 2 in terapia orale.",
    Section.ALLERGIES: "Penicillina (orticaria, 1998). Nessuna intolleranza alimentare.",
    Section.CURRENT_THERAPY: "Ramipril 5 mg 1 cp al mattino; metformina 1000 mg 1 cp x 2.",
    Section.EARLIER_TESTS: "ECG del 3 ottobre: ritmo sinusale, 78/min. Creatinina 1,1 mg/dl.",
    Section.EXAMINATION: "In video: eupnoica a riposo, edemi declivi lievi, riferiti PA 138/82.",
    Section.PERFORMED: "Colloquio, osservazione in video, lettura del diario della pressione.",
    Section.COMPARISON: "Peso aumentato di 2 kg rispetto al controllo di settembre.",
    Section.FINDINGS: "Scompenso cardiaco a frazione di eiezione conservata, classe NYHA II.",
    Section.DIAGNOSIS: "Insufficienza cardiaca congestizia; ipertensione essenziale.",
    Section.CONCLUSIONS: "Quadro clinico stabile, da seguire con il peso quotidiano.",
    Section.ADVICE: "Controllare elettroliti e funzione renale tra due settimane.",
    Section.FURTHER_TESTS: "Ecocardiogramma entro 60 giorni (classe D).",
    Section.THERAPY: "Aggiungere furosemide 25 mg 1 cp al mattino; ramipril invariato.",
}
assert set(_FULL) == set(NATIONAL_SECTIONS)  # noqa: S101 -- of this module alone
_CODES: Final = (
    Coding(system="icd9_cm", code="428.0", display="Insufficienza cardiaca congestizia"),
    Coding(system="icd9_cm", code="401.9", display="Ipertensione essenziale non specificata"),
)
_HARD: Final = (
    'Σ dei punteggi < 3 & > 1; il paziente riferisce «sto meglio» 🙂 e "dormo 8 h".\n\n'
    "Valori: K⁺ 4,2 mEq/l; T° 36,5 °C; SpO₂ 97 %; µ e § letti dal diario.\n"
    "</text><![CDATA[ non è codice ]]> &amp; neppure questo."
)
_SENTENCE: Final = (
    "Si rilegge il diario della pressione del giorno {day}: al mattino 132/78, alla sera 128/74, "
    "peso stabile, nessun capogiro, terapia assunta con regolarità. "
)


def _long_text() -> str:
    text = "".join(_SENTENCE.format(day=day) for day in range(1, 200))
    return text[: _LONGEST - 1].rstrip().ljust(_LONGEST - 1, ".") + "."


_ANNA: Final = Person(
    "Mancini", "Annamaria", "F", date(1949, 2, 3), "Firenze", "Via Faentina 44, 50133 Firenze"
)
_UGO: Final = Person(
    "Bencini", "Ugo", "M", date(1942, 8, 30), "Prato", "Via Ferrucci 7, 59100 Prato"
)
_IRMA: Final = Person(
    "Lapi", "Irma", "F", date(1937, 6, 11), "Pistoia", "Via Dalmazia 21, 51100 Pistoia"
)
_CARLO: Final = Person(
    "Donati", "Carlo", "M", date(1960, 1, 19), "Siena", "Via Banchi di Sopra 3, 53100 Siena"
)
_LINA: Final = Person(
    "Gori", "Lina", "F", date(1946, 12, 5), "Empoli", "Via del Giglio 9, 50053 Empoli"
)
_MAMADOU: Final = _foreigner(
    "Diallo", "Mamadou", "M", date(1989, 4, 2), "Via Palazzuolo 80, 50123 Firenze",
    _STP, "STP0900100012345",
)  # fmt: skip
_ELENA: Final = _foreigner(
    "Ionescu", "Elena", "F", date(1978, 10, 14), "Via Gioberti 15, 50121 Firenze",
    _ENI, "ENI0900100067890",
)  # fmt: skip
_KLAUS: Final = _foreigner(
    "Weber", "Klaus", "M", date(1955, 3, 27), "Via dei Renai 2, 50125 Firenze",
    _TEAM_NUMBER, "W270355M017", _TEAM_CARD, "80276001999123456789",
)  # fmt: skip

_HEART, _SUGAR = people.CARDIOLOGY, people.DIABETES
_LUCIA, _GIORGIO = people.CLINICIAN, people.COLLEAGUE
CASES: Final = (
    Case(_ANNA, _LUCIA, _HEART, _findings("Compenso emodinamico buono. Terapia invariata.")),
    Case(
        _UGO, _LUCIA, _HEART, _FULL, "Dispnea da sforzo: prima visita", _CODES,
        companions="mia figlia Elena", is_first_visit=True, is_read=True,
    ),
    Case(
        _MAMADOU, _GIORGIO, _SUGAR,
        _findings("Glicemie a digiuno tra 110 e 130. Prosegue la terapia."),
        "Diabete tipo 2: controllo del diario glicemico",
    ),
    Case(
        _ELENA, _GIORGIO, _SUGAR,
        _findings("Ipoglicemie notturne: ridotta di 2 unità l'insulina serale."),
        "Adeguamento della terapia insulinica", companions="il marito",
    ),
    Case(
        _KLAUS, _LUCIA, _HEART,
        _findings("Fibrillazione atriale permanente, frequenza controllata. INR 2,4."),
        "Fibrillazione atriale in terapia anticoagulante: controllo",
    ),
    Case(_IRMA, _LUCIA, _HEART, _findings(_HARD), "Rivalutazione della terapia"),
    Case(_CARLO, _LUCIA, _HEART, _findings(_long_text()), "Lettura del diario della pressione"),
    Case(
        _LINA, _GIORGIO, _SUGAR,
        _findings("Emoglobina glicata 7,9 %. Metformina 500 mg x 2."),
        "Diabete tipo 2: controllo", is_read=True,
        corrected=_findings("Emoglobina glicata 7,1 %. Metformina 500 mg x 2."),
    ),
)  # fmt: skip


def plan_past(now: datetime) -> list[tuple[Slot, Case]]:
    """The cases as bookings of yesterday, one after the other."""
    yesterday = now.astimezone(ROME).date() - timedelta(days=1)
    first = datetime.combine(yesterday, _FIRST_AT, tzinfo=ROME).astimezone(UTC)
    return [
        (
            Slot(
                booking_code=f"TA26-4{number:05}",
                clinician_code=case.clinician.code or "",
                service=case.service,
                person=case.person,
                question=case.question,
                start=first + (number - 1) * SPACING,
                minutes=20,
                priority="D" if case.is_first_visit else "P",
                is_first_visit=case.is_first_visit,
            ),
            case,
        )
        for number, case in enumerate(CASES, start=1)
    ]
