"""The command: ``python -m tests.benchmarks [NAME] [--rounds N]``."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tests.benchmarks import (
    admit,
    archive,
    audit,
    crowds,
    csvimport,
    documents,
    idle,
    mllp,
    nodes,
    note,
    page,
    recorder,
    rewrap,
    session,
    sessions,
    store,
    verify,
)
from tests.benchmarks.report import Report

Benchmark = Callable[[Path, int], Awaitable[Report]]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    "session": session.measure,
    "nodes": nodes.measure,
    "storm": crowds.measure_storm,
    "slow": crowds.measure_slow,
    "rooms": crowds.measure_rooms,
    "idle": idle.measure,
    "page": page.measure,
    "admit": admit.measure,
    "mllp": mllp.measure,
    "csvimport": csvimport.measure,
    "rewrap": rewrap.measure,
    "note": note.measure,
    "store": store.measure,
    "archive": archive.measure,
    "report": documents.measure,
    "sessions": sessions.measure,
    "audit": audit.measure,
    "recorder": recorder.measure,
    "verify": verify.measure,
}
ROUNDS: Final = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="only this one")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="samples of each target")
    options = parser.parse_args()
    _allow_many_files()
    for name in [options.name] if options.name else BENCHMARKS:
        load_before = os.getloadavg()
        with tempfile.TemporaryDirectory(prefix=f"accanto-bench-{name}-") as folder:
            report = asyncio.run(BENCHMARKS[name](Path(folder), options.rounds))
        report.load_before = load_before
        print(report.text(), flush=True)
        print(f"written to {report.write()}\n", flush=True)


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
