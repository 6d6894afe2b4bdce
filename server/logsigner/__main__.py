"""The signer's process: JSON lines in, JSON lines out. ``python -m server.logsigner FOLDER``.

- ``{"op": "head", "log": ID, "origin": NAME}`` → ``{"size": N, "root": BASE64, "note": TEXT or
  null}``: the last checkpoint; the origin names a new log
- ``{"op": "grow", "log": ID, "after": N, "leaves": BASE64}`` → ``{"size": M}``: leaf hashes that
  follow those of the last checkpoint, kept until they are signed;
- ``{"op": "sign", "log": ID, "root": BASE64}`` → ``{"note": TEXT}``: the caller's root must be the
  one that the signer has computed itself.

``{"refused": WORD, "size": N}`` says what was wrong: ``rollback`` (fewer entries than signed),
``fork`` (another root), ``gap``, ``moved`` (another signer process was faster), ``broken``.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, TextIO

from server.logsigner.memory import Memory, MemoryBroken
from server.tlog.tree import EMPTY_ROOT, Frontier, split_hashes


class _Growth:
    """Leaves that were shown since the last checkpoint."""

    def __init__(self, frontier: Frontier) -> None:
        self.base = frontier.size
        self.frontier = frontier
        self.leaves = bytearray()


class LogSigner:
    """Answers requests; one folder for each log inside ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._growths: dict[str, _Growth] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One answer; a request that cannot be granted gets ``refused``."""
        memory = Memory(self._folder / request["log"])
        with memory.locked(request.get("origin", "")):
            try:
                match request["op"]:
                    case "head":
                        return self._head(memory)
                    case "grow":
                        return self._grow(memory, request)
                    case "sign":
                        return self._sign(memory, request)
                    case other:
                        raise ValueError(other)
            except MemoryBroken:
                return {"refused": "broken", "size": 0}

    def _head(self, memory: Memory) -> dict[str, Any]:
        self._growths.pop(memory.folder.name, None)
        last = memory.load_last()
        if last is None:
            return {"size": 0, "root": b64encode(EMPTY_ROOT).decode(), "note": None}
        root = b64encode(last.root).decode()
        return {"size": last.size, "root": root, "note": memory.load_last_note()}

    def _grow(self, memory: Memory, request: dict[str, Any]) -> dict[str, Any]:
        growth = self._growths.get(memory.folder.name)
        if growth is None:
            growth = _Growth(memory.load_frontier())
        size, after = growth.frontier.size, request["after"]
        if after != size:
            word = "rollback" if after < size else "gap"
            return {"refused": word, "size": size}
        packed = b64decode(request["leaves"])
        growth.frontier.extend(split_hashes(packed))
        growth.leaves += packed
        self._growths[memory.folder.name] = growth
        return {"size": growth.frontier.size}

    def _sign(self, memory: Memory, request: dict[str, Any]) -> dict[str, Any]:
        growth = self._growths.pop(memory.folder.name, None)
        last = memory.load_last()
        signed = last.size if last else 0
        if growth is None or growth.base != signed:
            return {"refused": "moved", "size": signed}
        if b64encode(growth.frontier.root()).decode() != request["root"]:
            return {"refused": "fork", "size": signed}
        return {"note": memory.keep(signed, bytes(growth.leaves), growth.frontier)}


def main(folder: Path, requests: TextIO, answers: TextIO) -> None:
    signer = LogSigner(folder)
    for line in requests:
        answers.write(json.dumps(signer.answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin, sys.stdout)
