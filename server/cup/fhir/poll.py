"""Asks the FHIR server of a CUP what has changed, and hands it to the inbox.

One owner task per source. The cursor is the newest ``_lastUpdated`` that is committed, with how to
go on from it: ``gt`` after a whole run, ``ge`` in the middle of one, because the next page may
start with the same instant. What comes twice changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver
from sqlalchemy import select, update
from yarl import URL

from server.cup.booking import Field, FieldError, Message
from server.cup.fhir.document import is_booking, load_document, parse_entries, read_entries
from server.cup.fhir.outward import AddressRefused, AnswerRefused, ask, connect
from server.cup.fhir.tree import Closure, Entry, Missing, Resource, index_entries, item, items, text
from server.cup.inbox.intake import Inbox
from server.cup.texts import parse_instant
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import Source
from server.sealed import open_outgoing_token
from server.services import CLOCK, DATABASE, KEYRING
from server.sources import settings_of

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 5.0
"""How often new, changed and paused sources are looked for."""
_LONGEST_WAIT_SECONDS: Final = 900.0
_PAGE_SIZE: Final = 100
_LONGEST_RUN_PAGES: Final = 1_000
_FETCHED_PER_PAGE: Final = 500
_INCLUDES: Final = ("Appointment:patient", "Appointment:actor", "Appointment:based-on")
_FURTHER_INCLUDES: Final = (
    "PractitionerRole:practitioner",
    "PractitionerRole:organization",
    "ServiceRequest:requester",
)
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T[0-9:.]{8,20}(?:Z|[+-]\d{2}:\d{2})", re.ASCII)


class PollFailed(Exception):
    """The server's answer is of no use; ``reason`` is a stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Poller:
    """Polls every source that has a poller."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        clock: Callable[[], datetime],
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._resolver = resolver
        self._inbox = Inbox(database, keyring)

    async def run_once(self, source: Source) -> int:
        """Take in what is new; returns how many appointments there were.

        :raises PollFailed: what came is of no use.
        :raises OSError: no answer, or one that is refused.
        :raises AddressRefused: no place that we may ask.
        """
        poller = settings_of(source).poller
        if poller is None:
            return 0
        async with self._database.read(source.organisation_id) as session:
            token = await open_outgoing_token(self._keyring, session, source)
        base = URL(poller.url.rstrip("/"))
        async with connect(base, token, self._resolver) as session:
            return await self._run(_Run(session, base, source, source.poll_cursor))

    async def run(self) -> None:
        """Keep a task for each source, until cancelled."""
        owners: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for source_id in await self._look():
                    owner = owners.get(source_id)
                    if owner is None or owner.done():
                        owners[source_id] = group.create_task(self._own(source_id))
                await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> list[str]:
        try:
            return [source.id for source in await self._load_sources()]
        except Exception:
            logger.exception("no sources to poll")
            return []

    async def _own(self, source_id: str) -> None:
        """Poll one source; what fails here is begun again at the next look."""
        try:
            await self._keep_polling(source_id)
        except Exception:
            logger.exception("poller stopped source=%s", source_id)

    async def _keep_polling(self, source_id: str) -> None:
        """Poll as long as the source has a poller and is not paused."""
        failures = 0
        while source := await self._find_source(source_id):
            poller = settings_of(source).poller
            if poller is None:
                return
            failures = 0 if await self._try_once(source) else failures + 1
            wait = poller.every_seconds * 2.0 ** min(failures, 8)
            await asyncio.sleep(min(wait, max(_LONGEST_WAIT_SECONDS, poller.every_seconds)))

    async def _try_once(self, source: Source) -> bool:
        try:
            await self.run_once(source)
        except (PollFailed, AddressRefused, AnswerRefused) as error:
            logger.warning("poll refused source=%s reason=%s", source.id, error.reason)
        except (OSError, TimeoutError, aiohttp.ClientError):
            logger.warning("poll without an answer source=%s", source.id)
        except Exception:
            logger.exception("poll failed source=%s", source.id)
        else:
            return True
        return False

    async def _run(self, run: _Run) -> int:
        url: URL | None = run.first_url()
        taken = 0
        for _ in range(_LONGEST_RUN_PAGES):
            if url is None:
                return taken
            page = await run.read(url)
            entries = await run.complete(_entries_of(page))
            settings, now = settings_of(run.source), self._clock()
            messages = parse_entries(entries, text(page, "timestamp"), settings, now)
            if messages:
                await self._inbox.receive(run.source, messages, now)
            taken += len(messages)
            url = run.next_url(page)
            run.advance(entries, is_last=url is None)
            await self._store_cursor(run)
        raise PollFailed("too_many_pages")

    async def _store_cursor(self, run: _Run) -> None:
        async with self._database.begin(run.source.organisation_id) as session:
            await session.execute(
                update(Source).where(Source.id == run.source.id).values(poll_cursor=run.cursor)
            )

    async def _load_sources(self) -> list[Source]:
        async with self._database.read(EVERY_ORGANISATION) as session:
            found = await session.scalars(select(Source).where(Source.is_paused.is_(False)))
            return [source for source in found if settings_of(source).poller is not None]

    async def _find_source(self, source_id: str) -> Source | None:
        sources = await self._load_sources()
        return next((source for source in sources if source.id == source_id), None)


@dataclass(slots=True)
class _Run:
    """One way through the pages, from the cursor on."""

    session: aiohttp.ClientSession
    base: URL
    source: Source
    cursor: str
    newest: str = ""
    is_sorted: bool = True

    def first_url(self) -> URL:
        query = [("_include", include) for include in _INCLUDES]
        query += [("_include:iterate", include) for include in _FURTHER_INCLUDES]
        query += [("_sort", "_lastUpdated"), ("_count", str(_PAGE_SIZE))]
        if self.cursor:
            query.append(("_lastUpdated", self.cursor))
        return (self.base / "Appointment").with_query(query)

    def next_url(self, page: Resource) -> URL | None:
        """The next page, of the same server only."""
        links = [link for link in items(page, "link") if text(link, "relation") == "next"]
        if not links:
            return None
        url = self.base.join(URL(text(links[0], "url")))
        if url.origin() != self.base.origin():
            raise PollFailed("other_origin")
        return url

    async def read(self, url: URL) -> Resource:
        status, content = await ask(self.session, "GET", url)
        if status != 200:
            raise PollFailed(f"status_{status}")
        try:
            document = load_document(content)
        except FieldError as error:
            raise PollFailed(error.reason) from error
        if document.get("resourceType") != "Bundle":
            raise PollFailed("not_a_bundle")
        return document

    async def complete(self, entries: list[Entry]) -> list[Entry]:
        """The entries with what the server has not included, as far as it gives it."""
        known, tried = list(entries), set[Missing]()
        while missing := _missing_of(known) - tried:
            for each in sorted(missing)[: _FETCHED_PER_PAGE - len(tried)]:
                status, content = await ask(self.session, "GET", self.base / each.kind / each.id)
                with suppress(FieldError):
                    known += [Entry("", load_document(content))] if status == 200 else []
            tried |= missing
            if len(tried) >= _FETCHED_PER_PAGE:
                break
        return known

    def advance(self, entries: list[Entry], *, is_last: bool) -> None:
        """Move the cursor; in the middle of a run only while the pages are in order."""
        for entry in entries:
            stamp = text(item(entry.resource, "meta"), "lastUpdated")
            if entry.resource.get("resourceType") != "Appointment" or not _INSTANT.fullmatch(stamp):
                continue
            if self.newest and _instant(stamp) < _instant(self.newest):
                self.is_sorted = False
            else:
                self.newest = stamp
        if self.newest and is_last:
            self.cursor = f"gt{self.newest}"
        elif self.newest and self.is_sorted:
            self.cursor = f"ge{self.newest}"


async def read_bookings(
    session: aiohttp.ClientSession,
    base: URL,
    source: Source,
    criteria: Sequence[tuple[str, str]],
    now: datetime,
) -> AsyncIterator[Message]:
    """The bookings that a search finds, page by page; nothing is taken in and no cursor moves.

    :raises PollFailed: what came is of no use.
    :raises OSError: no answer, or one that is refused.
    """
    run = _Run(session, base, source, "")
    url: URL | None = run.first_url().extend_query(criteria)
    settings = settings_of(source)
    for _ in range(_LONGEST_RUN_PAGES):
        if url is None:
            return
        page = await run.read(url)
        entries = await run.complete(_entries_of(page))
        for message in parse_entries(entries, text(page, "timestamp"), settings, now):
            yield message
        url = run.next_url(page)
    raise PollFailed("too_many_pages")


def _entries_of(page: Resource) -> list[Entry]:
    try:
        return read_entries(page)
    except FieldError as error:
        raise PollFailed(error.reason) from error


def _missing_of(known: list[Entry]) -> set[Missing]:
    index = index_entries(known)
    return {
        missing
        for entry in known
        if is_booking(entry.resource)
        for missing in Closure(entry, index).missing
    }


def _instant(stamp: str) -> datetime:
    try:
        return parse_instant(Field.MESSAGE, stamp)
    except FieldError as error:
        raise PollFailed("not_a_date") from error


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """Poll while the application runs."""
    owner = asyncio.create_task(Poller(app[DATABASE], app[KEYRING], app[CLOCK]).run())
    yield
    owner.cancel()
    with suppress(asyncio.CancelledError):
        await owner
