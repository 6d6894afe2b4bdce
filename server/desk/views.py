"""The board of the day: the page, the search in it, and the states it polls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from aiohttp import web
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append_alone
from server.auth import actor_of
from server.desk.board import Line, NextAct
from server.desk.lines import LINE_LISTS, ToDo, count_to_do, load_day, load_to_do, search, today
from server.desk.words import say_line_test, say_next_act, say_presence, say_problem, say_state
from server.errors import InvalidInput
from server.i18n import Translator
from server.models import InboxMessage, MessageState
from server.pages import json_response
from server.services import DATABASE, PAGES, now_of

_PLACES: Final = {
    NextAct.CALL_PATIENT: "contact",
    NextAct.READ_CODE: "code",
    NextAct.CALL_CLINICIAN: "booking",
    NextAct.ASSIGN: "assign",
    NextAct.COMPLETE: "complete",
    NextAct.ADD_CONTACT: "contact",
    NextAct.OPEN: "booking",
}
"""Which part of the visit's page an act opens."""


@dataclass(frozen=True, slots=True)
class Said:
    """One line in words."""

    line: Line
    state: str
    presence: str
    problems: tuple[str, ...]
    act: str
    href: str
    line_reasons: tuple[str, ...]
    """Why it is on the red list of the line tests, if it is on one."""

    def live(self) -> dict[str, object]:
        """What of it changes while the board is on the screen."""
        return {
            "visit": self.line.visit.id,
            "state": self.state,
            "presence": self.presence,
            "problems": self.problems,
            "act": self.act,
            "href": self.href,
        }


def say_line(words: Translator, line: Line) -> Said:
    act = line.next_act
    return Said(
        line=line,
        state=say_state(words, line),
        presence=say_presence(words, line.presence),
        problems=tuple(say_problem(words, problem) for problem in line.problems),
        act=say_next_act(words, act),
        href=f"/desk/visits/{line.visit.id}#{_PLACES[act]}",
        line_reasons=say_line_test(words, line.line_test),
    )


async def show_board(request: web.Request) -> web.StreamResponse:
    """All visits of a day, problems first; or one list of what is to do, over all days."""
    if "list" in request.query:
        return await _show_list(request, request.query["list"])
    now = now_of(request)
    day = parse_day(request.query.get("day", ""), today(now))
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        lines = await load_day(request, session, day, now)
        unread = await _count_unread(session)
        counts = await count_to_do(session, now)
    await _log(request, "board", lines)
    return _render(request, day, lines, unread=unread, counts=counts)


async def _show_list(request: web.Request, name: str) -> web.StreamResponse:
    now = now_of(request)
    to_do = next((one for one in ToDo if one == name), None)
    if to_do is None:
        raise InvalidInput("list", "unknown_choice")
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        lines = await load_to_do(request, session, to_do, now)
    await _log(request, "to_do", lines)
    return _render(request, today(now), lines, to_do=to_do)


async def find_bookings(request: web.Request) -> web.StreamResponse:
    """The search. It is a POST because a name or a number must not stand in an address."""
    now = now_of(request)
    form = await request.post()
    day = parse_day(str(form.get("day", "")), today(now))
    sought = str(form.get("sought", "")).strip()[:100]
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        lines = await search(request, session, sought, day, now)
    await _log(request, "search", lines)
    return _render(request, day, lines, sought=sought)


async def _log(request: web.Request, name: str, lines: Sequence[Line]) -> None:
    """Which list was opened, and how long it is; never what was searched for."""
    actor = actor_of(request)
    facts: dict[str, Fact] = {"list": name, "visits": len(lines)}
    entry = Entry(now_of(request), Act.LIST_OPENED, actor.role, actor.id, facts=facts)
    await append_alone(request.app[DATABASE], actor.organisation, entry)


async def live_states(request: web.Request) -> web.StreamResponse:
    """The lines of a day in their order, for the open board."""
    now = now_of(request)
    day = parse_day(request.query.get("day", ""), today(now))
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        lines = await load_day(request, session, day, now)
    words = request.app[PAGES].translator(request)
    return json_response({"lines": [say_line(words, line).live() for line in lines]})


def parse_day(text: str, usual: date) -> date:
    """An ISO day.

    :raises InvalidInput: it is not one.
    """
    if not text:
        return usual
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("day", "bad_date") from error
    if not date(2000, 1, 1) <= day <= date(2200, 1, 1):
        raise InvalidInput("day", "bad_date")
    return day


def _render(
    request: web.Request,
    day: date,
    lines: Sequence[Line],
    *,
    unread: int = 0,
    counts: Mapping[ToDo, int] = MappingProxyType({}),
    to_do: ToDo | None = None,
    sought: str | None = None,
) -> web.Response:
    words = request.app[PAGES].translator(request)
    is_board = sought is None and to_do is None
    return request.app[PAGES].render(
        request,
        "staff/desk.html",
        actor=actor_of(request),
        day_shown=day,
        is_today=day == today(now_of(request)),
        said=[say_line(words, line) for line in lines],
        unread=unread,
        counts=counts,
        to_do=to_do,
        line_lists=LINE_LISTS,
        sought=sought,
        page_data={"statesUrl": f"/desk/states?day={day}"} if is_board else {},
    )


async def _count_unread(session: AsyncSession) -> int:
    """How many messages from CUP wait in quarantine."""
    statement = (
        select(func.count())
        .select_from(InboxMessage)
        .where(InboxMessage.state == MessageState.QUARANTINED)
    )
    return await session.scalar(statement) or 0
