"""The page of a month, and the CSV of the last twelve that are settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from aiohttp import hdrs, web

from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.errors import InvalidInput
from server.figures import (
    LEAST,
    LONG_WAIT_MINUTES,
    Month,
    Row,
    Table,
    TableName,
    last_settled,
    load_released,
    load_tables,
    month_of,
    parse_month,
)
from server.i18n import Translator
from server.models import Organisation
from server.pages import Pages
from server.services import DATABASE, PAGES, now_of
from server.spreadsheets import BYTE_ORDER_MARK, csv_line

MONTHS: Final = 12
"""Of which the CSV tells, and which the page offers beside the running one."""
_WORDS: Final = "staff/figures_words.html"
_CHAPTERS: Final = {
    "outcomes": (
        TableName.OUTCOMES,
        TableName.ABSENCE_REASONS,
        TableName.CONVERSION_REASONS,
        TableName.FAILURE_REASONS,
    ),
    "waiting": (TableName.WAITING_DAYS, TableName.OFFERED_DAYS, TableName.WAITING_ROOM),
    "line": (
        TableName.LINE,
        TableName.LINE_BY_MUNICIPALITY,
        TableName.LINE_BY_DEVICE,
        TableName.LINE_BY_BROWSER,
        TableName.LINE_BY_PATH,
    ),
    "ratings": (
        TableName.PATIENT_VISIT,
        TableName.PATIENT_LINE,
        TableName.CLINICIAN_VISIT,
        TableName.CLINICIAN_LINE,
    ),
}


async def show_figures(request: web.Request) -> web.StreamResponse:
    """One month of the organisation; the last settled one when none is asked for."""
    actor, now = actor_of(request), now_of(request)
    month = _parse_wish(request.query, now)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        tables = await load_tables(session, actor.organisation, month)
        facts: dict[str, Fact] = {"month": str(month)}
        await append(
            session,
            actor.organisation,
            Entry(now, Act.FIGURES_READ, actor.role, actor.id, facts=facts),
        )
    words = request.app[PAGES].translator(request)
    return request.app[PAGES].render(
        request,
        "staff/figures.html",
        actor=actor,
        month=month,
        months=list(_offered(now)),
        is_settled=month.is_settled(now),
        is_running=month == month_of(now),
        chapters=_CHAPTERS,
        tables=tables,
        total=tables[TableName.OUTCOMES].total,
        least=LEAST,
        long_wait=LONG_WAIT_MINUTES,
        month_name=words.month,
        number=lambda value: _say_number(words, value),
    )


async def send_csv(request: web.Request) -> web.StreamResponse:
    """The settled months of the last year, the newest first, in the language of the reader."""
    actor, now = actor_of(request), now_of(request)
    month = last_settled(now)
    found: list[tuple[Month, dict[TableName, Table]]] = []
    async with request.app[DATABASE].begin(actor.organisation) as session:
        organisation = await session.get_one(Organisation, actor.organisation)
        for _ in range(MONTHS):
            tables = await load_released(session, actor.organisation, month, now)
            found.append((month, tables))
            month = month.previous
        facts: dict[str, Fact] = {"month": f"{found[-1][0]}/{found[0][0]}"}
        await append(
            session,
            actor.organisation,
            Entry(now, Act.FIGURES_READ, actor.role, actor.id, facts=facts),
        )
    pages = request.app[PAGES]
    lines = _csv_lines(pages, pages.translator(request), organisation.code, found)
    name = f"accanto-{organisation.code}-{found[0][0]}.csv"
    return web.Response(
        body=(BYTE_ORDER_MARK + "".join(lines)).encode(),
        headers={
            hdrs.CONTENT_TYPE: "text/csv; charset=utf-8",
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
        },
    )


def _parse_wish(query: Mapping[str, str], now: datetime) -> Month:
    """:raises InvalidInput: not a month, or none that is offered."""
    text = query.get("month", "")
    if not text:
        return last_settled(now)
    try:
        month = parse_month(text)
    except ValueError as error:
        raise InvalidInput("month", "bad_date") from error
    if month > month_of(now):
        raise InvalidInput("month", "bad_date")
    return month


def _offered(now: datetime) -> Iterator[Month]:
    month = month_of(now)
    for _ in range(MONTHS + 1):
        yield month
        month = month.previous


def _csv_lines(
    pages: Pages,
    words: Translator,
    organisation: str,
    months: list[tuple[Month, dict[TableName, Table]]],
) -> Iterator[str]:
    columns = (
        "organisation", "month", "table", "group", "visits", "percent", "middle", "high", "good",
        "good_percent",
    )  # fmt: skip
    yield csv_line(pages.speak(words, _WORDS, "column", name).strip() for name in columns)
    for month, tables in months:
        for table in tables.values():
            title = pages.speak(words, _WORDS, "title", table.name).strip()
            for row in table.rows:
                group = pages.speak(words, _WORDS, "group_of", f"{table.name}:{row.key}").strip()
                yield csv_line(
                    [organisation, str(month), title, group, *_numbers(words, table, row)]
                )


def _numbers(words: Translator, table: Table, row: Row) -> list[str]:
    percent = None if row.good is None else 100 * row.good / row.count
    numbers = (row.count, table.percent(row), row.middle, row.high, row.good, percent)
    return [_say_number(words, value) for value in numbers]


def _say_number(words: Translator, value: float | None) -> str:
    """One place after the comma at most; empty when there is nothing to say."""
    if value is None:
        return ""
    text = f"{value:.1f}".removesuffix(".0")
    return text.replace(".", ",") if words.language == "it" else text
