"""The verifier in Node, kept running: one process answers many questions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_suffix(".mjs")


class NodeVerifier:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: str, **question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"what": what, **question}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the verifier in Node has ended"
        return json.loads(answer)

    def verify(self, path: Path, checkpoint: Path | None = None, key: str | None = None) -> str:
        older = None if checkpoint is None else str(checkpoint)
        return str(self.ask("verify", path=str(path), checkpoint=older, key=key))


@contextmanager
def running_node() -> Iterator[NodeVerifier]:
    with subprocess.Popen(
        ["node", str(_SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield NodeVerifier(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
