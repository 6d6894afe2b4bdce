"""Two tabs, two doctors, offline and back: 600 orders of steps, the same ones each time.
``make chaos`` takes 20,000 others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings

from server.db import Database
from server.keyring import Keyring
from server.models import Visit
from server.notes.content import NoteForm, cleaned, digest_of
from tests.conftest import Cast, MakeVisit
from tests.interleavings import STEPS, run
from tests.notepages import Pages, open_pages

BEHIND_A_COLLEAGUE = [
    ("append", 0, "findings"), ("send", 0), ("append", 1, "findings"), ("save", 1),
    ("append", 0, "therapy"), ("reload", 0, "sent"),
]  # fmt: skip
"""A page goes away while its save waits, and another page was first."""
LOST_WORDS = [
    ("code", 0), ("code", 0), ("append", 2, "findings"), ("append", 0, "findings"), ("code", 0),
    ("save", 0), ("hand_over", 0), ("send", 2), ("hand_over", 0), ("code", 0), ("answer", 1),
    ("resolve", 0, "theirs"), ("answer", 2), ("code", 1), ("reload", 0, "draft"), ("hand_over", 2),
    ("insert", 2, "therapy"), ("deliver", 0), ("reload", 2, "sent"), ("resolve", 1, "both"),
]  # fmt: skip
"""The same between two doctors, as ``make chaos`` found it."""
LOST_CODES = [
    ("code", 0), ("code", 0), ("append", 2, "findings"), ("append", 0, "findings"), ("code", 0),
    ("code", 1), ("hand_over", 0), ("save", 2), ("hand_over", 0), ("save", 1), ("answer", 1),
    ("resolve", 0, "theirs"), ("answer", 2), ("code", 1), ("reload", 0, "draft"), ("hand_over", 2),
    ("insert", 2, "therapy"), ("deliver", 0), ("reload", 2, "sent"), ("resolve", 1, "both"),
]  # fmt: skip


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    with open_pages() as pages:
        yield pages


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """That saves at once meet on PostgreSQL too is in ``test_notes``."""
    return sqlite_template


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


@pytest.mark.timeout(900)
@settings(
    max_examples=600,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@example(steps=BEHIND_A_COLLEAGUE)
@example(steps=LOST_WORDS)
@example(steps=LOST_CODES)
@given(steps=STEPS)
async def test_no_interleaving_loses_a_word(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    visit: Visit,
    pages: Pages,
    steps: list[tuple[Any, ...]],
) -> None:
    await run(database, keyring, pages, visit, cast.toscana, steps)


def test_page_and_server_know_a_version_by_the_same_digest(pages: Pages) -> None:
    coding = {"system": "icd9_cm", "code": "428.0", "display": "è"}
    content = {
        "sections": {"therapy": 'b\n"\\/\t', "findings": "à 😀 \x7f\x85\u2028<&>", "plan": " \n"},
        "question_codes": [{**coding, "code": "401.9"}],
        "diagnosis_codes": [coding, {**coding, "code": "427.31"}],
        "template_id": "t1",
    }
    draft = {"mine": content, "base": {}, "version": 0, "sent": [], "open": {}, "keepsakes": []}
    saved = {"content": {}, "version": 0, "saved_at": None}
    pages.ask("open", 0, saved=saved, draft=draft)

    sent = pages.ask("nextSave", 0)["result"]

    assert sent["digest"] == digest_of(cleaned(msgspec.convert(sent["content"], NoteForm)))
