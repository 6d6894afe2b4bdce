"""The check-in: four calm steps between the join link and the waiting room.

Each step can be saved, left and entered again. Required are the two consents and one address;
everything else may stay *not answered*. The waiting room itself is ``server.waiting``.

``texts``: the words of the consents, ``store``: the records, ``steps``: the pages.
"""

from typing import Final

from server.audit import OWN_DATA, Act, leaves_none, may_leave
from server.auth import PATIENT, Route
from server.checkin.calendar import send_calendar
from server.checkin.pages import (
    show_device_test,
    show_in_person,
    show_ready,
    start_check_in,
    withdraw_consents,
)
from server.checkin.steps import (
    save_consents,
    save_devices,
    save_place,
    save_who,
    show_consents,
    show_devices,
    show_place,
    show_who,
)

_STEPS: Final = "/v/{locator}/check-in"

_EARLY: Final = "days before, nothing is asked yet"

ROUTES: Final = (
    Route(
        "GET",
        _STEPS,
        start_check_in,
        PATIENT,
        leaves_none("leads to the next step", opens={"check_in.answers"}),
    ),
    Route("GET", f"{_STEPS}/who", show_who, PATIENT, OWN_DATA),
    Route(
        "POST",
        f"{_STEPS}/who",
        save_who,
        PATIENT,
        may_leave(Act.CHECK_IN_SAVED, Act.CHECK_IN_COMPLETED, why=_EARLY),
    ),
    Route("GET", f"{_STEPS}/consents", show_consents, PATIENT, OWN_DATA),
    Route(
        "POST",
        f"{_STEPS}/consents",
        save_consents,
        PATIENT,
        may_leave(
            Act.CHECK_IN_SAVED,
            Act.CONSENT_GIVEN,
            Act.CONSENT_REFUSED,
            Act.CHECK_IN_COMPLETED,
            why="consents that were given are not given again",
        ),
    ),
    Route("GET", f"{_STEPS}/devices", show_devices, PATIENT, OWN_DATA),
    Route(
        "POST",
        f"{_STEPS}/devices",
        save_devices,
        PATIENT,
        may_leave(Act.CHECK_IN_SAVED, Act.CHECK_IN_COMPLETED, why=_EARLY),
    ),
    Route("GET", f"{_STEPS}/place", show_place, PATIENT, OWN_DATA),
    Route(
        "POST",
        f"{_STEPS}/place",
        save_place,
        PATIENT,
        may_leave(Act.CHECK_IN_SAVED, Act.CHECK_IN_COMPLETED, why=_EARLY),
    ),
    Route("GET", f"{_STEPS}/ready", show_ready, PATIENT, OWN_DATA),
    Route(
        "POST",
        "/v/{locator}/consents/withdraw",
        withdraw_consents,
        PATIENT,
        may_leave(Act.CONSENT_WITHDRAWN, why="there may be none to withdraw"),
    ),
    Route("GET", "/v/{locator}/in-person", show_in_person, PATIENT, OWN_DATA),
    Route("GET", "/v/{locator}/device-test", show_device_test, PATIENT, OWN_DATA),
    Route("GET", "/v/{locator}/calendar.ics", send_calendar, PATIENT, OWN_DATA),
)
