"""The visits of yesterday, with everything that a report has to bear."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from server.demo.cases import Case
from server.demo.day import Slot
from server.demo.lines import Quality, measure_line
from server.demo.stage import PATIENT_BROWSERS, Doctor, Scene, SecretsOf, Stage, join, leave, prove
from server.joinlink import derive_report_code
from server.models import ReportCode
from server.report.keep import load_reports
from server.report.state import find_current
from server.roomseed import CLINICIAN_SEAT, PATIENT_SEAT

_MEASURED_FROM: Final = timedelta(minutes=1)
_MEASURED_FOR: Final = timedelta(seconds=950)


async def hold_past_visits(
    stage: Stage, past: Sequence[tuple[Slot, Case]], secrets_of: SecretsOf
) -> None:
    """Hold and report the visits of :func:`~server.demo.cases.plan_past`, on a stage that serves.

    :raises CommandFailed: a page said no: a bug.
    """
    async with AsyncExitStack() as stack:
        doctors: dict[str, Doctor] = {}
        for slot, case in past:
            username = case.clinician.username
            if username not in doctors:
                browser = await stack.enter_async_context(stage.browser())
                doctors[username] = Doctor(stage, browser, username, *secrets_of(username))
            doctor, visit = doctors[username], await stage.load_visit(slot.booking_code)
            async with stage.browser(PATIENT_BROWSERS[0]) as patient:
                scene = Scene(stage, slot, visit, patient, doctor.browser)
                await _hold(scene, case, doctor)


async def _hold(scene: Scene, case: Case, doctor: Doctor) -> None:
    await scene.arrive(-20, case.companions)
    scene.at(-2)
    await doctor.come()
    await _meet(scene, case)
    await _report(scene, case, doctor)
    if case.is_read:
        await _read(scene)


async def _meet(scene: Scene, case: Case) -> None:
    """From the page of the visit to its end."""
    await scene.doctor.get(scene.doctor_url)
    await scene.tell((-2, join(CLINICIAN_SEAT)))
    await scene.admit(0.4)
    await scene.tell((0.6, prove(PATIENT_SEAT)), (0.6, prove(CLINICIAN_SEAT)))
    reason = "Primo contatto concordato con il medico curante" if case.is_first_visit else ""
    scene.at(0.9)
    await scene.confirm(reason)
    scene.at(11.7)
    await scene.save_note(case.sections, case.codes)
    await scene.tell((17.1, leave(PATIENT_SEAT)), (17.1, leave(CLINICIAN_SEAT)))
    began = scene.slot.start + _MEASURED_FROM
    measured = measure_line(Quality.GOOD, began, began + _MEASURED_FOR)
    await scene.bring_measures(measured, measured)
    scene.at(17.4)
    present = ["patient", "caregiver"] if case.companions else ["patient"]
    await scene.finish("completed", suitability="suitable", present=present)


async def _report(scene: Scene, case: Case, doctor: Doctor) -> None:
    """Review and sign; then, where the case has one, the correction."""
    scene.at(19)
    await doctor.sign(scene)
    if case.corrected:
        scene.at(22)
        await scene.save_note(case.corrected, case.codes, version=1)
        await scene.doctor.post(f"{scene.doctor_url}/report/correct", reason="clerical")
        scene.at(23)
        await doctor.sign(scene)


async def _read(scene: Scene) -> None:
    """The patient asks for a code and downloads the report."""
    here = f"{scene.patient_url}/reports"
    scene.at(27)
    await scene.patient.post(f"{here}/code")
    async with scene.stage.database.read(scene.visit.organisation_id) as session:
        code = await session.get_one(ReportCode, scene.visit.id)
        current = find_current(await load_reports(session, scene.visit.id))
    digits = derive_report_code(await scene.join_key(), scene.visit.id, code.issued_at)
    scene.at(28)
    await scene.patient.post(f"{here}/open", code=digits)
    if current is not None:
        await scene.patient.get(f"{here}/{current.id}/pdf")
