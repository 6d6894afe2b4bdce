"""What the board says of a line, in the language of the request. Used by the page and by the
states that the page polls, so that both say the same."""

from __future__ import annotations

from server.desk.board import Line, NextAct, Presence, Problem
from server.i18n import Translator
from server.models import LineTest, Outcome, VisitState
from server.readiness import Problem as LineProblem
from server.readiness import problems_of


def say_state(words: Translator, line: Line) -> str:
    """How far the visit is."""
    _ = words.gettext
    visit = line.visit
    match visit.state:
        case VisitState.BOOKED | VisitState.CHECKED_IN if visit.appointment.cancel_asked_at:
            return _("Has asked to cancel")
        case VisitState.BOOKED if visit.appointment.confirmed_at:
            return _("Booked and confirmed")
        case VisitState.BOOKED:
            return _("Booked")
        case VisitState.CHECKED_IN:
            return _("Check-in done")
        case VisitState.WAITING if line.waiting_minutes:
            count = line.waiting_minutes
            return words.ngettext(
                "Waiting for {count} minute", "Waiting for {count} minutes", count
            )
        case VisitState.WAITING:
            return _("Waiting")
        case VisitState.IN_VISIT:
            return _("In visit")
        case VisitState.CANCELLED:
            return _("Cancelled")
        case VisitState.ENDED:
            return say_outcome(words, visit.outcome)


def say_outcome(words: Translator, outcome: Outcome | None) -> str:
    _ = words.gettext
    match outcome:
        case Outcome.COMPLETED:
            return _("Done")
        case Outcome.CONVERTED_TO_IN_PERSON:
            return _("Moved to in person")
        case Outcome.TECHNICAL_FAILURE:
            return _("Stopped by a technical problem")
        case Outcome.NO_SHOW_PATIENT:
            return _("The patient did not come")
        case Outcome.NO_SHOW_CLINICIAN:
            return _("The clinician did not come")
        case None:
            return _("Ended")


def say_presence(words: Translator, presence: Presence) -> str:
    """Who is connected now; empty when nobody is or was."""
    _ = words.gettext
    if "patient" in presence.away:
        return _("Patient: line lost")
    if {"patient", "clinician"} <= presence.here:
        return _("Both connected")
    if "patient" in presence.here:
        return _("Patient connected")
    if "clinician" in presence.here:
        return _("Clinician connected")
    return ""


def say_problem(words: Translator, problem: Problem) -> str:
    _ = words.gettext
    match problem:
        case Problem.DROPPED:
            return _("The patient has lost the line")
        case Problem.CLAIM_FAILING:
            return _("The patient cannot get in with the birth date")
        case Problem.TEST_FAILED:
            return _("The device test did not work")
        case Problem.LINE_TEST_FAILED:
            return _("The test of the connection did not work")
        case Problem.WAITING_LONG:
            return _("The patient has been waiting long")
        case Problem.NOT_OPENED:
            return _("The link has not been opened yet")
        case Problem.UNASSIGNED:
            return _("No clinician: to assign")
        case Problem.TO_COMPLETE:
            return _("No birth date: to complete")
        case Problem.NO_CONTACT:
            return _("No telephone number and no e-mail address")


def say_line_test(words: Translator, test: LineTest | None) -> tuple[str, ...]:
    """Why a visit is on the red list, one reason each."""
    if test is None:
        return (words.gettext("The connection has not been tested yet"),)
    return tuple(say_line_problem(words, problem) for problem in problems_of(test))


def say_line_problem(words: Translator, problem: LineProblem) -> str:
    _ = words.gettext
    match problem:
        case LineProblem.SOCKET:
            return _("The server was not reached from the patient's network")
        case LineProblem.CAMERA:
            return _("The camera did not work")
        case LineProblem.MICROPHONE:
            return _("The microphone did not work")
        case LineProblem.LOUDSPEAKER:
            return _("The patient did not hear the music")
        case LineProblem.RELAY:
            return _("The network closes every relay")
        case LineProblem.LINE_DEAD:
            return _("Sound and picture did not get through")
        case LineProblem.LINE_WEAK:
            return _("The line was weak")
        case LineProblem.RECONNECT:
            return _("The connection did not come back after a drop")


def say_next_act(words: Translator, act: NextAct) -> str:
    _ = words.gettext
    match act:
        case NextAct.CALL_PATIENT:
            return _("Call the patient")
        case NextAct.READ_CODE:
            return _("Call and read the code")
        case NextAct.CALL_CLINICIAN:
            return _("Tell the clinician")
        case NextAct.ASSIGN:
            return _("Assign a clinician")
        case NextAct.COMPLETE:
            return _("Complete the birth date")
        case NextAct.ADD_CONTACT:
            return _("Complete the contact")
        case NextAct.OPEN:
            return _("Open")
