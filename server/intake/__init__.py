"""The desk's side of the CUP link: messages in quarantine, and files of bookings.

It stands above the connectors, as the administrator's pages do; the board and its visits are
:mod:`server.desk`.
"""

from __future__ import annotations

from typing import Final

from server.auth import DESK, Route
from server.intake import messages, upload

ROUTES: Final = (
    Route("GET", "/desk/messages", messages.list_messages, DESK),
    Route("GET", "/desk/messages/{message_id}", messages.show_message, DESK),
    Route("POST", "/desk/messages/{message_id}/open", messages.open_raw, DESK),
    Route("POST", "/desk/messages/{message_id}/replay", messages.replay_message, DESK),
    Route("POST", "/desk/messages/{message_id}/discard", messages.discard_message, DESK),
    Route("GET", "/desk/upload", upload.show_form, DESK),
    Route("POST", "/desk/upload", upload.take_file, DESK),
)
