"""Says before what the chaos checks need, and in the end what they found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.chaos.firefox import require_firefox
from tests.chaos.record import FOLDER, table


def pytest_collection_finish(session: pytest.Session) -> None:
    """A long run must not end at its last check; one check alone says what it needs itself."""
    if session.config.getoption("keyword") or session.config.getoption("collectonly"):
        return
    missing = list(_missing())
    if missing:
        pytest.exit(f"The chaos checks need {', '.join(missing)}", returncode=1)


def _missing() -> Iterator[str]:
    if os.geteuid() != 0:
        yield "root"
    for program, package in (
        ("ip", "iproute2"),
        ("turnserver", "coturn"),
        ("softhsm2-util", "softhsm2"),
        ("nginx", "nginx-light"),
        ("haproxy", "haproxy"),
        ("caddy", "caddy"),
        ("ffprobe", "ffmpeg"),
    ):
        if shutil.which(program) is None:
            yield package
    try:
        require_firefox()
    except RuntimeError:
        yield "firefox-esr and nodejs"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    words = table()
    if not words:
        return
    terminalreporter.write_line(f"\n{words}\n")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "table.md").write_text(words + "\n", encoding="utf-8")
