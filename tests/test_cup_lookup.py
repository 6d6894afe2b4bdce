"""What every message asks of the records stays cheap while the tables grow: each question has its
index, by the value it asks for and not only by whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from server.cup.inbox.lookup import KNOWN, LOOK_UP
from server.db import EVERY_ORGANISATION, Database

ASKED = {
    "source": "a", "organisation": "b", "control_ids": ["c"], "booking_codes": ["d"],
    "clinicians": ["e"], "clinics": ["f"], "organisations": ["g"], "people": ["h"], "keys": ["i"],
}  # fmt: skip
GROWING = {
    "inbox_message": ("control_id=?", "booking_code=?"),
    "patient": ("codice_fiscale_index=?",),
    "patient_identifier": ("identifier_index=?",),
    "appointment": ("booking_code=?",),
    "visit": ("appointment_id=?",),
}


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """SQLite says in words which index it takes."""
    return sqlite_template


async def test_questions_of_every_message_are_answered_by_the_value(database: Database) -> None:
    asked: list[tuple[str, Any]] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, parameters, *rest: asked.append(
            (statement, parameters)
        ),
    )
    async with database.read(EVERY_ORGANISATION) as session:
        for question in (KNOWN, LOOK_UP):
            await session.execute(question, ASKED)
    questions = [each for each in asked if "SELECT" in each[0]]

    async with database.engine.connect() as connection:
        plans = [
            row[3].split()
            for statement, parameters in questions
            for row in await connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", tuple(parameters)
            )
        ]

    seen = [words for words in plans if len(words) > 1 and words[1] in GROWING]
    assert {words[1] for words in seen} == set(GROWING)
    for words in seen:
        terms = " ".join(words).replace("(", " ").replace(")", " ").split()
        assert words[0] == "SEARCH"
        assert set(GROWING[words[1]]) & set(terms), words
