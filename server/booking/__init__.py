"""The patient's answer to the booking: *I confirm* or *I cannot come*, by plain forms.

A cancellation is a request to CUP: the slot closes only when CUP says so (design §5), so the
visit stays booked here. Each answer is given once and cannot be taken back on these pages.

``store``: the records, ``views``: the pages.
"""

from typing import Final

from server.audit import OWN_DATA, Act, may_leave
from server.auth import PATIENT, Route
from server.booking.views import ask_cancel, confirm, show_booking, show_cancel

_BOOKING: Final = "/v/{locator}/booking"

ROUTES: Final = (
    Route("GET", _BOOKING, show_booking, PATIENT, OWN_DATA),
    Route(
        "POST",
        f"{_BOOKING}/confirm",
        confirm,
        PATIENT,
        may_leave(Act.BOOKING_CONFIRMED, why="a booking is confirmed once"),
    ),
    Route("GET", f"{_BOOKING}/cancel", show_cancel, PATIENT, OWN_DATA),
    Route(
        "POST",
        f"{_BOOKING}/cancel",
        ask_cancel,
        PATIENT,
        may_leave(Act.BOOKING_CANCEL_ASKED, why="it is asked for once"),
    ),
)
