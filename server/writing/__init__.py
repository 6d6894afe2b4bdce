"""What helps to write a note: templates that organisations share, phrases, codes by search.

The editor beside the video asks for them (``views``); ``pages`` is where they are kept. The lists
of codes are the operator's (``accanto codes import``).
"""

from __future__ import annotations

from typing import Final

from server.auth import CLINICIAN, Route
from server.writing.pages import (
    adopt_template,
    change_template,
    keep_phrase,
    publish_template,
    remove_phrase,
    show_template,
    show_writing,
    withdraw_template,
)
from server.writing.views import keep_template, send_codes, send_help, send_template

ROUTES: Final = (
    Route("GET", "/writing", show_writing, CLINICIAN),
    Route("GET", "/writing/help", send_help, CLINICIAN),
    Route("POST", "/writing/codes/search", send_codes, CLINICIAN),
    Route("POST", "/visits/{visit_id}/template", keep_template, CLINICIAN),
    Route("GET", "/writing/templates/{template_id}", show_template, CLINICIAN),
    Route("POST", "/writing/templates/{template_id}", change_template, CLINICIAN),
    Route("GET", "/writing/templates/{template_id}/content", send_template, CLINICIAN),
    Route("POST", "/writing/templates/{template_id}/publish", publish_template, CLINICIAN),
    Route("POST", "/writing/templates/{template_id}/withdraw", withdraw_template, CLINICIAN),
    Route("POST", "/writing/templates/{template_id}/adopt", adopt_template, CLINICIAN),
    Route("POST", "/writing/phrases", keep_phrase, CLINICIAN),
    Route("POST", "/writing/phrases/{phrase_id}/delete", remove_phrase, CLINICIAN),
)
