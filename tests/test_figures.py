"""Figures of a month: counted from what was, and none of fewer than five, said or worked out."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest

from server.figures import (
    LEAST,
    NONE,
    OTHER,
    Month,
    Table,
    TableName,
    last_settled,
    month_of,
    parse_month,
)
from server.figures.guard import Part, find_small, find_withheld
from server.figures.tables import Fact, make_tables
from server.line.measured import Seat
from server.models import Outcome, Score, Suitability, VisitState

DAY = date(2026, 10, 20)


def facts_of(count: int, **values: object) -> list[Fact]:
    usual: dict[str, object] = {"state": VisitState.ENDED, "day": DAY}
    return [Fact(**(usual | values)) for _ in range(count)]  # type: ignore[arg-type]


def counts_of(table: Table) -> dict[str, int]:
    return {row.key: row.count for row in table.rows}


# ---- months ----------------------------------------------------------------------------


def test_a_month_begins_at_midnight_in_rome_and_ends_with_the_next() -> None:
    assert Month(2026, 10).start == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert Month(2026, 12).end == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert Month(2026, 12).next == Month(2027, 1)
    assert Month(2027, 1).previous == Month(2026, 12)
    assert month_of(datetime(2026, 9, 30, 22, tzinfo=UTC)) == Month(2026, 10)


def test_a_month_is_released_a_week_after_its_end() -> None:
    end = Month(2026, 10).end

    assert last_settled(end + timedelta(days=7)) == Month(2026, 10)
    assert last_settled(end + timedelta(days=7, seconds=-1)) == Month(2026, 9)


@pytest.mark.parametrize("text", ["2026-13", "2026-1", "1999-01", "2026-01-01", "2026-00"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_month(text)


# ---- what is not said --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "small"),
    [
        ({"a": 9, "b": 5}, set()),
        ({"a": 9, "b": 0}, set()),
        ({"a": 9, "b": 3, "c": 2}, {"b", "c"}),
        ({"a": 9, "b": 3, "c": 1}, {"a", "b", "c"}),
        ({"a": 9, "b": 6, "c": 4}, {"b", "c"}),
        ({"a": 9, "b": 1}, {"a", "b"}),
        ({"a": 2, "b": 3}, {"a", "b"}),
    ],
)
def test_small_groups_are_one_and_never_alone(counts: dict[str, int], small: set[str]) -> None:
    assert set(find_small(counts) or ()) == small


def test_of_fewer_than_five_nothing_is_said() -> None:
    assert find_small({"a": 4}) is None
    assert find_small({}) is None
    assert make_tables(facts_of(4, outcome=Outcome.COMPLETED))[TableName.OUTCOMES].rows == ()


def test_nobody_can_work_out_a_group_below_five() -> None:
    """Every published count is the sum of whole groups and at least five; all together are the
    total, so whatever is added or taken away is such a sum again."""
    dice = random.Random(6)
    for _ in range(2000):
        counts = {str(key): dice.choice((0, 1, 2, 3, 4, 5, 6, 9, 30)) for key in range(6)}
        small = find_small(counts)
        if small is None:
            assert sum(counts.values()) < LEAST
            continue
        shown = [count for key, count in counts.items() if count and key not in small]
        together = sum(counts[key] for key in small)

        assert all(count >= LEAST for count in shown)
        assert together == 0 or (together >= LEAST and len(small) > 1)


def test_withheld_parts_cannot_be_worked_out_from_their_sum() -> None:
    """Somebody who knows every count, the shown parts and the sums over all finds, for each that
    is withheld, that it may be five or more."""
    dice = random.Random(7)
    hidden_in_all = 0
    for _ in range(300):
        parts = []
        for _ in range(dice.randint(2, 4)):
            count = dice.randint(LEAST, 12)
            parts.append(Part(count, dice.randint(0, count)))
        withheld = find_withheld(parts)
        for of in (
            [part.good for part in parts],
            [part.count - part.good for part in parts],
        ):
            is_all = len(withheld) == len(parts)
            shown_small = [of[place] for place in range(len(parts)) if place not in withheld]
            assert all(number == 0 or number >= LEAST for number in shown_small)
            if not withheld or is_all:
                continue
            hidden_in_all += len(withheld)
            known = sum(of[place] for place in withheld)
            ranges = [range(1, parts[place].count) for place in sorted(withheld)]
            worlds = [world for world in product(*ranges) if sum(world) == known]
            for place in range(len(ranges)):
                seen = {world[place] for world in worlds}
                most = max(ranges[place])
                assert len(seen) > 1
                assert max(seen) >= min(LEAST, most)
    assert hidden_in_all > 50


# ---- what is counted -----------------------------------------------------------------------


def test_outcomes_and_their_reasons() -> None:
    tables = make_tables(
        [
            *facts_of(30, outcome=Outcome.COMPLETED),
            *facts_of(6, outcome=Outcome.CONVERTED_TO_IN_PERSON, reason="exam_needed"),
            *facts_of(5, outcome=Outcome.CONVERTED_TO_IN_PERSON, reason="weak_line"),
            *facts_of(7, outcome=Outcome.NO_SHOW_PATIENT),
            *facts_of(5, outcome=Outcome.NO_SHOW_PATIENT, has_claimed=True),
            *facts_of(2, outcome=Outcome.NO_SHOW_PATIENT, has_failed_message=True),
            *facts_of(3, outcome=Outcome.TECHNICAL_FAILURE, reason="weak_line"),
            *facts_of(2, outcome=Outcome.NO_SHOW_CLINICIAN),
            *facts_of(9, state=VisitState.CANCELLED),
        ]
    )

    assert counts_of(tables[TableName.OUTCOMES]) == {
        "completed": 30, "no_show_patient": 14, "converted_to_in_person": 11, OTHER: 5,
    }  # fmt: skip
    assert tables[TableName.OUTCOMES].total == 60
    assert counts_of(tables[TableName.CONVERSION_REASONS]) == {"exam_needed": 6, "weak_line": 5}
    assert counts_of(tables[TableName.ABSENCE_REASONS]) == {"link_not_opened": 7, OTHER: 7}
    assert tables[TableName.FAILURE_REASONS].rows == ()


def test_waiting_days_by_class_and_how_many_in_time() -> None:
    def waits(priority: str, *days: int) -> list[Fact]:
        return [
            fact
            for number in days
            for fact in facts_of(1, priority=priority, booked_on=DAY - timedelta(days=number))
        ]

    table = make_tables(
        [*waits("B", *range(1, 21)), *waits("D", *([8] * 60)), *facts_of(6, priority="U")]
    )[TableName.WAITING_DAYS]

    rows = {row.key: row for row in table.rows}
    assert (rows["B"].count, rows["B"].middle, rows["B"].good) == (20, 10.5, 10)
    assert rows["B"].high is None
    assert (rows["D"].middle, rows["D"].high, rows["D"].good) == (8, 8, 60)
    assert (rows[NONE].count, rows[NONE].middle, rows[NONE].good) == (6, None, None)


def test_line_by_municipality_withholds_small_parts() -> None:
    good, bad = Suitability.SUITABLE, Suitability.NOT_SUITABLE
    table = make_tables(
        [
            *facts_of(20, municipality="Firenze", verdict=good),
            *facts_of(8, municipality="Firenze", verdict=bad),
            *facts_of(9, municipality="Fiesole", verdict=good),
            *facts_of(2, municipality="Fiesole", verdict=bad),
            *facts_of(3, municipality="Vaglia", verdict=good),
            *facts_of(4, municipality="Scandicci", verdict=bad),
        ]
    )[TableName.LINE_BY_MUNICIPALITY]

    assert counts_of(table) == {"Firenze": 28, "Fiesole": 11, OTHER: 7}
    assert {row.key: row.good for row in table.rows} == {
        "Firenze": 20, "Fiesole": None, OTHER: None,
    }  # fmt: skip


def test_minutes_in_the_waiting_room_by_clinic() -> None:
    waited = [*range(60, 60 * 11, 60), *[60 * 30] * 6]
    facts = [
        fact for seconds in waited for fact in facts_of(1, clinic="Cardio", waited_seconds=seconds)
    ]
    table = make_tables([*facts, *facts_of(5)])[TableName.WAITING_ROOM]

    [cardio, none] = table.rows
    assert (cardio.key, cardio.count, cardio.middle, cardio.good) == ("Cardio", 16, 8.5, 10)
    assert (none.key, none.count, none.good) == (NONE, 5, None)


def test_ratings_of_each_side() -> None:
    said = {(Seat.PATIENT, "visit"): Score.GOOD, (Seat.CLINICIAN, "line"): Score.POOR}
    tables = make_tables([*facts_of(8, scores=said), *facts_of(5)])

    assert counts_of(tables[TableName.PATIENT_VISIT]) == {"good": 8, NONE: 5}
    assert counts_of(tables[TableName.CLINICIAN_LINE]) == {"poor": 8, NONE: 5}
    assert counts_of(tables[TableName.PATIENT_LINE]) == {NONE: 13}
