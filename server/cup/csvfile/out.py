"""Events for CUP as CSV files in a folder that the booking centre collects.

One file an event, named after it: a repeat puts the same file in the same place, so a file is
there once however often it is sent, and whole or not at all. It names the booking, no person.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from server.cup.outbox.outgoing import OutgoingEvent, Verdict
from server.cup.texts import ROME
from server.models import EventKind, Outcome
from server.sources import Outgoing

COLUMNS: Final = (
    "codice_prenotazione",
    "evento",
    "esito",
    "motivo",
    "inizio",
    "fine",
    "id_evento",
)
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_KINDS: Final = {
    EventKind.CONFIRMED: "confermata",
    EventKind.CANCEL_ASKED: "disdetta_richiesta",
    EventKind.CHECKED_IN: "accettata",
    EventKind.BEGUN: "iniziata",
    EventKind.ENDED: "conclusa",
    EventKind.REBOOKING_ASKED: "nuovo_appuntamento_richiesto",
    EventKind.RECTIFIED: "dati_corretti",
}
_OUTCOMES: Final = {
    Outcome.COMPLETED: "erogata",
    Outcome.CONVERTED_TO_IN_PERSON: "da_erogare_in_presenza",
    Outcome.TECHNICAL_FAILURE: "non_erogata_per_la_struttura",
    Outcome.NO_SHOW_CLINICIAN: "non_erogata_per_la_struttura",
    Outcome.NO_SHOW_PATIENT: "assente",
}
"""Only the last one is the patient's: what failed here never makes somebody absent (WL-04)."""


@dataclass(frozen=True, slots=True)
class CsvFolder:
    """The sender; folders with a relative path are made inside ``data_folder``."""

    data_folder: Path

    async def send(self, event: OutgoingEvent, outgoing: Outgoing, token: str) -> Verdict:
        """Write the file of one event.

        :raises OSError: the folder is away or full; the event is written later.
        """
        folder = self.data_folder / outgoing.address
        if not Path(outgoing.address).is_absolute():
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        path = folder / f"accanto-{event.number:010}-{event.control_id}.csv"
        await asyncio.to_thread(_write, path, render(event, outgoing).encode())
        return Verdict.DELIVERED


def render(event: OutgoingEvent, outgoing: Outgoing) -> str:
    """The file of one event. ``inizio`` and ``fine`` are when the visit really was."""
    outcome = str(event.facts.get("outcome", ""))
    reason = str(event.facts.get("reason") or event.facts.get("fields", ""))
    usual = _OUTCOMES[Outcome(outcome)] if outcome else ""
    row = (
        event.booking_code,
        _KINDS[event.kind],
        outgoing.words.get(outcome, usual),
        outgoing.words.get(reason, reason),
        _local_time(event.facts.get("began_at")),
        _local_time(event.facts.get("ended_at")),
        event.control_id,
    )
    return write_rows((COLUMNS, row))


def write_rows(rows: Iterable[Iterable[str]]) -> str:
    """CSV that a spreadsheet opens without running anything in it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerows([_quote_formula(cell) for cell in row] for row in rows)
    return text.getvalue()


def _quote_formula(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _local_time(moment: str | int | bool | None) -> str:
    if not moment:
        return ""
    return datetime.fromisoformat(str(moment)).astimezone(ROME).isoformat(timespec="seconds")


def _write(path: Path, content: bytes) -> None:
    """Whoever collects the files sees the whole file or none, after a power cut too."""
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
