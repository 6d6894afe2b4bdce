"""The one place that wires: every start has its stop beside it.

What every process does is started with it; the workers of messages and of the link with CUP run
only in the process that leads (:mod:`server.leader`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from aiohttp import web

from recordings.store import SealedFolder
from server import (
    administration,
    agenda,
    archive,
    attachments,
    booking,
    changes,
    checkin,
    desk,
    fse,
    intake,
    join,
    language,
    linetest,
    login,
    metrics,
    mysignature,
    notes,
    openings,
    patientreport,
    quality,
    ratings,
    ready,
    recording,
    regional,
    reporting,
    retention,
    sessionexport,
    sessionlog,
    subjects,
    takeover,
    training,
    verification,
    visit,
    waiting,
    witness,
    writing,
)
from server.alarms import ALARMS, Alarms
from server.assets import Assets, load_assets
from server.audit import leaves_none
from server.auth import PUBLIC, Route, register
from server.cup import cuplist, dropfolder
from server.cup.fhir import doors as fhir_doors
from server.cup.fhir import poll as fhir_poll
from server.cup.hl7v2 import mllp
from server.cup.outbox import delivery
from server.db import COMMAND_SECONDS, Database
from server.figures import FIGURES, KeptFigures
from server.fse import delivery as fse_delivery
from server.keyring import load_keyring
from server.leader import LEADER, Leader, lease_of
from server.logsigner.client import SignerProcess
from server.mail.delivery import Delivery
from server.mail.dispatch import Dispatcher
from server.mail.planner import Planner
from server.mail.render import Renderer
from server.mail.setup import delivery_of
from server.middleware import add_security_headers, answer_errors, refuse_cross_site
from server.pages import Pages
from server.ready import READINESS, Readiness
from server.retention.files import SealedFiles
from server.retention.job import Shredder
from server.sealed import ATTACHMENTS_FOLDER, open_recordings
from server.sequencing.worker import Sequencer
from server.services import (
    CLOCK,
    DATABASE,
    FILES,
    HUB,
    KEYRING,
    LISTENING,
    ORIGINS,
    PAGES,
    RECORDINGS,
    SETTINGS,
    Listening,
)
from server.settings import Settings
from server.summary import Summaries
from server.throttle import Throttle
from server.turn.seats import TurnSeats
from server.waiting import SPOOL_FOLDER, Spool, VisitHooks
from server.witness import headmail
from signaling.bus import LocalRoomLog, RoomLog
from signaling.hub import Hub
from signaling.ice import IceConfig
from signaling.valkeylog import ValkeyRoomLog

MAX_BODY_BYTES = 256 * 1024
_FEATURES = (
    login,
    language,
    join,
    checkin,
    booking,
    linetest,
    waiting,
    agenda,
    takeover,
    training,
    visit,
    verification,
    attachments,
    notes,
    writing,
    mysignature,
    reporting,
    patientreport,
    openings,
    fse,
    archive,
    quality,
    ratings,
    recording,
    regional,
    desk,
    intake,
    witness,
    sessionexport,
    sessionlog,
    subjects,
    administration,
    retention,
    metrics,
    ready,
    fhir_doors,
)
_LEADING_WORKERS = (
    changes, mllp, fhir_poll, dropfolder, delivery, cuplist, fse_delivery, headmail,
)  # fmt: skip


def create_app(
    settings: Settings,
    mail: Delivery | None = None,
    own_url: str | None = None,
    *,
    clock: Callable[[], datetime] | None = None,
    has_workers: bool = True,
) -> web.Application:
    """The whole application for one data folder; nothing is opened before it starts.

    ``mail`` stands for the mail server and SMS gateway of the settings; ``own_url`` is where this
    process is also reached, beside ``base_url``. ``clock`` says another time than now, for visits
    that are told after they were; without workers nothing leaves.

    :raises CommandFailed: no root key, or the front-end packages are missing.
    """
    assets = load_assets()
    app = web.Application(
        middlewares=[answer_errors, refuse_cross_site], client_max_size=MAX_BODY_BYTES
    )
    _put_services(app, settings, clock or (lambda: datetime.now(UTC)), own_url)
    app[PAGES] = Pages(assets)
    hooks = VisitHooks(app[DATABASE], Spool(settings.data_dir / SPOOL_FOLDER), app[CLOCK])
    relays = _prepare_relays(app)
    app[HUB] = _create_hub(app, hooks, relays)
    linetest.prepare(app, relays)
    for feature in (attachments, fse, training, witness):
        feature.prepare(app)
    app.on_response_prepare.append(add_security_headers)
    app.cleanup_ctx.append(_database_lifetime)
    app.cleanup_ctx.append(app[ALARMS].lifetime)
    app.cleanup_ctx.append(hooks.lifetime)
    app.cleanup_ctx.append(app[READINESS].lifetime)
    if has_workers:
        _add_workers(app, mail or delivery_of(settings))
    app.on_shutdown.append(_close_hub)
    register(app, _own_routes(assets, app[HUB]))
    for served in _FEATURES:
        register(app, served.ROUTES)
    return app


def _put_services(
    app: web.Application,
    settings: Settings,
    clock: Callable[[], datetime],
    own_url: str | None,
) -> None:
    """What handlers find in the application, before anything is started."""
    app[SETTINGS] = settings
    app[CLOCK] = clock
    app[KEYRING] = load_keyring(settings.data_dir)
    app[DATABASE] = Database(settings.database, COMMAND_SECONDS)
    app[ALARMS] = Alarms(app[DATABASE], app[CLOCK])
    app[KEYRING].on_broken = app[ALARMS].sound
    app[ORIGINS] = frozenset({settings.base_url, own_url or settings.base_url})
    app[FIGURES] = KeptFigures()
    app[READINESS] = Readiness(app[DATABASE])
    app[login.THROTTLES] = login.Throttles()
    app[join.CLAIM_THROTTLE] = Throttle(join.FREE_ATTEMPTS_OF_NETWORK)
    app[FILES] = SealedFolder(settings.data_dir / ATTACHMENTS_FOLDER)
    app[RECORDINGS] = open_recordings(settings)
    app[LISTENING] = Listening(settings.host)
    app[recording.KEEPER] = recording.Keeper()


def _add_workers(app: web.Application, mail: Delivery) -> None:
    """What one process of all runs beside its pages: messages to patients, the link with CUP."""
    settings, database, clock = app[SETTINGS], app[DATABASE], app[CLOCK]
    renderer = Renderer(settings.base_url, settings.mail_from)
    dispatcher = Dispatcher(database, app[KEYRING], renderer, mail, clock)
    app[mllp.MLLP_PORTS] = {}
    workers = [Planner(database, clock).lifetime, dispatcher.lifetime]
    workers += [worker.lifetime for worker in _LEADING_WORKERS]
    signer = SignerProcess(settings.signer_folder)
    summaries = Summaries(database, app[KEYRING])
    sequencer = Sequencer(
        database, signer, settings.realm, clock, app[ALARMS].note_refusal, summaries.wake
    )
    workers += [sequencer.lifetime, app[recording.KEEPER].lifetime, summaries.lifetime]
    workers.append(Shredder(database, app[KEYRING], SealedFiles.of(settings), clock).lifetime)
    app[LEADER] = Leader(lease_of(database, settings.data_dir), workers)
    app.cleanup_ctx.append(app[LEADER].lifetime)


def _create_hub(app: web.Application, hooks: VisitHooks, relays: IceConfig) -> Hub:
    return Hub(
        log=_prepare_log(app),
        key=app[KEYRING].derive("socket-tickets"),
        hooks=hooks,
        ice=relays,
        allowed_origins=app[ORIGINS],
        clock=lambda: datetime.now(UTC),
    )


def _prepare_log(app: web.Application) -> RoomLog:
    """In memory for a process alone, shared where there is a Valkey."""
    url = app[SETTINGS].valkey_url
    if not url:
        return LocalRoomLog()
    log = ValkeyRoomLog(url)
    app[READINESS].ask_valkey = log.check

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        log.start()
        yield
        await log.stop()

    app.cleanup_ctx.append(lifetime)
    return log


def _prepare_relays(app: web.Application) -> IceConfig:
    settings = app[SETTINGS]
    seats = None
    if settings.turn_valkey_url:
        seats = TurnSeats(settings.turn_valkey_url, settings.realm)
        app.cleanup_ctx.append(seats.lifetime)
    return IceConfig(
        stun_urls=tuple(settings.stun_urls),
        turn_urls=tuple(settings.turn_urls),
        turn_secret=settings.turn_secret.encode(),
        seats=seats,
    )


def _own_routes(assets: Assets, hub: Hub) -> list[Route]:
    return [
        Route(
            "GET",
            "/static/{version}/{name:.+}",
            assets.serve,
            PUBLIC,
            leaves_none("the same bytes for everybody"),
        ),
        Route(
            "GET",
            "/ws",
            hub.handle,
            PUBLIC,
            leaves_none("what happens in a room is told by its hooks, in their own time"),
        ),
        Route("GET", "/", _home, PUBLIC, leaves_none("the same page for everybody")),
    ]


async def _home(request: web.Request) -> web.Response:
    return request.app[PAGES].render(request, "home.html")


async def _database_lifetime(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[DATABASE].close()


async def _close_hub(app: web.Application) -> None:
    await app[HUB].close()
