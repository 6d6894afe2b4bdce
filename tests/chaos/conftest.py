"""Says in the end what the chaos checks found."""

from __future__ import annotations

import pytest

from tests.chaos.record import FOLDER, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    words = table()
    if not words:
        return
    terminalreporter.write_line(f"\n{words}\n")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "table.md").write_text(words + "\n", encoding="utf-8")
