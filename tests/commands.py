"""``accanto`` for tests, without the second in which each command loads its modules.

One process per test process has loaded them (:mod:`multiprocessing`'s fork server); each command
is a fork of it, with an environment, arguments, files and a status of its own. Long commands, and
those that are about the script itself, are started by :data:`ACCANTO`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Final

ACCANTO: Final = Path(sys.executable).with_name("accanto")
_INPUT, _OUTPUT, _ERRORS = "in", "out", "err"
_MODULES: Final = Path(__file__).parents[1] / "server" / "cli"
_context = get_context("forkserver")
_context.set_forkserver_preload(
    [f"server.cli.{path.stem}" for path in _MODULES.glob("[a-z]*.py")] + ["server.app", "uvloop"]
)


def clean_environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACCANTO_")}
    return kept | extra


def run_accanto(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    stdin: str = "",
    is_merged: bool = False,
    timeout_seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """One command, to its end. ``is_merged``: errors are in the output, where they were said.

    :raises subprocess.TimeoutExpired: it was killed.
    """
    words = [str(ACCANTO), *map(str, arguments)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / _INPUT).write_text(stdin)
        files = [folder / _INPUT, folder / _OUTPUT, folder / (_OUTPUT if is_merged else _ERRORS)]
        process = _context.Process(target=_become, args=(files, words, dict(environment)))
        process.start()
        process.join(timeout_seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout_seconds)
        status = process.exitcode
        process.close()
        output, errors = (file.read_text() for file in files[1:])
    return subprocess.CompletedProcess(words, status, output, "" if is_merged else errors)


def _become(files: list[Path], words: list[str], environment: dict[str, str]) -> None:
    """Be the command, in the fork."""
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(files):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.argv = words

    from server.cli import main

    main()
