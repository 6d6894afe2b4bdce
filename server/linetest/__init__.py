"""The patient's test of the line, days ahead: step by step in the page, judged and kept here.

Sound, picture and data run against an echo leg of :mod:`recordings`, which is a process of its
own for each test: the rooms do not feel it. Kept are numbers and stable words only.

``rules``: what is a problem, ``store``: the records, ``views``: the page and its requests.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiohttp import web

from recordings.echohost import EchoHost
from server.audit import OWN_DATA, Act, leaves, leaves_none
from server.auth import PATIENT, Route
from server.linetest.views import (
    CREDENTIAL_SECONDS,
    ECHO,
    ICE,
    answer_echo,
    save_result,
    send_servers,
    show_line_test,
)
from server.services import SETTINGS
from signaling.ice import IceConfig

_TEST: Final = "/v/{locator}/line-test"

ROUTES: Final = (
    Route("GET", _TEST, show_line_test, PATIENT, OWN_DATA),
    Route("POST", f"{_TEST}/servers", send_servers, PATIENT, leaves_none("addresses for the test")),
    Route("POST", f"{_TEST}/echo", answer_echo, PATIENT, leaves_none("addresses for the test")),
    Route("POST", f"{_TEST}/result", save_result, PATIENT, leaves(Act.LINE_TESTED)),
)


def prepare(app: web.Application, ice: IceConfig) -> None:
    """Give the application what the test needs; no echo leg outlives it."""
    settings = app[SETTINGS]
    app[ECHO] = EchoHost(settings.media_endpoint, settings.line_test_legs)
    app[ICE] = replace(ice, credential_seconds=CREDENTIAL_SECONDS)
    app.on_cleanup.append(_end_echo)


async def _end_echo(app: web.Application) -> None:
    await app[ECHO].close()
