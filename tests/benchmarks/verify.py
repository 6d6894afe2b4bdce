"""What an outsider waits for: a million entries through both verifiers, each started as a command.

The export is written here line by line, entries by the platform's own code, checkpoints as many as
the exporter leaves. The floor hashes the same entries in one loop and does nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from server.audit import Act, ActorRole, Entry
from server.tlog.note import Checkpoint, Signer
from server.tlog.tree import Frontier, hash_leaf
from tests.benchmarks.report import Goal, Report, Spread, ratios

ENTRIES: Final = 1_000_000
_CHECKPOINTS: Final = 128
_ROUNDS: Final = 3
_MOST_SECONDS: Final = 30
_ROOT: Final = Path(__file__).parents[2]
_COMMANDS: Final = {
    "verify.py": (sys.executable, "-I", "-S", str(_ROOT / "server/tlog/verify.py")),
    "verify.mjs": ("node", str(_ROOT / "server/tlog/verify.mjs")),
}


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "verify", f"verify: {ENTRIES:,} entries, an export with its leaves", ("", "wall s")
    )
    path = folder / "log.zip"
    _write_export(path)
    seconds: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    floor: list[float] = []
    for _ in range(min(rounds, _ROUNDS)):
        for name, command in _COMMANDS.items():
            seconds[name].append(_time_command([*command, str(path)]))
        floor.append(_time_floor())
    report.rows = [(name, Spread(samples).text(1)) for name, samples in seconds.items()]
    report.rows.append(("SHA-256 of the entries alone", Spread(floor).text(1)))
    slower = ratios(seconds["verify.py"], floor)
    report.figures = {**seconds, "floor": floor, "slower": slower.content()}
    report.goals = [
        Goal(f"{ENTRIES:,} entries with {name}, s", max(samples), _MOST_SECONDS)
        for name, samples in seconds.items()
    ]
    megabytes = path.stat().st_size / 1e6
    report.notes = [f"{megabytes:.0f} MB; verify.py takes {slower.text(1)} times the floor."]
    return report


def _entries() -> Iterator[bytes]:
    start = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
    entry = Entry(start, Act.WAITING, ActorRole.PATIENT, "d" * 26, "v" * 26, {"n": 12345})
    before, after = entry.canonical().split("12345")
    for n in range(ENTRIES):
        at = (start + timedelta(seconds=n)).isoformat(timespec="milliseconds")
        yield f"{before}{n}{after}".replace("2026-11-26T09:40:00.000+00:00", at).encode()


def _write_export(path: Path) -> None:
    signer = Signer("visite.example.org/log/toscana", bytes(32))
    origin, frontier, notes = signer.verifier.name, Frontier(), []
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        manifest = {"format": "accanto-log-1", "kind": "log", "origin": origin}
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("log.vkey", f"{signer.verifier.text()}\n")
        leaves = []
        with archive.open("entries.jsonl", "w", force_zip64=True) as member:
            for seq, entry in enumerate(_entries()):
                member.write(b"%d %s\n" % (seq, entry))
                leaves.append(hash_leaf(entry))
                frontier.extend(leaves[-1:])
                if (seq + 1) % (ENTRIES // _CHECKPOINTS) == 0 or seq + 1 == ENTRIES:
                    notes.append(signer.sign(Checkpoint(origin, seq + 1, frontier.root())))
        archive.writestr("leaves.bin", b"".join(leaves), ZIP_STORED)
        archive.writestr("checkpoints.jsonl", "".join(f"{json.dumps(note)}\n" for note in notes))


def _time_command(command: Sequence[str]) -> float:
    start = time.perf_counter()
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds = time.perf_counter() - start
    if not told.startswith(f"OK: {ENTRIES} entries of "):
        raise RuntimeError(told)
    return seconds


def _time_floor() -> float:
    entries = list(_entries())
    start = time.perf_counter()
    for entry in entries:
        sha256(b"\0" + entry).digest()
    return time.perf_counter() - start
