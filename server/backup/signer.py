"""The signer's key and memory in a backup: in the half of the keys, apart from the log they judge.

Data that are older than these keys are then noticed when a server starts on them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from server.backup.manifest import create_file, sync_file
from server.logsigner.memory import CHECKPOINTS_FILE, KEY_FILE, LEAVES_FILE, VERIFIER_FILE

SIGNER_FILES: Final = Path("files", "log-signer")
"""Where they are inside the half, wherever the setting has them."""
_IN_ORDER: Final = (KEY_FILE, VERIFIER_FILE, CHECKPOINTS_FILE, LEAVES_FILE)
"""The signer goes on meanwhile: leaf hashes are there before the checkpoint that signs them."""


def copy_signer(folder: Path, half: Path) -> None:
    """Copy every log's files into a half; before the rows, so that those are never behind."""
    for log in sorted(folder.glob("*")):
        for name in _IN_ORDER:
            if (log / name).is_file():
                _copy(log / name, half / SIGNER_FILES / log.name / name)


def put_signer_back(half: Path, paths: Iterable[str], folder: Path) -> int:
    """Copy the files out again; returns how many. A log that the signer still knows stays as it is
    there: its memory outlived the rest."""
    names = [Path(path).relative_to(SIGNER_FILES) for path in paths if is_signers(path)]
    kept = {name.parts[0] for name in names if (folder / name.parts[0]).exists()}
    brought = [name for name in names if name.parts[0] not in kept]
    for name in brought:
        _copy(half / SIGNER_FILES / name, folder / name)
    return len(brought)


def is_signers(path: str) -> bool:
    """Whether a file of the half belongs to the signer."""
    return Path(path).is_relative_to(SIGNER_FILES)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as content, create_file(target) as copy:
        shutil.copyfileobj(content, copy)
        sync_file(copy)
