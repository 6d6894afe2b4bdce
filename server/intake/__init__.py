"""The desk's side of the CUP link: messages in quarantine, and files of bookings.

It stands above the connectors, as the administrator's pages do; the board and its visits are
:mod:`server.desk`.
"""

from __future__ import annotations

from typing import Final

from server.audit import CUP_ACTS, Act, leaves, leaves_none
from server.auth import DESK, Route
from server.intake import messages, upload

ROUTES: Final = (
    Route(
        "GET",
        "/desk/messages",
        messages.list_messages,
        DESK,
        leaves_none("what is wrong with messages, nothing of what is in them"),
    ),
    Route(
        "GET",
        "/desk/messages/{message_id}",
        messages.show_message,
        DESK,
        leaves_none("what is wrong with a message, nothing of what is in it"),
    ),
    Route(
        "POST",
        "/desk/messages/{message_id}/open",
        messages.open_raw,
        DESK,
        leaves(Act.CUP_MESSAGE_OPENED),
    ),
    Route(
        "POST",
        "/desk/messages/{message_id}/replay",
        messages.replay_message,
        DESK,
        leaves(Act.CUP_MESSAGE_REPLAYED, at_times=CUP_ACTS),
    ),
    Route(
        "POST",
        "/desk/messages/{message_id}/discard",
        messages.discard_message,
        DESK,
        leaves(Act.CUP_MESSAGE_DISCARDED),
    ),
    Route("GET", "/desk/upload", upload.show_form, DESK, leaves_none("an empty form")),
    Route(
        "POST",
        "/desk/upload",
        upload.take_file,
        DESK,
        leaves(Act.CUP_FILE_UPLOADED, at_times=CUP_ACTS),
    ),
)
