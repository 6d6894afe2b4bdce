"""What the chaos checks found: one JSON line per round in ``build/chaos``, one table in the end.

A round that is written down is not played again, so a long run can be stopped and gone on with;
``FRESH=1`` begins anew. The table stands at the end of the run, and in ``build/chaos/table.md``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "build/chaos"
_HEADER: Final = ("scenario", "figure", "n", "median", "worst", "goal", "")

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    name: str
    """As in the rounds, its unit at the end."""
    words: str
    limit: float | None = None
    """What is wanted at most; None: only told."""
    is_worst_meant: bool = False
    """The goal is about every round, not about the median."""
    percent: int = 0
    """Of the rounds that the goal is about, where it is neither."""
    is_least: bool = False
    """The limit is what is wanted at least."""

    def judged(self, samples: Sequence[float]) -> float:
        if self.percent:
            ordered = sorted(samples)
            return ordered[min(len(ordered) - 1, int(len(ordered) * self.percent / 100))]
        return self.worst(samples) if self.is_worst_meant else statistics.median(samples)

    def worst(self, samples: Sequence[float]) -> float:
        return min(samples) if self.is_least else max(samples)

    def is_met(self, samples: Sequence[float]) -> bool:
        assert self.limit is not None
        found = self.judged(samples)
        return found >= self.limit if self.is_least else found <= self.limit


class Record:
    """The rounds of one scenario."""

    def __init__(self, scenario: str, figures: Sequence[Figure]) -> None:
        self.scenario = scenario
        self.figures = figures
        self._path = FOLDER / f"{scenario}.jsonl"
        if os.environ.get("FRESH") and scenario not in _begun:
            self._path.unlink(missing_ok=True)
        _begun.add(scenario)
        _records[scenario] = self

    def missing(self, rounds: int, *, times: int = 1) -> Iterator[int]:
        """The numbers of the rounds to be played yet.

        ``ROUNDS`` says how many there are in all; each has ``times`` samples.
        """
        wanted = int(os.environ.get("ROUNDS", rounds)) * times
        return iter(range(len(self.load()), wanted))

    def load(self) -> list[Figures]:
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["figures"] for line in lines]

    def add(self, figures: Figures, **facts: object) -> None:
        """Write a round down, and say it."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        line = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "load": round(os.getloadavg()[0], 1),
            "figures": {name: round(value, 4) for name, value in figures.items()},
            **facts,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"  {self.scenario}: {told}", flush=True)

    def rows(self) -> Iterator[Sequence[str]]:
        rounds = self.load()
        for figure in self.figures:
            samples = [one[figure.name] for one in rounds if figure.name in one]
            if not samples:
                continue
            goal = verdict = ""
            if figure.limit is not None:
                goal = f"{_KINDS[figure.is_least]} {figure.limit:g} ({_meaning(figure)})"
                verdict = "met" if figure.is_met(samples) else "MISSED"
            middle, worst = statistics.median(samples), figure.worst(samples)
            yield (self.scenario, figure.words, str(len(samples)), f"{middle:.4g}", f"{worst:.4g}",
                   goal, verdict)  # fmt: skip


_begun: set[str] = set()
_records: dict[str, Record] = {}
_KINDS: Final = {False: "≤", True: "≥"}


def _meaning(figure: Figure) -> str:
    if figure.percent:
        return f"p{figure.percent}"
    return "worst" if figure.is_worst_meant else "median"


def table() -> str:
    """What was found by the scenarios of this run, as Markdown; empty when none was played."""
    rows = [row for record in _records.values() for row in record.rows()]
    if not rows:
        return ""
    return "\n".join(f"| {' | '.join(row)} |" for row in [_HEADER, ["---"] * len(_HEADER), *rows])


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return told.stdout.strip()
