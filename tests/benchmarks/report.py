"""What a benchmark says in the end: a table for people and a JSON file for comparing runs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "build"
_PACKAGES: Final = ("aiohttp", "uvloop", "msgspec", "sqlalchemy", "picows", "hl7", "playwright")


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, quartiles and ends of some samples."""

    samples: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.samples) < 2:
            return self.samples[0], self.samples[0]
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return low, high

    def text(self, digits: int = 2) -> str:
        """``median [first quartile-third quartile]``"""
        low, high = self.quartiles
        return f"{self.median:.{digits}f} [{low:.{digits}f}-{high:.{digits}f}]"

    def content(self) -> dict[str, object]:
        low, high = self.quartiles
        return {
            "median": self.median,
            "quartiles": [low, high],
            "min": min(self.samples),
            "max": max(self.samples),
            "samples": list(self.samples),
        }


def ratios(samples: Sequence[float], anchors: Sequence[float]) -> Spread:
    """Round by round, so that what slowed the machine in a round slows both sides of it."""
    return Spread([one / other for one, other in zip(samples, anchors, strict=True)])


def percentile(samples: Sequence[float], percent: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the issue: what was wanted and what was found."""

    words: str
    found: float
    limit: float

    @property
    def is_met(self) -> bool:
        return self.found <= self.limit


@dataclass(slots=True)
class Report:
    """The result of one benchmark."""

    name: str
    title: str
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    load_before: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def text(self) -> str:
        """The table as Markdown, with the machine above and the goals below."""
        lines = [f"## {self.title}", "", _machine_line(self.load_before), ""]
        lines += [_row(self.header), _row(["---"] * len(self.header))]
        lines += [_row(row) for row in self.rows]
        lines += [""]
        lines += [
            f"- {'met' if goal.is_met else 'MISSED'}: {goal.words}: "
            f"{goal.found:.2f}, wanted at most {goal.limit:g}"
            for goal in self.goals
        ]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines)

    def write(self) -> Path:
        """Write ``build/bench-<name>.json``."""
        BUILD.mkdir(exist_ok=True)
        path = BUILD / f"bench-{self.name}.json"
        content = {
            "name": self.name,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": _machine(),
            "load_before": self.load_before,
            "load_after": os.getloadavg(),
            "header": self.header,
            "rows": self.rows,
            "goals": [
                {"words": goal.words, "found": goal.found, "limit": goal.limit, "met": goal.is_met}
                for goal in self.goals
            ],
            "notes": self.notes,
            "figures": self.figures,
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path.relative_to(ROOT)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _machine() -> dict[str, str]:
    peer = json.loads((ROOT / "node_modules/peer/package.json").read_text(encoding="utf-8"))
    return {
        "python": platform.python_version(),
        "node": _output("node", "--version").removeprefix("v"),
        "peer": peer["version"],
        "system": f"{platform.system()} {platform.release()}",
        "cores": str(os.cpu_count()),
        **{name: version(name) for name in _PACKAGES},
    }


def _machine_line(load_before: tuple[float, float, float]) -> str:
    now = os.getloadavg()
    loads = f"load average {load_before[0]:.2f} before, {now[0]:.2f} after"
    return ", ".join([*(f"{name} {value}" for name, value in _machine().items()), loads])


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
