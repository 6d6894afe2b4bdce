"""CUP's own list of bookings, to be compared with ours: out of a file, or asked of its server.

Asked every night for the sources that are polled: from the day before on, as far as CUP books.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver
from sqlalchemy import exists, select
from yarl import URL

from server.cup.booking import FileRejected, Message
from server.cup.csvfile.mapping import parse_csv
from server.cup.fhir.document import FILE_BYTES, parse_fhir
from server.cup.fhir.outward import connect
from server.cup.fhir.poll import PollFailed, read_bookings
from server.cup.reconcile import Reconciled, reconcile
from server.cup.texts import ROME
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring
from server.models import Reconciliation, Source
from server.sealed import open_outgoing_token
from server.services import CLOCK, DATABASE, KEYRING
from server.sources import SourceSettings, settings_of

logger = logging.getLogger(__name__)

_NIGHTLY_AT: Final = time(2, 30)
"""In Europe/Rome; on the night that has no half past two, at half past three."""
_LOOK_BACK: Final = timedelta(days=1)
_LONGEST_SLEEP: Final = timedelta(minutes=5)
"""So that a clock that is set meanwhile is noticed."""
_ROWS_AT_ONCE: Final = 200
_JSON_STARTS: Final = (b"{", b"[")


async def read_file(path: Path, settings: SourceSettings, now: datetime) -> AsyncIterator[Message]:
    """The bookings of a FHIR or CSV file, told apart by content.

    :raises FileRejected: the file as a whole cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileRejected(f"Cannot read {path}: {error.strerror}") from error
    with file:
        messages = _parse(file, settings, now)
        while batch := await asyncio.to_thread(_take, messages):
            for message in batch:
                yield message


def _parse(file: BinaryIO, settings: SourceSettings, now: datetime) -> Iterator[Message]:
    start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    if not start.startswith(_JSON_STARTS):
        return parse_csv(file, settings, now)
    return iter(parse_fhir(file.read(FILE_BYTES + 1), settings, now))


def _take(messages: Iterator[Message]) -> list[Message]:
    return list(islice(messages, _ROWS_AT_ONCE))


async def read_url(
    database: Database,
    keyring: Keyring,
    source: Source,
    address: str,
    now: datetime,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[Message]:
    """The bookings of a FHIR server: ``address`` is its base, or a search of ``Appointment``.

    Without a search it is asked for what begins from yesterday on. The token that CUP gave us goes
    to the server of the source only.

    :raises CommandFailed: it gives no list that can be read.
    """
    url = URL(address.rstrip("/"))
    base = url.with_query(None)
    if base.name == "Appointment":
        base = base.parent
    criteria = list(url.query.items()) or [("date", f"ge{_first_day(now)}")]
    poller = settings_of(source).poller
    token = ""
    if poller is not None and URL(poller.url).origin() == base.origin():
        async with database.read(source.organisation_id) as session:
            token = await open_outgoing_token(keyring, session, source)
    try:
        async with connect(base, token, resolver) as connection:
            async for message in read_bookings(connection, base, source, criteria, now):
                yield message
    except PollFailed as error:
        raise CommandFailed(f"The list of CUP is of no use: {error.reason}") from error
    except (OSError, TimeoutError, aiohttp.ClientError) as error:
        raise CommandFailed(f"The server of CUP does not answer: {error}") from error


def next_night(now: datetime) -> datetime:
    """When the next nightly comparison begins, after ``now``."""
    local = now.astimezone(ROME)
    for days in (0, 1):
        night = datetime.combine(local.date() + timedelta(days=days), _NIGHTLY_AT, tzinfo=ROME)
        if night.astimezone(UTC) > now:
            break
    return night.astimezone(UTC)


class Nightly:
    """Compares every source that is polled, once a night, whichever server is first."""

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

    async def run(self) -> None:
        """Wait for each night, until cancelled."""
        night = next_night(self._clock())
        while True:
            rest = night - self._clock()
            await asyncio.sleep(min(rest, _LONGEST_SLEEP).total_seconds())
            if self._clock() < night:
                continue
            try:
                await self.run_once(night)
            except Exception:
                logger.exception("reconciliation: the sources cannot be read")
            night = next_night(self._clock())

    async def run_once(self, night: datetime) -> list[Reconciled]:
        """Compare what has not been compared since the night began."""
        is_done = exists().where(
            Reconciliation.source_id == Source.id, Reconciliation.compared_at >= night
        )
        wanted = select(Source).where(Source.is_paused.is_(False)).where(~is_done)
        async with self._database.read(EVERY_ORGANISATION) as session:
            sources = (await session.scalars(wanted.order_by(Source.id))).all()
        return [found for source in sources if (found := await self._compare(source)) is not None]

    async def _compare(self, source: Source) -> Reconciled | None:
        poller = settings_of(source).poller
        if poller is None:
            return None
        now = self._clock()
        messages = read_url(self._database, self._keyring, source, poller.url, now, self._resolver)
        try:
            found = await reconcile(self._database, self._keyring, source, messages, now)
        except CommandFailed as error:
            logger.warning("reconciliation of source %s: %s", source.id, error)
            return None
        except Exception:
            logger.exception("reconciliation of source %s failed", source.id)
            return None
        logger.info("source %s: %d differences", source.id, len(found.differences))
        return found


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """Compare every night while the application runs."""
    nightly = Nightly(app[DATABASE], app[KEYRING], app[CLOCK])
    runner = asyncio.create_task(nightly.run())
    yield
    runner.cancel()
    with suppress(asyncio.CancelledError):
        await runner


def _first_day(now: datetime) -> str:
    return f"{(now - _LOOK_BACK).astimezone(ROME):%Y-%m-%d}"
