"""``GET /metrics``: how the CUP link and this process are, for Prometheus.

The figures are read from the database when somebody asks; while it is away there are those of the
process. Labels are codes of organisations and sources and stable words; no name, no booking code,
no address.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector
from prometheus_client import generate_latest as write_text
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.alarms import ALARMS
from server.audit import leaves_none
from server.auth import PUBLIC, Route
from server.db import EVERY_ORGANISATION, OrganisationId
from server.errors import NotFound
from server.figures import FIGURES, KeptFigures
from server.leader import LEADER
from server.models import (
    EventState,
    InboxMessage,
    MessageState,
    Organisation,
    OutboxEvent,
    PatientMessage,
    Source,
    Submission,
    SubmissionState,
)
from server.ready import READINESS, Part
from server.services import DATABASE, HUB, SETTINGS, now_of

_BEARER: Final = "Bearer "
_PROXY_HEADERS: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
_BY_SOURCE: Final = ["organisation", "source"]


async def show_metrics(request: web.Request) -> web.StreamResponse:
    """All figures in the text format."""
    _check_asker(request)
    failing = await request.app[READINESS].load_failing()
    families = _list_of_process(request.app, failing)
    if Part.DATABASE not in failing:
        async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
            families += await _load_families(session, now_of(request))
            families += await _load_figures(session, request.app[FIGURES], now_of(request))
    registry = CollectorRegistry()
    registry.register(_Families(families))
    ProcessCollector(registry=registry)
    return web.Response(body=write_text(registry), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})


def _check_asker(request: web.Request) -> None:
    """Let in who has the token; without a token in the settings, this machine itself.

    :raises NotFound: anybody else, who learns nothing.
    """
    wanted = request.app[SETTINGS].metrics_token
    given = request.headers.get(hdrs.AUTHORIZATION, "")
    if wanted:
        is_right = hmac.compare_digest(given.encode(), (_BEARER + wanted).encode())
    else:
        is_right = _is_this_machine(request)
    if not is_right:
        raise NotFound


def _is_this_machine(request: web.Request) -> bool:
    if any(name in request.headers for name in _PROXY_HEADERS):
        return False
    try:
        return ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


def _list_of_process(app: web.Application, failing: Sequence[Part]) -> list[GaugeMetricFamily]:
    """The figures of this process, whatever the database does."""
    hub = app[HUB]
    ready = GaugeMetricFamily("accanto_ready", "What /readyz asks: 1 is there.", labels=["part"])
    for part in (Part.DATABASE, Part.MIGRATIONS, Part.VALKEY):
        ready.add_metric([part.value], part not in failing)
    return [
        ready,
        _gauge("accanto_draining", "Whether this process ends.", value=Part.DRAINING in failing),
        _gauge("accanto_leads", "Whether the workers run here.", value=app[LEADER].is_leading),
        _gauge("accanto_open_rooms", "Open rooms of this process.", value=hub.open_rooms),
        _gauge("accanto_open_sockets", "Open sockets of this process.", value=hub.open_sockets),
        _gauge(
            "accanto_broken_seals",
            "Sealed records that did not open since this process began: altered or moved.",
            value=app[ALARMS].raised,
        ),
    ]


class _Families(Collector):
    """What was read, for one answer."""

    def __init__(self, families: Iterable[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._families


async def _load_families(session: AsyncSession, now: datetime) -> list[GaugeMetricFamily]:
    organisations = {row.id: row.code for row in await session.scalars(select(Organisation))}
    sources = {
        row.id: [organisations[row.organisation_id], row.code]
        for row in await session.scalars(select(Source))
    }
    return [
        *await _load_inbox(session, sources, now),
        *await _load_outbox(session, sources, now),
        await _load_letters(session, organisations),
        *await _load_documents(session, organisations, now),
    ]


async def _load_inbox(
    session: AsyncSession, sources: dict[str, list[str]], now: datetime
) -> list[GaugeMetricFamily]:
    messages = _gauge("accanto_cup_inbox_messages", "Messages kept from CUP.", "state")
    age = _gauge("accanto_cup_inbox_last_message_age_seconds", "Since the last one came.")
    depth = _gauge("accanto_cup_quarantine_messages", "Messages that wait for a person.")
    rows = await session.execute(
        select(
            InboxMessage.source_id,
            InboxMessage.state,
            func.count(),
            func.max(InboxMessage.received_at),
        ).group_by(InboxMessage.source_id, InboxMessage.state)
    )
    newest: dict[str, datetime] = {}
    waiting = dict.fromkeys(sources, 0)
    for source_id, state, count, last in rows:
        messages.add_metric([*sources[source_id], state.value], count)
        newest[source_id] = max(last, newest.get(source_id, last))
        if state is MessageState.QUARANTINED:
            waiting[source_id] = count
    for source_id, labels in sources.items():
        depth.add_metric(labels, waiting[source_id])
        if source_id in newest:
            age.add_metric(labels, (now - newest[source_id]).total_seconds())
    return [messages, age, depth]


async def _load_outbox(
    session: AsyncSession, sources: dict[str, list[str]], now: datetime
) -> list[GaugeMetricFamily]:
    depth = _gauge("accanto_cup_outbox_events", "Events that CUP does not have yet.")
    oldest = _gauge("accanto_cup_outbox_oldest_age_seconds", "Age of the first in the line.")
    dead = _gauge("accanto_cup_outbox_dead_events", "Events that wait for a person.")
    rows = await session.execute(
        select(
            OutboxEvent.source_id,
            OutboxEvent.state,
            func.count(),
            func.min(OutboxEvent.created_at),
        )
        .where(OutboxEvent.state.in_((EventState.QUEUED, EventState.DEAD)))
        .group_by(OutboxEvent.source_id, OutboxEvent.state)
    )
    found = {(source_id, state): (count, first) for source_id, state, count, first in rows}
    for source_id, labels in sources.items():
        queued, first = found.get((source_id, EventState.QUEUED), (0, now))
        depth.add_metric(labels, queued)
        oldest.add_metric(labels, (now - first).total_seconds())
        dead.add_metric(labels, found.get((source_id, EventState.DEAD), (0, now))[0])
    return [depth, oldest, dead]


async def _load_letters(
    session: AsyncSession, organisations: dict[OrganisationId, str]
) -> GaugeMetricFamily:
    letters = GaugeMetricFamily(
        "accanto_patient_messages", "Messages to patients.", labels=["organisation", "state"]
    )
    rows = await session.execute(
        select(PatientMessage.organisation_id, PatientMessage.state, func.count()).group_by(
            PatientMessage.organisation_id, PatientMessage.state
        )
    )
    for organisation_id, state, count in rows:
        letters.add_metric([organisations[organisation_id], state.value], count)
    return letters


async def _load_documents(
    session: AsyncSession, organisations: dict[OrganisationId, str], now: datetime
) -> list[GaugeMetricFamily]:
    """Reports on their way to the national record; refused ones wait for a person."""
    documents = GaugeMetricFamily(
        "accanto_fse_documents",
        "Documents for the national record.",
        labels=["organisation", "state"],
    )
    age = GaugeMetricFamily(
        "accanto_fse_oldest_age_seconds",
        "Age of the oldest document on its way.",
        labels=["organisation"],
    )
    rows = await session.execute(
        select(
            Submission.organisation_id,
            Submission.state,
            func.count(),
            func.min(Submission.created_at),
        ).group_by(Submission.organisation_id, Submission.state)
    )
    ended = (SubmissionState.PUBLISHED, SubmissionState.REFUSED)
    oldest: dict[OrganisationId, datetime] = {}
    for organisation_id, state, count, first in rows:
        documents.add_metric([organisations[organisation_id], state.value], count)
        moment = now if state in ended else first
        oldest[organisation_id] = min(moment, oldest.get(organisation_id, moment))
    for organisation_id, moment in oldest.items():
        age.add_metric([organisations[organisation_id]], (now - moment).total_seconds())
    return [documents, age]


async def _load_figures(
    session: AsyncSession, kept: KeptFigures, now: datetime
) -> list[GaugeMetricFamily]:
    """The figures of the last month that is settled; groups of fewer than five are not in them."""
    of_group = ["organisation", "table", "group"]
    month = GaugeMetricFamily(
        "accanto_figures_month", "Month of the figures, as 202611.", labels=["organisation"]
    )
    visits = GaugeMetricFamily("accanto_figures_visits", "Visits of a group.", labels=of_group)
    good = GaugeMetricFamily(
        "accanto_figures_good_visits", "Of these in time, or with a suitable line.", labels=of_group
    )
    middle = GaugeMetricFamily(
        "accanto_figures_median", "Median of days or minutes of a group.", labels=of_group
    )
    for organisation in list(await session.scalars(select(Organisation))):
        its_month, tables = await kept.load(session, organisation.id, now)
        month.add_metric([organisation.code], its_month.year * 100 + its_month.number)
        for table in tables.values():
            for row in table.rows:
                labels = [organisation.code, table.name.value, row.key or "unknown"]
                visits.add_metric(labels, row.count)
                if row.good is not None:
                    good.add_metric(labels, row.good)
                if row.middle is not None:
                    middle.add_metric(labels, row.middle)
    return [month, visits, good, middle]


def _gauge(name: str, help_: str, *labels: str, value: int | None = None) -> GaugeMetricFamily:
    """A figure of each source, or of the process when it has its ``value``."""
    if value is not None:
        return GaugeMetricFamily(name, help_, value=value)
    return GaugeMetricFamily(name, help_, labels=[*_BY_SOURCE, *labels])


ROUTES: Final = (
    Route("GET", "/metrics", show_metrics, PUBLIC, leaves_none("numbers of processes and queues")),
)
