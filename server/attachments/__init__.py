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
from server.auth import CLINICIAN, PATIENT, Route

_OWN: Final = "/v/{locator}/files"
_FILE: Final = "/visits/{visit_id}/files/{file_id}"


def prepare(app: web.Application) -> None:
    """What the routes find in the application."""
    app[PLACES] = asyncio.Semaphore(MOST_AT_ONCE)
    app[PICTURES] = PictureHost()


ROUTES: Final = (
    Route("GET", _OWN, patientpages.show_files, PATIENT),
    Route("POST", _OWN, patientpages.add, PATIENT),
    Route("GET", f"{_OWN}/{{file_id}}", patientpages.send_own, PATIENT),
    Route("POST", f"{_OWN}/{{file_id}}/delete", patientpages.delete, PATIENT),
    Route("GET", "/v/{locator}/still", stills.show_text, PATIENT),
    Route("POST", "/v/{locator}/still", stills.send, PATIENT),
    Route("POST", "/v/{locator}/still/answer", stills.answer, PATIENT),
    Route("GET", "/visits/{visit_id}/files", clinicianpages.list_files, CLINICIAN),
    Route("GET", _FILE, clinicianpages.send_file, CLINICIAN),
    Route("POST", f"{_FILE}/report", clinicianpages.choose, CLINICIAN),
    Route("POST", "/visits/{visit_id}/still", stills.ask, CLINICIAN),
)
