"""The join link: the page a patient's link opens, and the claim that makes a browser theirs.

GET never writes: mail scanners open links, also with scripts. A claim is a POST of the link's
secret (or the spoken code) and the birth date, on a person's gesture; a second device needs a
code on top. What comes after it is ``server.checkin`` and ``server.waiting``.

``rules``: pure, ``claims`` and ``devicecode``: the records, ``views``: pages.
"""

from typing import Final

from server.audit import Act, leaves_none, may_leave
from server.auth import PUBLIC, Route
from server.join.views import (
    CLAIM_THROTTLE,
    claim_link,
    send_code,
    show_code_page,
    show_link_page,
)

FREE_ATTEMPTS_OF_NETWORK: Final = 60
"""Wrong answers of one network (IPv4 /24, IPv6 /56) before it is slowed down."""

ROUTES: Final = (
    Route("GET", "/v", show_code_page, PUBLIC, leaves_none("an empty form")),
    Route("GET", "/v/{locator}", show_link_page, PUBLIC, leaves_none("an empty form")),
    Route("GET", "/v/{locator}/", show_link_page, PUBLIC, leaves_none("an empty form")),
    Route("GET", "/V/{locator}", show_link_page, PUBLIC, leaves_none("an empty form")),
    Route(
        "POST",
        "/api/join",
        claim_link,
        PUBLIC,
        may_leave(
            Act.LINK_CLAIMED,
            Act.LINK_CLAIM_FAILED,
            Act.DEVICE_REPLACED,
            why="a browser that is in claims again freely",
            opens={"patient.identity"},
        ),
    ),
    Route(
        "POST",
        "/api/join/code",
        send_code,
        PUBLIC,
        may_leave(
            Act.DEVICE_CODE_SENT,
            Act.LINK_CLAIM_FAILED,
            why="the answer is the same where nothing can be sent",
            opens={"patient.identity"},
        ),
    ),
)

__all__ = ["CLAIM_THROTTLE", "FREE_ATTEMPTS_OF_NETWORK", "ROUTES"]
