"""The pages of a note without a browser: their real model, in node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_HOST: Final = Path(__file__).parent / "js" / "note-tabs.mjs"


class Pages:
    """The node process with the models of all pages."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, act: str, tab: int = -1, **more: object) -> Any:
        """The answer to one act, and the state of that page after it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"act": act, "tab": tab, **more}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the pages have died"
        return json.loads(line)


@contextmanager
def open_pages() -> Iterator[Pages]:
    with subprocess.Popen(
        ["node", str(_HOST)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Pages(process)
