"""What follows from each answer of the gateway: the steps of one document. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from server.audit import Act
from server.fse.answers import Answer, Fate, Meaning, read_fate
from server.fse.parcels import IN_FLIGHT, Change, Parcel, Sign, wait_after
from server.models import SubmissionState

_TOKEN_WAIT: Final = timedelta(minutes=5)
_ATTEMPTS_WITHOUT_TRACE: Final = 10
"""Some hours of questions: an accepted document of which the gateway knows nothing."""


def must_ask_first(parcel: Parcel) -> bool:
    """Whether a publication left already, so that the gateway is asked about it."""
    return parcel.state is SubmissionState.VALIDATED and parcel.sign in IN_FLIGHT


def after_validation(parcel: Parcel, answer: Answer) -> Change:
    """The document is as the rules want it, or a person must look, or later."""
    if answer.meaning is Meaning.TAKEN and answer.workflow_instance_id:
        return Change(
            SubmissionState.VALIDATED,
            answer=answer,
            act=Act.FSE_VALIDATED,
            workflow_instance_id=answer.workflow_instance_id,
        )
    return _later(parcel, answer) or _refuse(answer)


def after_publication(parcel: Parcel, answer: Answer, *, is_validated_here: bool) -> Change:
    """Taken in charge, to be validated anew, refused, or later: then it may have arrived."""
    if answer.meaning in {Meaning.TAKEN, Meaning.KNOWN}:
        return Change(SubmissionState.VALIDATED, Sign.ACCEPTED, answer)
    if answer.meaning is Meaning.NOT_VALIDATED and not is_validated_here:
        return Change(SubmissionState.WAITING, answer.problem, answer, workflow_instance_id="")
    later = _later(parcel, answer)
    if later is None:
        return _refuse(answer)
    if answer.meaning is Meaning.TOKEN:
        return later
    return _again(parcel, answer, Sign.SENDING)


def after_status(parcel: Parcel, answer: Answer) -> Change:
    """What became of a publication that left."""
    if answer.meaning is Meaning.TAKEN:
        fate, words = read_fate(answer.content)
    elif answer.meaning is Meaning.NOT_FOUND:
        fate, words = Fate.UNKNOWN, ""
    else:
        return _again(parcel, answer, parcel.sign)
    match fate:
        case Fate.DONE:
            return Change(SubmissionState.PUBLISHED, act=Act.FSE_PUBLISHED)
        case Fate.FAILED:
            told = Answer(Meaning.REFUSED, Sign.INDEX_REFUSED, {"detail": words})
            return _refuse(told)
        case Fate.IN_PROGRESS:
            return _again(parcel, None, Sign.ACCEPTED)
        case Fate.UNKNOWN:
            return _without_trace(parcel)


def _without_trace(parcel: Parcel) -> Change:
    """Send what never arrived; ask again about what was accepted, but not for ever."""
    if parcel.sign == Sign.SENDING:
        return Change(SubmissionState.VALIDATED)
    if parcel.attempts >= _ATTEMPTS_WITHOUT_TRACE:
        return _refuse(Answer(Meaning.REFUSED, Sign.NO_TRACE))
    return _again(parcel, None, Sign.ACCEPTED)


def _refuse(answer: Answer) -> Change:
    return Change(SubmissionState.REFUSED, answer.problem, answer, act=Act.FSE_REFUSED)


def _later(parcel: Parcel, answer: Answer) -> Change | None:
    """The same again later; None when a repeat would change nothing."""
    match answer.meaning:
        case Meaning.TOKEN:
            return Change(parcel.state, answer.problem, answer, wait=_TOKEN_WAIT, is_progress=False)
        case Meaning.BUSY | Meaning.UNREACHABLE:
            return _again(parcel, answer, answer.problem)
        case _:
            return None


def _again(parcel: Parcel, answer: Answer | None, word: str) -> Change:
    wait = (answer.wait if answer else None) or wait_after(parcel.attempts)
    return Change(parcel.state, word, answer, wait=wait, is_progress=False)
