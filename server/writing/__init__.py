"""What helps to write a note: templates that organisations share, phrases, codes by search.

The editor beside the video asks for them (``views``); ``pages`` is where they are kept. The lists
of codes are the operator's (``accanto codes import``).
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, leaves_none
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
    Route("GET", "/writing", show_writing, CLINICIAN, leaves_none("no data of patients")),
    Route("GET", "/writing/help", send_help, CLINICIAN, leaves_none("texts for many patients")),
    Route("POST", "/writing/codes/search", send_codes, CLINICIAN, leaves_none("a published list")),
    Route(
        "POST", "/visits/{visit_id}/template", keep_template, CLINICIAN, leaves(Act.TEMPLATE_SAVED)
    ),
    Route(
        "GET",
        "/writing/templates/{template_id}",
        show_template,
        CLINICIAN,
        leaves_none("texts for many patients"),
    ),
    Route(
        "POST",
        "/writing/templates/{template_id}",
        change_template,
        CLINICIAN,
        leaves(Act.TEMPLATE_SAVED),
    ),
    Route(
        "GET",
        "/writing/templates/{template_id}/content",
        send_template,
        CLINICIAN,
        leaves_none("texts for many patients"),
    ),
    Route(
        "POST",
        "/writing/templates/{template_id}/publish",
        publish_template,
        CLINICIAN,
        leaves(Act.TEMPLATE_PUBLISHED),
    ),
    Route(
        "POST",
        "/writing/templates/{template_id}/withdraw",
        withdraw_template,
        CLINICIAN,
        leaves(Act.TEMPLATE_WITHDRAWN),
    ),
    Route(
        "POST",
        "/writing/templates/{template_id}/adopt",
        adopt_template,
        CLINICIAN,
        leaves(Act.TEMPLATE_ADOPTED),
    ),
    Route("POST", "/writing/phrases", keep_phrase, CLINICIAN, leaves_none("one's own shortcuts")),
    Route(
        "POST",
        "/writing/phrases/{phrase_id}/delete",
        remove_phrase,
        CLINICIAN,
        leaves_none("one's own shortcuts"),
    ),
)
