"""The one place that wires: every start has its stop beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from aiohttp import web

from server import (
    administration,
    agenda,
    booking,
    changes,
    checkin,
    desk,
    intake,
    join,
    login,
    metrics,
    notes,
    sessionlog,
    takeover,
    visit,
    waiting,
)
from server.assets import Assets
from server.auth import PUBLIC, Route, register
from server.cup import cuplist, dropfolder
from server.cup.fhir import doors as fhir_doors
from server.cup.fhir import poll as fhir_poll
from server.cup.hl7v2 import mllp
from server.cup.outbox import delivery
from server.db import Database
from server.keyring import Keyring, load_keyring
from server.mail.delivery import Delivery
from server.mail.dispatch import Dispatcher
from server.mail.planner import Planner
from server.mail.render import Renderer
from server.mail.setup import delivery_of
from server.middleware import add_security_headers, answer_errors, refuse_cross_site
from server.pages import Pages
from server.services import CLOCK, DATABASE, HUB, KEYRING, PAGES, SETTINGS
from server.settings import Settings
from server.throttle import Throttle
from server.waiting import VisitHooks
from signaling.bus import LocalRoomLog
from signaling.hub import Hub
from signaling.ice import IceConfig

MAX_BODY_BYTES = 256 * 1024
_FEATURES = (
    login,
    join,
    checkin,
    booking,
    waiting,
    agenda,
    takeover,
    visit,
    notes,
    desk,
    intake,
    sessionlog,
    administration,
    metrics,
    fhir_doors,
)
_CUP_WORKERS = (changes, mllp, fhir_poll, dropfolder, delivery, cuplist)


def create_app(settings: Settings, mail: Delivery | None = None) -> web.Application:
    """The whole application for one data folder; nothing is opened before it starts.

    ``mail`` stands for the mail server and SMS gateway of the settings.

    :raises CommandFailed: no root key, or the front-end packages are missing.
    """
    assets = Assets()
    app = web.Application(
        middlewares=[answer_errors, refuse_cross_site], client_max_size=MAX_BODY_BYTES
    )
    app[SETTINGS] = settings
    app[CLOCK] = lambda: datetime.now(UTC)
    app[KEYRING] = load_keyring(settings.data_dir)
    app[DATABASE] = Database(settings.database)
    app[PAGES] = Pages(assets)
    app[login.THROTTLES] = login.Throttles()
    app[join.CLAIM_THROTTLE] = Throttle(join.FREE_ATTEMPTS_OF_NETWORK)
    hooks = VisitHooks(app[DATABASE], app[CLOCK])
    app[HUB] = _create_hub(settings, app[KEYRING], hooks)
    app.on_response_prepare.append(add_security_headers)
    app.cleanup_ctx.append(_database_lifetime)
    app.cleanup_ctx.append(hooks.lifetime)
    _add_workers(app, mail or delivery_of(settings))
    app.on_shutdown.append(_close_hub)
    register(app, _own_routes(assets, app[HUB]))
    for feature in _FEATURES:
        register(app, feature.ROUTES)
    return app


def _add_workers(app: web.Application, mail: Delivery) -> None:
    """What runs beside the pages: messages to patients, and the link with CUP."""
    settings, database, clock = app[SETTINGS], app[DATABASE], app[CLOCK]
    renderer = Renderer(settings.base_url, settings.mail_from)
    dispatcher = Dispatcher(database, app[KEYRING], renderer, mail, clock)
    app.cleanup_ctx.append(Planner(database, clock).lifetime)
    app.cleanup_ctx.append(dispatcher.lifetime)
    for worker in _CUP_WORKERS:
        app.cleanup_ctx.append(worker.lifetime)


def _create_hub(settings: Settings, keyring: Keyring, hooks: VisitHooks) -> Hub:
    return Hub(
        log=LocalRoomLog(),
        key=keyring.derive("socket-tickets"),
        hooks=hooks,
        ice=IceConfig(
            stun_urls=tuple(settings.stun_urls),
            turn_urls=tuple(settings.turn_urls),
            turn_secret=settings.turn_secret.encode(),
        ),
        allowed_origins=frozenset({settings.base_url}),
        clock=lambda: datetime.now(UTC),
    )


def _own_routes(assets: Assets, hub: Hub) -> list[Route]:
    return [
        Route("GET", "/static/{version}/{name:.+}", assets.serve, PUBLIC),
        Route("GET", "/ws", hub.handle, PUBLIC),
        Route("GET", "/healthz", _healthz, PUBLIC),
        Route("GET", "/", _home, PUBLIC),
    ]


async def _healthz(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _home(request: web.Request) -> web.Response:
    return request.app[PAGES].render(request, "home.html")


async def _database_lifetime(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[DATABASE].close()


async def _close_hub(app: web.Application) -> None:
    await app[HUB].close()
