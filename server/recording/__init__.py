"""Recording a visit: asked by the clinician, agreed to on every screen, ended by anybody.

``texts``: what people agree to, ``rows``: the records, ``pages``: the requests of both people,
``keeper``: runs a recorder process for each recording and takes its tracks into the store.
What may be recorded when is decided in the room (:mod:`signaling.recording`); the media libraries
are in the process (:mod:`recordings.recorder`).
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, leaves_none
from server.auth import CLINICIAN, PATIENT, Route
from server.recording import pages
from server.recording.keeper import KEEPER, Keeper

__all__ = ["KEEPER", "ROUTES", "Keeper"]

_PATIENT: Final = "/v/{locator}/recording"
_CLINICIAN: Final = "/visits/{visit_id}/recording"
_WORDS: Final = leaves_none("the words of the consent")
_ANSWERED: Final = leaves(
    Act.RECORDING_ACCEPTED,
    Act.RECORDING_REFUSED,
    at_times=[Act.RECORDING_BEGAN, Act.RECORDING_ENDED],
)
_STOPPED: Final = leaves(Act.RECORDING_STOPPED, at_times=[Act.RECORDING_ENDED])

ROUTES: Final = (
    Route("GET", _PATIENT, pages.show_text, PATIENT, _WORDS),
    Route("POST", f"{_PATIENT}/answer", pages.answer, PATIENT, _ANSWERED),
    Route("POST", f"{_PATIENT}/stop", pages.stop, PATIENT, _STOPPED),
    Route("GET", _CLINICIAN, pages.show_text, CLINICIAN, _WORDS),
    Route("POST", _CLINICIAN, pages.ask, CLINICIAN, leaves(Act.RECORDING_ASKED)),
    Route("POST", f"{_CLINICIAN}/answer", pages.answer, CLINICIAN, _ANSWERED),
    Route("POST", f"{_CLINICIAN}/stop", pages.stop, CLINICIAN, _STOPPED),
)
