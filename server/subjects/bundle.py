"""The copy as a zip: ``leggimi.html`` to read, ``dati.json`` for machines, and every file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.store import SealedFolder, SealedStore
from server.audit import Act, ActorRole, Entry, append
from server.db import Database
from server.errors import CommandFailed
from server.i18n import DEFAULT_LANGUAGE
from server.keyring import Keyring
from server.models import Organisation, Patient, PatientIdentifier
from server.pages import Pages
from server.sealed import open_identity
from server.subjects.content import PersonCopy, VisitCopy
from server.subjects.gathering import VisitGatherer, load_visits
from server.subjects.pages import stamp
from server.subjects.recorded import RecordingGatherer
from server.terms import load_terms

FORMAT: Final = "accanto-person-1"
PAGE_NAME: Final = "leggimi.html"
DATA_NAME: Final = "dati.json"


class CopyWriter:
    """Writes copies for one installation."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        store: SealedFolder,
        recordings: SealedStore,
        pages: Pages,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._store = store
        self._recordings = recordings
        self._pages = pages

    async def write(self, patient: Patient, path: Path, now: datetime) -> PersonCopy:
        """Write the zip, readable by its owner only. It appears under its name when the session
        log has kept that it was made.

        :raises CommandFailed: there is a file of this name.
        :raises SealBroken: a record was altered.
        """
        with _appearing(path) as partial:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
                async with self._database.read(patient.organisation_id) as session:
                    copy = await self._gather(session, patient, archive, now)
                content = msgspec.json.format(msgspec.json.encode(copy), indent=2)
                archive.writestr(DATA_NAME, content)
                archive.writestr(PAGE_NAME, self._write_page(copy))
            await self._note(patient, copy, now)
        return copy

    async def _gather(
        self, session: AsyncSession, patient: Patient, archive: zipfile.ZipFile, now: datetime
    ) -> PersonCopy:
        body = await session.get_one(Organisation, patient.organisation_id)
        recorded = RecordingGatherer(self._keyring, session, self._recordings, archive)
        visits: list[VisitCopy] = []
        for number, visit in enumerate(await load_visits(session, patient), 1):
            folder = f"visita-{number}"
            gatherer = VisitGatherer(
                self._keyring, session, self._store, visit, folder, archive.writestr
            )
            copy = await gatherer.gather()
            recordings = await recorded.gather(visit, folder)
            visits.append(msgspec.structs.replace(copy, recordings=recordings))
        numbers = select(func.count()).where(PatientIdentifier.patient_id == patient.id)
        return PersonCopy(
            format=FORMAT,
            made_at=now,
            organisation=body.name,
            organisation_phone=body.desk_phone,
            identity=await open_identity(self._keyring, session, patient),
            has_known_numbers=await session.scalar(numbers) or 0,
            terms={kept.value: days for kept, days in (await load_terms(session, body.id)).items()},
            visits=visits,
        )

    def _write_page(self, copy: PersonCopy) -> str:
        language = copy.identity.language or DEFAULT_LANGUAGE
        words = self._pages.translators[language]
        return self._pages.write(words, "subjects/copy.html", copy=copy, stamp=stamp)

    async def _note(self, patient: Patient, copy: PersonCopy, now: datetime) -> None:
        """One line for each visit, so that the patient sees it among who opened her data."""
        about = f"patient:{patient.id}"
        visits: list[str | None] = [visit.id for visit in copy.visits]
        entries = [
            Entry(
                now, Act.PATIENT_EXPORTED, ActorRole.SYSTEM, visit=visit, object=about,
                reason="request",
            )
            for visit in visits or [None]
        ]  # fmt: skip
        async with self._database.begin(patient.organisation_id) as session:
            await append(session, patient.organisation_id, *entries)


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A file beside the wanted one, which becomes it at the end, or goes."""
    if path.exists():
        raise CommandFailed(f"{path} is there already")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield partial
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
