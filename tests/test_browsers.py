"""Of a browser's name one word for the maker and one for the kind of device are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from server.browsers import browser_family, device_kind
from server.db import Database
from server.keyring import Keyring
from server.models import LogEntry
from tests.conftest import Cast, MakeVisit
from tests.patients import link_of, open_practice


@pytest.mark.parametrize(
    ("agent", "family", "kind"),
    [
        ("(Linux; Android 13) Chrome/120.0 Mobile Safari/537.36", "chrome", "phone"),
        ("(Linux; Android 13) SamsungBrowser/23.0 Chrome/115.0 Safari/537", "samsung", "tablet"),
        ("(iPhone; CPU iPhone OS 17_1) Version/17.1 Mobile/1 Safari/604.1", "safari", "phone"),
        ("(iPad; CPU OS 12_5) Version/12.1 Mobile/1 Safari/604.1", "safari", "tablet"),
        ("(X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "firefox", "computer"),
        ("(Windows NT 10.0) Chrome/120 Safari/537.36 Edg/120", "edge", "computer"),
        ("(Macintosh; Intel Mac OS X 10_15) OPR/100 Chrome/120", "opera", "computer"),
        ("", "other", ""),
    ],
)
def test_of_the_browser_two_words_are_kept(agent: str, family: str, kind: str) -> None:
    assert (browser_family(agent), device_kind(agent)) == (family, kind)


async def test_a_claim_says_with_what(
    database: Database,
    database_url: str,
    data_dir: Path,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
) -> None:
    visit = await make_visit(cast.toscana)
    link = await link_of(database, keyring, visit)
    agent = {"User-Agent": "(Linux; Android 13) Chrome/120.0 Mobile Rosa/1.0"}
    async with open_practice(database_url, data_dir) as practice:
        await practice.telephone(**agent).claim(visit.locator, secret=link.fragment)

    async with database.read(visit.organisation_id) as session:
        entries = await session.scalars(select(LogEntry.entry))
        claimed = [json.loads(text) for text in entries if '"link.claimed"' in text]
    assert [entry["facts"] for entry in claimed] == [
        {"browser": "chrome", "device_kind": "phone", "way": "link"}
    ]
