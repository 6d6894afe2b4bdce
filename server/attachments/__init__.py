"""Files of a visit: what the patient sends, and pictures of her rear camera taken on consent.

``contents``: what is taken, ``receiving``: the form, ``rows``: the records, ``asks`` and
``texts``: the consent to a photo, ``stills``: its steps, ``patientpages`` and ``clinicianpages``:
who sees what. Desk, managers and administrators have no way in here.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from recordings.picturehost import PictureHost
from server.attachments import clinicianpages, patientpages, stills
from server.attachments.receiving import MOST_AT_ONCE, PICTURES, PLACES
from server.audit import OWN_DATA, Act, leaves, leaves_none
from server.auth import CLINICIAN, PATIENT, Route

_OWN: Final = "/v/{locator}/files"
_FILE: Final = "/visits/{visit_id}/files/{file_id}"


def prepare(app: web.Application) -> None:
    """What the routes find in the application."""
    app[PLACES] = asyncio.Semaphore(MOST_AT_ONCE)
    app[PICTURES] = PictureHost()


ROUTES: Final = (
    Route("GET", _OWN, patientpages.show_files, PATIENT, OWN_DATA),
    Route(
        "POST",
        _OWN,
        patientpages.add,
        PATIENT,
        leaves(Act.ATTACHMENT_ADDED, at_times=[Act.ATTACHMENT_REFUSED]),
    ),
    Route(
        "GET", f"{_OWN}/{{file_id}}", patientpages.send_own, PATIENT, leaves(Act.ATTACHMENT_OPENED)
    ),
    Route(
        "POST",
        f"{_OWN}/{{file_id}}/delete",
        patientpages.delete,
        PATIENT,
        leaves(Act.ATTACHMENT_DELETED),
    ),
    Route(
        "GET",
        "/v/{locator}/still",
        stills.show_text,
        PATIENT,
        leaves_none("the words of the consent"),
    ),
    Route(
        "POST",
        "/v/{locator}/still",
        stills.send,
        PATIENT,
        leaves(
            Act.STILL_TAKEN,
            at_times=[Act.CONSENT_GIVEN, Act.ATTACHMENT_ADDED, Act.ATTACHMENT_REFUSED],
        ),
    ),
    Route(
        "POST",
        "/v/{locator}/still/answer",
        stills.answer,
        PATIENT,
        leaves(Act.STILL_REFUSED, Act.CONSENT_GIVEN, at_times=[Act.CONSENT_REFUSED]),
    ),
    Route(
        "GET",
        "/visits/{visit_id}/files",
        clinicianpages.list_files,
        CLINICIAN,
        leaves_none(
            "names of the files, on a card whose opening is logged", opens={"attachment.words"}
        ),
    ),
    Route("GET", _FILE, clinicianpages.send_file, CLINICIAN, leaves(Act.ATTACHMENT_OPENED)),
    Route(
        "POST", f"{_FILE}/report", clinicianpages.choose, CLINICIAN, leaves(Act.ATTACHMENT_CHOSEN)
    ),
    Route("POST", "/visits/{visit_id}/still", stills.ask, CLINICIAN, leaves(Act.STILL_ASKED)),
)
