"""Prometheus learns how the link is, from who may ask, and nothing of a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.db import Database
from server.keyring import Keyring
from server.models import EventState, MessageState
from server.services import SETTINGS
from tests.conftest import ROSA, Cast, MakeVisit
from tests.test_admin_pages import add_event, add_message, add_source
from tests.visitors import Site, site

__all__ = ["site"]


def figures(text: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_figures_of_the_link_and_of_the_process(
    site: Site, cast: Cast, database: Database, keyring: Keyring, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.emilia)
    now = datetime.now(UTC)
    source = await add_source(database, cast.toscana)
    for age in (10, 90):
        await add_message(database, keyring, source, at=now - timedelta(seconds=age))
    await add_message(database, keyring, source, state=MessageState.APPLIED, at=now - timedelta(1))
    await add_event(database, visit, EventState.QUEUED, now - timedelta(hours=1))
    await add_event(database, visit, EventState.DEAD)

    answer = await site.stranger.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = figures(answer.text)
    toscana, emilia = ("ausl-toscana", "cup-prova"), ("ausl-emilia", "cup")
    assert found["accanto_cup_inbox_messages", *toscana, "quarantined"] == 2
    assert found["accanto_cup_inbox_messages", *toscana, "applied"] == 1
    assert found["accanto_cup_quarantine_messages", *toscana] == 2
    assert 10 <= found["accanto_cup_inbox_last_message_age_seconds", *toscana] < 70
    assert found["accanto_cup_outbox_events", *emilia] == 1
    assert 3600 <= found["accanto_cup_outbox_oldest_age_seconds", *emilia] < 3660
    assert found["accanto_cup_outbox_dead_events", *emilia] == 1
    assert found["accanto_cup_outbox_events", *toscana] == 0
    assert found["accanto_open_rooms",] == found["accanto_open_sockets",] == 0
    assert found["process_resident_memory_bytes",] > 0
    for word in (ROSA.family_name, visit.appointment.booking_code, visit.id, "PRN-SEGRETO"):
        assert word not in answer.text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_without_a_token_a_proxy_gets_nothing(site: Site, header: str) -> None:
    assert (await site.stranger.get("/metrics", **{header: "127.0.0.1"})).status == 404
    assert (await site.stranger.get("/metrics")).status == 200


async def test_with_a_token_only_the_token_counts(site: Site) -> None:
    settings = site.app[SETTINGS].model_copy(update={"metrics_token": "segreto-lungo"})
    site.app._state[SETTINGS] = settings  # the running application is frozen
    ask = site.stranger.get

    assert (await ask("/metrics")).status == 404
    assert (await ask("/metrics", Authorization="Bearer segreto")).status == 404
    assert (await ask("/metrics", Authorization="segreto-lungo")).status == 404
    forwarded = {"X-Forwarded-For": "10.0.0.7"}
    right = await ask("/metrics", Authorization="Bearer segreto-lungo", **forwarded)
    assert right.status == 200
    assert "segreto" not in right.text
