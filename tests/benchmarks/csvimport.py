"""What a hundred thousand bookings in one CSV file cost: time row by row, and memory.

``accanto cup import`` in a process of its own, on a fresh SQLite; from outside its resident memory
is read and the rows are counted. Every row is a new booking of a new patient. One run: the rounds
of the command do not apply.
"""

from __future__ import annotations

import asyncio
import csv
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import psutil
from codicefiscale import codicefiscale

from server.admin import add_organisation, add_user
from server.db import EVERY_ORGANISATION, Database
from server.keyring import load_keyring
from server.migrations import migrate
from server.models import Organisation, Phase, User, UserRole
from server.settings import load_settings, save_settings
from tests.benchmarks.report import ROOT, Goal, Report

ROWS: Final = 100_000
MARKS: Final = (25_000, 50_000, 75_000, 100_000)
_CLINICIANS: Final = 40
_LOOK_SECONDS: Final = 0.05
_MEBIBYTE: Final = 1024 * 1024
_COLUMNS: Final = (
    "codice_prenotazione", "nre", "data", "ora", "durata_minuti", "cognome", "nome",
    "codice_fiscale", "telefono", "email", "codice_medico", "codice_ambulatorio", "ambulatorio",
    "codice_prestazione", "prestazione", "priorità", "quesito",
)  # fmt: skip


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "csvimport",
        f"csvimport: {ROWS:,} bookings in one file, one run",
        ("rows", "seconds", "rows / s since the last mark", "highest RSS, MiB"),
    )
    data_dir, path = folder / "data", folder / "bookings.csv"
    await _make_ground(data_dir)
    _write_file(path)
    seconds, rss = await _import(data_dir, path, folder / "import.log")
    before, since = 0.0, 0
    for mark in MARKS:
        speed = (mark - since) / (seconds[mark] - before)
        report.rows.append(
            (f"{mark:,}", f"{seconds[mark]:.1f}", f"{speed:.0f}", f"{rss[mark]:.0f}")
        )
        before, since = seconds[mark], mark
    half = seconds[ROWS // 2]
    report.figures = {"seconds": seconds, "rss_mebibytes": rss, "bytes": path.stat().st_size}
    report.goals = [
        Goal("highest resident memory, MiB", max(rss.values()), 300),
        Goal("second half of the rows ÷ first half, time", (seconds[ROWS] - half) / half, 1.25),
    ]
    return report


async def _make_ground(data_dir: Path) -> None:
    data_dir.mkdir()
    keyring = load_keyring(data_dir, create=True)
    save_settings(data_dir, {})
    database = Database(load_settings(data_dir).database)
    await migrate(database)
    async with database.begin(EVERY_ORGANISATION) as session:
        organisation = Organisation(
            code="ausl-prova",
            name="Azienda USL di Prova",
            desk_phone="055 123 4567",
            phase=Phase.ATTIVO,
        )
        await add_organisation(session, keyring, organisation)
        for number in range(_CLINICIANS):
            clinician = User(
                organisation_id=organisation.id,
                username=f"medico.{number}",
                password_hash="!",
                role=UserRole.CLINICIAN,
                given_name="Anna",
                family_name="Bianchi",
                code=f"MED-{number}",
            )
            await add_user(session, clinician)
    await database.close()


def _write_file(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(_COLUMNS)
        for number in range(1, ROWS + 1):
            letters = "".join(chr(65 + number // 26**place % 26) for place in range(6))
            code = f"{letters}48C52D612"
            writer.writerow((
                f"CSV-{number:06}", f"090A0{number:010}", "01/12/2027",
                f"{8 + number % 10:02}:{number % 2 * 30:02}", 30, f"Cognome{number}", "Rosa",
                code + codicefiscale.encode_cin(code + "A"), "+390551234567",
                f"paziente{number}@example.it", f"MED-{number % _CLINICIANS}",
                f"CARD-{number % 12:02}", f"Cardiologia {number % 12}", "89.01.3",
                "VISITA CARDIOLOGICA DI CONTROLLO", "B", "Controllo dello scompenso cardiaco",
            ))  # fmt: skip


async def _import(
    data_dir: Path, path: Path, log: Path
) -> tuple[dict[int, float], dict[int, float]]:
    """Seconds and highest memory so far at each mark."""
    command = (
        str(Path(sys.executable).parent / "accanto"), "cup", "import", str(path),
        "--data", str(data_dir),
    )  # fmt: skip
    seconds: dict[int, float] = {}
    rss: dict[int, float] = {}
    started, highest = time.perf_counter(), 0.0
    with log.open("wb") as sink, closing(_open(load_settings(data_dir).sqlite_file)) as rows:
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=sink, stderr=sink)
        watched = psutil.Process(process.pid)
        while process.returncode is None:
            await asyncio.sleep(_LOOK_SECONDS)
            if process.returncode is None:
                highest = max(highest, watched.memory_info().rss / _MEBIBYTE)
            (count,) = rows.execute("SELECT COALESCE(MAX(rowid), 0) FROM appointment").fetchone()
            for mark in MARKS:
                if count >= mark and mark not in seconds:
                    seconds[mark] = time.perf_counter() - started
                    rss[mark] = highest
    if process.returncode != 0 or ROWS not in seconds:
        raise RuntimeError(f"the import failed: {log.read_text(errors='replace')[-2000:]}")
    return seconds, rss


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)
