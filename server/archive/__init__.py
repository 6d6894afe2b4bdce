"""Recordings to look at again: the list, the player, and the copy that is handed out.

Only the clinician of the visit, and only with a purpose that goes with the one the people in the
visit agreed to; each view and each copy is in the session log with it. ``views``: the purpose and
the pass of one view, ``rows``: what there is, ``pages``, ``playback``: a range of a track,
``export``: the copy.
"""

from __future__ import annotations

from typing import Final

from server.archive import export, pages, playback
from server.audit import Act, leaves, leaves_none
from server.auth import CLINICIAN, Route

_ONE: Final = "/recordings/{recording_id}"
_SEEN: Final = "the view was written down with its purpose when it began"

ROUTES: Final = (
    Route("GET", "/recordings", pages.show_list, CLINICIAN, leaves(Act.LIST_OPENED)),
    Route(
        "GET",
        _ONE,
        pages.show_recording,
        CLINICIAN,
        leaves_none("nothing of the recording itself", opens={"patient.identity"}),
    ),
    Route("POST", f"{_ONE}/view", pages.begin_view, CLINICIAN, leaves(Act.RECORDING_OPENED)),
    Route(
        "GET",
        f"{_ONE}/player",
        pages.show_player,
        CLINICIAN,
        leaves_none(_SEEN, opens={"patient.identity"}),
    ),
    Route(
        "GET",
        f"{_ONE}/tracks/{{track_id}}",
        playback.send_track,
        CLINICIAN,
        leaves_none(_SEEN, opens={"recording_track.content"}),
    ),
    Route("POST", f"{_ONE}/export", export.send_copy, CLINICIAN, leaves(Act.RECORDING_EXPORTED)),
)
