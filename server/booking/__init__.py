"""The patient's answer to the booking: *I confirm* or *I cannot come*, by plain forms.

A cancellation is a request to CUP: the slot closes only when CUP says so (design §5), so the
visit stays booked here. Each answer is given once and cannot be taken back on these pages.

``store``: the records, ``views``: the pages.
"""

from typing import Final

from server.auth import PATIENT, Route
from server.booking.views import ask_cancel, confirm, show_booking, show_cancel

_BOOKING: Final = "/v/{locator}/booking"

ROUTES: Final = (
    Route("GET", _BOOKING, show_booking, PATIENT),
    Route("POST", f"{_BOOKING}/confirm", confirm, PATIENT),
    Route("GET", f"{_BOOKING}/cancel", show_cancel, PATIENT),
    Route("POST", f"{_BOOKING}/cancel", ask_cancel, PATIENT),
)
