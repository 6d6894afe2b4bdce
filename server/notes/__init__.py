"""The clinician's note: sealed from the first byte, every version kept.

A save names the version it was written on (``If-Match``); the last one of a page that goes away
names also, by its digest, the save whose answer it waits for. When another page or a colleague was
first, nothing is written and the answer brings the current note, so that ``note-model.js`` can
join what was changed section by section and show what was changed twice. Reports, annotations of
general practitioners and working notes are written in the same editor.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, leaves_none, may_leave
from server.auth import CLINICIAN, Route
from server.notes.views import (
    print_note,
    save_note,
    send_history,
    send_note,
    send_version,
)

ROUTES: Final = (
    Route("GET", "/visits/{visit_id}/note", send_note, CLINICIAN, leaves(Act.NOTE_OPENED)),
    Route(
        "PUT",
        "/visits/{visit_id}/note",
        save_note,
        CLINICIAN,
        may_leave(Act.NOTE_SAVED, why="the same text again is no new version", opens={"note.text"}),
    ),
    Route(
        "GET",
        "/visits/{visit_id}/note/history",
        send_history,
        CLINICIAN,
        leaves_none("times and sizes of versions, nothing of their content"),
    ),
    Route(
        "GET",
        "/visits/{visit_id}/note/version",
        send_version,
        CLINICIAN,
        leaves(Act.NOTE_HISTORY_OPENED),
    ),
    Route("GET", "/visits/{visit_id}/note/print", print_note, CLINICIAN, leaves(Act.NOTE_PRINTED)),
)
