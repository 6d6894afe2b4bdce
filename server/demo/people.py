"""The invented people of the demonstration. Nobody here exists; neither do the two bodies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from server.models import UserRole


@dataclass(frozen=True, slots=True)
class Body:
    """An organisation. ``code`` is region and body as the national lists number them."""

    code: str
    name: str
    desk_phone: str
    province: str
    source_code: str
    """Of its booking centre."""
    region_code: str
    ministry_code: str
    street: str
    postal_code: str
    city: str


@dataclass(frozen=True, slots=True)
class Person:
    """A patient. ``born_in`` is the municipality that the codice fiscale needs; who has none has
    ``numbers`` of other systems instead."""

    family_name: str
    given_name: str
    sex: str
    birth_date: date
    born_in: str
    address: str
    numbers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Staff:
    body: Body
    username: str
    role: UserRole
    title: str
    given_name: str
    family_name: str
    code: str | None = None
    person: Person | None = None
    """Of a clinician: who they are, for the codice fiscale in what they sign."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a clinician is booked for: clinic, item of the national nomenclature, questions."""

    clinic_code: str
    clinic_name: str
    code: str
    name: str
    first_code: str
    first_name: str
    questions: tuple[str, ...]
    discipline_code: str
    branch_code: str
    site_code: str
    site_name: str


TUSCANY: Final = Body(
    "090299", "Azienda USL Toscana Arno", "055 000 4400", "FI", "cup-toscana",
    "090", "090299", "Lungarno delle Grazie 40", "50122", "Firenze",
)  # fmt: skip
EMILIA: Final = Body(
    "080199", "Azienda USL Emilia Panaro", "059 000 7700", "MO", "cup-emilia",
    "080", "080199", "Viale Berengario 12", "41121", "Modena",
)  # fmt: skip

CARDIOLOGY: Final = Service(
    "CARD-TV", "Ambulatorio di cardiologia", "89.01.3", "VISITA CARDIOLOGICA DI CONTROLLO",
    "89.7A.3", "PRIMA VISITA CARDIOLOGICA",
    ("Controllo dello scompenso cardiaco, peso e gonfiore alle caviglie",
     "Rivalutazione della terapia antipertensiva",
     "Fibrillazione atriale in terapia anticoagulante: controllo",
     "Lettura del tracciato Holter eseguito a domicilio"),
    "08", "02", "090299001", "Presidio Santa Verdiana",
)  # fmt: skip
DIABETES: Final = Service(
    "DIAB-TV", "Ambulatorio di diabetologia", "89.01.8", "VISITA ENDOCRINOLOGICA DI CONTROLLO",
    "89.7A.8", "PRIMA VISITA ENDOCRINOLOGICA",
    ("Diabete tipo 2: controllo del diario glicemico",
     "Adeguamento della terapia insulinica"),
    "19", "09", "090299002", "Presidio Lungarno",
)  # fmt: skip
LUNGS: Final = Service(
    "PNEU-TV", "Ambulatorio di pneumologia", "89.01.L", "VISITA PNEUMOLOGICA DI CONTROLLO",
    "89.7B.9", "PRIMA VISITA PNEUMOLOGICA",
    ("BPCO in terapia inalatoria: controllo",
     "Apnee notturne: lettura dei dati della CPAP"),
    "68", "22", "080199001", "Poliambulatorio Panaro",
)  # fmt: skip
NERVES: Final = Service(
    "NEUR-TV", "Ambulatorio di neurologia", "89.01.C", "VISITA NEUROLOGICA DI CONTROLLO",
    "89.13", "PRIMA VISITA NEUROLOGICA",
    ("Emicrania: controllo della profilassi",
     "Morbo di Parkinson: controllo della terapia"),
    "32", "15", "080199001", "Poliambulatorio Panaro",
)  # fmt: skip

SERVICES: Final = (CARDIOLOGY, DIABETES, LUNGS, NERVES)

CLINICIAN: Final = Staff(
    TUSCANY,
    "lucia.marchetti",
    UserRole.CLINICIAN,
    "dott.ssa",
    "Lucia",
    "Marchetti",
    "TA-10234",
    Person("Marchetti", "Lucia", "F", date(1974, 6, 21), "Firenze", ""),
)
COLLEAGUE: Final = Staff(
    TUSCANY,
    "giorgio.pellegrini",
    UserRole.CLINICIAN,
    "dott.",
    "Giorgio",
    "Pellegrini",
    "TA-10871",
    Person("Pellegrini", "Giorgio", "M", date(1968, 11, 9), "Arezzo", ""),
)
OTHER_CLINICIAN: Final = Staff(
    EMILIA,
    "chiara.fontana",
    UserRole.CLINICIAN,
    "dott.ssa",
    "Chiara",
    "Fontana",
    "EP-20418",
    Person("Fontana", "Chiara", "F", date(1980, 2, 15), "Modena", ""),
)
OTHER_COLLEAGUE: Final = Staff(
    EMILIA,
    "davide.montanari",
    UserRole.CLINICIAN,
    "dott.",
    "Davide",
    "Montanari",
    "EP-20533",
    Person("Montanari", "Davide", "M", date(1971, 9, 30), "Carpi", ""),
)
DESK: Final = Staff(TUSCANY, "paola.neri", UserRole.DESK, "", "Paola", "Neri")
MANAGER: Final = Staff(TUSCANY, "franco.galli", UserRole.MANAGER, "", "Franco", "Galli")
ADMINISTRATOR: Final = Staff(TUSCANY, "ilaria.costa", UserRole.ADMINISTRATOR, "", "Ilaria", "Costa")
STAFF: Final = (
    CLINICIAN,
    COLLEAGUE,
    DESK,
    MANAGER,
    ADMINISTRATOR,
    OTHER_CLINICIAN,
    OTHER_COLLEAGUE,
    Staff(EMILIA, "sara.bruni", UserRole.DESK, "", "Sara", "Bruni"),
    Staff(EMILIA, "marta.serra", UserRole.ADMINISTRATOR, "", "Marta", "Serra"),
    Staff(EMILIA, "enrico.lodi", UserRole.MANAGER, "", "Enrico", "Lodi"),
)

ROSA: Final = Person(
    "Bartolini", "Rosa", "F", date(1944, 5, 17), "Firenze", "Via dei Serragli 112, 50124 Firenze"
)
_TABLE: Final = """\
Della Gherardesca-Sforza|Maria Antonietta|F|1951-11-02|Pisa|Lungarno Mediceo 8, 56127 Pisa
Innocenti|Renzo|M|1939-01-28|Prato|Via Strozzi 41, 59100 Prato
Baldi|Giovanna|F|1962-07-09|Empoli|Via Salvagnoli 15, 50053 Empoli
Hoxha|Arben|M|1971-03-30|Firenze|Via Pistoiese 220, 50145 Firenze
Cecchi|Silvano|M|1947-09-14|Pistoia|Corso Gramsci 60, 51100 Pistoia
D'Angelo|Assunta|F|1936-12-08|Napoli|Via Aretina 77, 50136 Firenze
Niccolai|Laura|F|1985-04-21|Firenze|Via Masaccio 19, 50132 Firenze
Fabbri|Dino|M|1950-06-03|Fiesole|Via Gramsci 5, 50014 Fiesole
Pieri|Marisa|F|1958-02-11|Lucca|Via Fillungo 90, 55100 Lucca
Lo Presti|Salvatore|M|1966-10-25|Palermo|Via Baracca 148, 50127 Firenze
Vannucci|Iolanda|F|1941-08-19|Siena|Via Reginaldo Giuliani 33, 50141 Firenze
Nesi|Alberto|M|1978-05-06|Prato|Via Bologna 12, 59100 Prato
Ricci|Daniela|F|1969-01-16|Firenze|Via Senese 51, 50124 Firenze
Taddei|Bruno|M|1945-03-07|Arezzo|Via del Gelsomino 4, 50125 Firenze
Morandi|Elisa|F|1990-09-29|Livorno|Via Nazionale 8, 50123 Firenze
Guidi|Piero|M|1953-07-22|Scandicci|Via Pantin 16, 50018 Scandicci
Ferrari|Loredana|F|1955-04-13|Modena|Via Emilia Est 210, 41124 Modena
Zanasi|Ivano|M|1948-11-27|Carpi|Via Berengario 30, 41012 Carpi
Golinelli|Tiziana|F|1963-06-18|Mirandola|Via Pico 22, 41037 Mirandola
Benali|Youssef|M|1981-02-05|Modena|Via Canaletto 88, 41122 Modena
Vaccari|Adriana|F|1940-10-31|Sassuolo|Viale San Giorgio 6, 41049 Sassuolo
Malagoli|Guido|M|1957-08-01|Formigine|Via Trento 14, 41043 Formigine
Barbieri|Nives|F|1949-01-09|Vignola|Via Garibaldi 3, 41058 Vignola
Righi|Stefano|M|1974-12-15|Modena|Via Giardini 300, 41124 Modena
Lugli|Franca|F|1946-05-24|Soliera|Via Grandi 9, 41019 Soliera
Bellei|Walter|M|1952-03-03|Pavullo nel Frignano|Via Marchiani 17, 41026 Pavullo
"""


def parse_person(line: str) -> Person:
    """Family name, given name, sex, birth date, place of birth, address, between bars."""
    family_name, given_name, sex, birth_date, born_in, address = line.split("|")
    return Person(family_name, given_name, sex, date.fromisoformat(birth_date), born_in, address)


PATIENTS: Final = tuple(parse_person(line) for line in _TABLE.splitlines())
