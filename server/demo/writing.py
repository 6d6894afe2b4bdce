"""What the demonstration's doctors find in the editor: a few codes, templates, phrases.

A few dozen codes to try the search with; the whole lists are the operator's to supply
(``accanto codes import``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import select

from server.audit import ActorRole
from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.demo import people
from server.demo.people import Service
from server.models import CodeSystem, User, UserRole
from server.sealed import NoteContent, Section
from server.writing.codelists import CodeLine, replace_list
from server.writing.phrases import save_phrase
from server.writing.templates import TEMPLATES, TemplateWish, save_template

_ICD9_CM: Final = """\
250.00;Diabete mellito, tipo II, senza menzione di complicanze
250.60;Diabete con manifestazioni neurologiche, tipo II
272.0;Ipercolesterolemia pura
272.4;Altre e non specificate iperlipidemie
278.00;Obesità non specificata
285.9;Anemia non specificata
401.1;Ipertensione essenziale benigna
401.9;Ipertensione essenziale non specificata
402.91;Cardiopatia ipertensiva non specificata con insufficienza cardiaca
412;Infarto miocardico pregresso
413.9;Altra e non specificata angina pectoris
414.01;Aterosclerosi coronarica di arteria coronarica nativa
424.0;Disturbi della valvola mitrale
424.1;Disturbi della valvola aortica
425.4;Altre cardiomiopatie primitive
427.31;Fibrillazione atriale
427.32;Flutter atriale
427.69;Altri battiti prematuri
428.0;Insufficienza cardiaca congestizia, non specificata
428.1;Insufficienza del cuore sinistro
428.9;Insufficienza cardiaca, non specificata
434.91;Occlusione di arteria cerebrale, non specificata, con infarto cerebrale
443.9;Malattia vascolare periferica non specificata
459.81;Insufficienza venosa periferica, non specificata
491.21;Bronchite cronica ostruttiva con esacerbazione acuta
493.90;Asma non specificata
496;Broncopneumopatia cronica ostruttiva, non classificata altrove
585.3;Malattia renale cronica, stadio III
715.90;Osteoartrosi non specificata
780.2;Sincope e collasso
785.1;Palpitazioni
786.05;Respiro corto
V45.01;Stimolatore cardiaco in situ
V58.61;Uso a lungo termine di anticoagulanti
V67.59;Visita di controllo dopo altro trattamento
"""
_TESTS: Final = """\
89.50;ELETTROCARDIOGRAMMA DINAMICO (HOLTER)
89.52;ELETTROCARDIOGRAMMA
89.61.1;MONITORAGGIO CONTINUO (24 ORE) DELLA PRESSIONE ARTERIOSA
"""
_HEART_FAILURE: Final = NoteContent(
    sections={
        Section.FINDINGS: (
            "Compenso emodinamico: \nClasse NYHA: \nPeso: kg (precedente: kg)\n"
            "PA: mmHg, FC: battiti al minuto\nEdemi declivi: \nOrtopnea: "
        ),
        Section.CONCLUSIONS: "Scompenso cardiaco in compenso stabile.",
        Section.ADVICE: "Controllo del peso ogni mattina; chiamare se aumenta di 2 kg in 3 giorni.",
        Section.FURTHER_TESTS: "Creatinina, sodio, potassio, NT-proBNP.",
    }
)
_PHRASES: Final = (
    ("pa", "Pressione arteriosa: mmHg, frequenza cardiaca: battiti al minuto."),
    ("tv", "Visita eseguita in televisita: l'esame obiettivo è limitato a ciò che si vede."),
    ("c6", "Controllo tra 6 mesi, anche in televisita."),
)


async def add_writing(database: Database, now: datetime) -> None:
    """Codes for all, phrases for each body, and a template that the first body publishes."""
    async with database.begin(EVERY_ORGANISATION) as session:
        visits = {code: name for one in people.SERVICES for code, name in _codes_of(one)}
        services = [*(CodeLine(*pair) for pair in visits.items()), *_lines_of(_TESTS)]
        for system, lines in (
            (CodeSystem.ICD9_CM, _lines_of(_ICD9_CM)),
            (CodeSystem.SERVICES, services),
        ):
            await replace_list(session, system, lines, version="demo", now=now)
        users = await session.scalars(
            select(User).where(User.role == UserRole.CLINICIAN).order_by(User.username)
        )
        doctors = {user.organisation_id: user for user in users}
    for place, doctor in enumerate(doctors.values()):
        author = Actor(doctor.id, ActorRole.CLINICIAN, OrganisationId(doctor.organisation_id))
        async with database.begin(author.organisation) as session:
            for shortcut, text in _PHRASES:
                await save_phrase(session, author, shortcut, text, is_shared=True)
            if place == 0:
                wish = TemplateWish(
                    title="Controllo dello scompenso cardiaco",
                    specialty="Cardiologia",
                    content=_HEART_FAILURE,
                )
                template = await save_template(session, author, wish, None, now)
                await TEMPLATES.publish(session, author, template.id, now)


def _codes_of(service: Service) -> tuple[tuple[str, str], ...]:
    return ((service.code, service.name), (service.first_code, service.first_name))


def _lines_of(text: str) -> list[CodeLine]:
    return [CodeLine(*line.split(";", 1)) for line in text.splitlines()]
