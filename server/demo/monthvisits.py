"""Holding the visits of the month (:mod:`server.demo.month`) on the stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import cycle
from typing import Final

from server.demo import people
from server.demo.day import Slot
from server.demo.lines import Outage, Quality, measure_line
from server.demo.month import Ending, MonthVisit, Session
from server.demo.stage import (
    PATIENT_BROWSERS,
    Doctor,
    Happening,
    Scene,
    SecretsOf,
    Stage,
    come_back,
    drop,
    join,
    leave,
    prove,
)
from server.line.measured import Cause
from server.roomseed import CLINICIAN_SEAT, PATIENT_SEAT
from server.sealed import Section

ImportSlots = Callable[[Sequence[Slot], str], Awaitable[None]]
"""Takes bookings in, as CUP's file of the moment on the stage; the name is the file's."""

_ENDS_AT: Final = 14.0
"""Minutes after the admission."""
_NOTES: Final = {
    people.CARDIOLOGY.clinic_code: (
        "Compenso emodinamico buono, peso stabile. Terapia invariata, controllo tra sei mesi.",
        "PA domiciliare nei limiti. Si conferma la terapia in corso.",
        "Holter senza aritmie significative. Prosegue il betabloccante.",
    ),
    people.DIABETES.clinic_code: (
        "Diario glicemico regolare, nessuna ipoglicemia. Prosegue la terapia.",
        "Glicemie del mattino alte: aumentata di 2 unità l'insulina serale.",
    ),
}
_IN_PERSON: Final = "La visita in video non basta: si prosegue in ambulatorio."
_DROPS: Final[Mapping[Ending, tuple[tuple[float, float, Cause], ...]]] = {
    Ending.DROPPED: ((5.0, 14, Cause.NETWORK_CHANGED), (10.2, 21, Cause.NETWORK_CHANGED)),
    Ending.ASLEEP: ((7.1, 75, Cause.PAGE_ASLEEP),),
    Ending.WEAK_LINE: (
        (3.0, 25, Cause.NETWORK_DOWN), (6.5, 48, Cause.PATH_LOST), (10.0, 66, Cause.NETWORK_DOWN),
    ),
    Ending.LINE_LOST: ((4.2, 31, Cause.NETWORK_DOWN), (6.0, 479, Cause.NETWORK_DOWN)),
}  # fmt: skip
"""Minute, seconds, cause."""
_QUALITIES: Final = {
    Ending.VOICE: Quality.VOICE,
    Ending.WEAK_LINE: Quality.BAD,
    Ending.LINE_LOST: Quality.BAD,
}
_SUITABILITIES: Final = {
    Ending.VOICE: "voice_only",
    Ending.WEAK_LINE: "not_suitable",
    Ending.LINE_LOST: "not_suitable",
}
_CONVERTED: Final = frozenset({Ending.WEAK_LINE, Ending.EXAM_NEEDED, Ending.PATIENT_CHOICE})
_FAILED: Final = {Ending.LINE_LOST: "weak_line", Ending.PATIENT_DEVICE: "patient_device"}
_LATE_MINUTES: Final = 10
_OF_A_BAD_LINE: Final = "La linea cadeva e la voce andava e veniva."


async def hold_month(
    stage: Stage, sessions: Sequence[Session], secrets_of: SecretsOf, import_slots: ImportSlots
) -> None:
    """Hold the visits on a stage that serves.

    :raises CommandFailed: a page said no: a bug.
    """
    for number, session in enumerate(sessions, start=1):
        stage.now = session.evening_before
        if session.imported:
            await import_slots(session.imported, f"month-{number}.json")
        cancelled = [
            replace(visit.slot, is_cancelled=True)
            for visit in session.visits
            if visit.ending is Ending.CANCELLED
        ]
        if cancelled:
            stage.now = session.visits[0].slot.start - timedelta(minutes=50)
            await import_slots(cancelled, f"month-{number}-cancelled.json")
        await _hold_session(stage, session, secrets_of)


async def _hold_session(stage: Stage, session: Session, secrets_of: SecretsOf) -> None:
    username = session.clinician.username
    browsers = cycle(PATIENT_BROWSERS)
    async with stage.browser() as browser:
        doctor = Doctor(stage, browser, username, *secrets_of(username))
        for planned in session.visits:
            if planned.ending is Ending.CANCELLED:
                continue
            visit = await stage.load_visit(planned.slot.booking_code)
            async with stage.browser(next(browsers)) as patient:
                scene = Scene(stage, planned.slot, visit, patient, browser)
                await _hold(scene, planned, doctor)


async def _hold(scene: Scene, planned: MonthVisit, doctor: Doctor) -> None:
    ending = planned.ending
    if ending is Ending.PATIENT_ABSENT:
        await _wait_in_vain(scene, doctor)
        return
    camera = "failed" if ending is Ending.PATIENT_DEVICE else "ok"
    await scene.arrive(-14, planned.companions, step=1.6, camera=camera)
    if ending is Ending.CLINICIAN_ABSENT:
        await scene.tell((19, leave(PATIENT_SEAT)))
        scene.at(19.5)
        await doctor.come()
        await scene.finish("no_show_clinician")
        doctor.see()
        return
    began = await _begin(scene, ending, doctor)
    await _talk(scene, planned, began)
    doctor.see()
    if ending not in _FAILED:
        scene.at(began + _ENDS_AT + 1)
        await doctor.sign(scene)
    if planned.score and ending is not Ending.PATIENT_DEVICE:
        scene.at(began + _ENDS_AT + 2.5)
        await _rate(scene, planned, doctor)


async def _wait_in_vain(scene: Scene, doctor: Doctor) -> None:
    scene.at(-1)
    await doctor.come()
    await scene.doctor.get(scene.doctor_url)
    await scene.tell((0, join(CLINICIAN_SEAT)), (14, leave(CLINICIAN_SEAT)))
    scene.at(15)
    await scene.finish("no_show_patient")
    doctor.see()


async def _begin(scene: Scene, ending: Ending, doctor: Doctor) -> float:
    """The doctor comes in and admits; returns the minute."""
    began = 1.2
    if ending is Ending.LATE:
        scene.at(-5)
        await doctor.come()
        await scene.doctor.post(f"{scene.doctor_url}/late", minutes=str(_LATE_MINUTES))
        began = 9.0
    scene.at(began - 1)
    await doctor.come()
    await scene.doctor.get(scene.doctor_url)
    await scene.tell((began - 0.8, join(CLINICIAN_SEAT)))
    await scene.admit(began)
    return began


async def _talk(scene: Scene, planned: MonthVisit, began: float) -> None:
    """The call with all its drops, the note, and the outcome."""
    ending = planned.ending
    if ending is Ending.PATIENT_DEVICE:
        await scene.tell((began + 0.3, prove(PATIENT_SEAT)))
    else:
        proofs = [(began + 0.2, prove(seat)) for seat in (PATIENT_SEAT, CLINICIAN_SEAT)]
        await scene.tell(*proofs)
        scene.at(began + 0.5)
        await scene.confirm()
    await scene.tell(*_drops_of(ending, began))
    if ending not in _FAILED:
        scene.at(began + _ENDS_AT - 1)
        notes = _NOTES[scene.slot.service.clinic_code]
        text = _IN_PERSON if ending in _CONVERTED else notes[len(scene.visit.id) % len(notes)]
        await scene.save_note({Section.FINDINGS: text})
    end = began + _ENDS_AT
    if ending is not Ending.LINE_LOST:
        await scene.tell((end, leave(PATIENT_SEAT)))
    await scene.tell((end, leave(CLINICIAN_SEAT)))
    if ending is not Ending.PATIENT_DEVICE:
        await _bring_measures(scene, ending, began)
    scene.at(end + 0.5)
    await _finish(scene, planned)


def _drops_of(ending: Ending, began: float) -> list[Happening]:
    """The last of a line that is lost has no return."""
    happenings: list[Happening] = []
    for minute, seconds, _ in _DROPS.get(ending, ()):
        happenings.append((began + minute, drop(PATIENT_SEAT)))
        happenings.append((began + minute + seconds / 60, come_back(PATIENT_SEAT)))
    return happenings[:-1] if ending is Ending.LINE_LOST else happenings


async def _bring_measures(scene: Scene, ending: Ending, began: float) -> None:
    """Of a line with outages, each page says what it could know of them."""
    first = scene.slot.start + timedelta(minutes=began + 0.3)
    last = scene.slot.start + timedelta(minutes=began + _ENDS_AT - 0.2)
    outages = [
        Outage(scene.slot.start + timedelta(minutes=began + minute), seconds, cause)
        for minute, seconds, cause in _DROPS.get(ending, ())
    ]
    quality = _QUALITIES.get(ending, Quality.GOOD)
    seen = [replace(one, cause=Cause.OTHER_SIDE_AWAY) for one in outages]
    await scene.bring_measures(
        measure_line(quality, first, last, outages), measure_line(quality, first, last, seen)
    )


async def _finish(scene: Scene, planned: MonthVisit) -> None:
    ending = planned.ending
    if ending in _FAILED:
        await scene.finish("technical_failure", reason=_FAILED[ending])
        return
    present = ["patient", "caregiver"] if planned.companions else ["patient"]
    stated = _SUITABILITIES.get(ending, "suitable")
    if ending in _CONVERTED:
        more = {"reason": ending.value, "suitability": stated, "present": present}
        await scene.finish("converted_to_in_person", **more)
        return
    await scene.finish("completed", suitability=stated, present=present)


async def _rate(scene: Scene, planned: MonthVisit, doctor: Doctor) -> None:
    said = {"visit": planned.score, "line": "good", "words": planned.words}
    if planned.ending in _QUALITIES:
        said = {"visit": "fair", "line": "poor", "words": _OF_A_BAD_LINE}
    await scene.patient.post(f"{scene.patient_url}/rating", **said)
    await scene.doctor.post(f"{scene.doctor_url}/rating", visit="good", line=said["line"])
    doctor.see()
