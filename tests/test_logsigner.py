"""The signer: what it refuses, also after its own end, and what is left when it is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from server.logsigner.__main__ import LogSigner
from server.logsigner.client import Refusal, SignerProcess
from server.logsigner.memory import CHECKPOINTS_FILE, LEAVES_FILE, Memory
from server.tlog.note import open_note
from server.tlog.tree import HASH_BYTES, hash_leaf, root_of, split_hashes

ORIGIN = "visite.example.org/log/toscana"


def make_leaves(start: int, end: int, word: str = "entry") -> list[bytes]:
    return [hash_leaf(f"{word} {number}".encode()) for number in range(start, end)]


LEAVES = make_leaves(0, 700)
"""Of the true log; the signer has seen the first 300."""
SIGNED = 300


def request(op: str, **values: Any) -> dict[str, Any]:
    return {"op": op, "log": "toscana", "origin": ORIGIN, **values}


def ask_to_sign(signer: LogSigner, after: int, leaves: list[bytes]) -> dict[str, Any]:
    """Show all leaves from ``after`` on and ask for the signature."""
    signer.answer(request("head"))
    grown = signer.answer(
        request("grow", after=after, leaves=b64encode(b"".join(leaves[after:])).decode())
    )
    if "refused" in grown:
        return grown
    return signer.answer(request("sign", root=b64encode(root_of(leaves)).decode()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A signer that has signed twice."""
    signer = LogSigner(tmp_path / "signer")
    for size in (100, SIGNED):
        assert "note" in ask_to_sign(signer, 0 if size == 100 else 100, LEAVES[:size])
    return tmp_path / "signer"


def check(folder: Path) -> int:
    """Whether all that was signed is one history; returns its size."""
    memory = Memory(folder / "toscana")
    verifier = memory.load_verifier()
    assert verifier is not None
    kept = split_hashes((memory.folder / LEAVES_FILE).read_bytes())
    notes = [open_note(note, verifier) for note in memory.load_notes()]
    assert [note.size for note in notes[:2]] == [100, SIGNED]
    assert [note.size for note in notes] == sorted({note.size for note in notes})
    assert [note.root for note in notes] == [root_of(kept[: note.size]) for note in notes]
    assert memory.load_frontier().root() == notes[-1].root
    return notes[-1].size


@pytest.mark.parametrize("is_new", [False, True])
def test_other_history_is_refused(folder: Path, is_new: bool) -> None:
    """By the one that signed, and by one that was started since."""
    signer = LogSigner(folder)
    if not is_new:
        assert "note" in ask_to_sign(signer, SIGNED, LEAVES[:301])
    size = 300 if is_new else 301
    other = [*make_leaves(0, size, "other"), *LEAVES[size:400]]

    shorter = ask_to_sign(signer, 200, LEAVES[:250])
    forged = ask_to_sign(signer, size, other)
    gap = ask_to_sign(signer, size + 9, LEAVES)

    assert shorter == {"refused": "rollback", "size": size}
    assert forged == {"refused": "fork", "size": size}
    assert gap == {"refused": "gap", "size": size}
    assert check(folder) == size


def test_second_signer_that_was_slower_is_refused(folder: Path) -> None:
    slow, fast = LogSigner(folder), LogSigner(folder)
    shown = b64encode(b"".join(make_leaves(SIGNED, 400, "slow"))).decode()
    slow.answer(request("grow", after=SIGNED, leaves=shown))
    assert "note" in ask_to_sign(fast, SIGNED, LEAVES[:400])

    root = b64encode(root_of([*LEAVES[:SIGNED], *make_leaves(SIGNED, 400, "slow")])).decode()

    assert slow.answer(request("sign", root=root)) == {"refused": "moved", "size": 400}
    assert check(folder) == 400


@pytest.mark.parametrize("file", [LEAVES_FILE, CHECKPOINTS_FILE])
def test_signer_whose_files_were_altered_signs_nothing(folder: Path, file: str) -> None:
    path = folder / "toscana" / file
    if file == LEAVES_FILE:
        content = bytearray(path.read_bytes())
        content[5 * HASH_BYTES] ^= 1
        path.write_bytes(content)
        (folder / "toscana" / "frontier").unlink()
    else:
        path.write_text(path.read_text().replace("\\n300\\n", "\\n200\\n"))

    signer = LogSigner(folder)
    shown = b64encode(b"".join(LEAVES[SIGNED:])).decode()
    assert signer.answer(request("grow", after=SIGNED, leaves=shown))["refused"] == "broken"


async def test_killed_process_is_started_again_and_has_forgotten_nothing(folder: Path) -> None:
    signer = SignerProcess(folder)
    head = await signer.ask(**request("head"))
    assert signer._process is not None
    signer._process.kill()
    await signer._process.wait()

    assert await signer.ask(**request("head")) == head
    with pytest.raises(Refusal, match="rollback at 300"):
        await signer.ask(**request("grow", after=0, leaves=b64encode(LEAVES[0]).decode()))
    await signer.stop()


def die_at(step: int) -> Callable[..., Any]:
    """A tracer that kills its own process, as by kill -9, before the line of that number."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith("logsigner/memory.py"):
            return None
        if event == "line":
            count += 1
            if count > step:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def sign_and_die(folder: Path, step: int) -> bool:
    """Sign 300 more in a child that is killed at a step; whether it was, or came to the end."""
    child = os.fork()
    if child == 0:
        try:
            signer = LogSigner(folder)
            sys.settrace(die_at(step))
            ask_to_sign(signer, SIGNED, LEAVES[:600])
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def check_kills(folder: Path, every: int) -> int:
    """Kill at each of so many lines between and inside its writes; returns how many there were.
    Then another history is tried, and the true one must go on."""
    step = 0
    while True:
        copy = Path(shutil.copytree(folder, folder.with_name("killed")))
        was_killed = sign_and_die(copy, step)
        signed = check(copy)
        assert signed in {SIGNED, 600}
        other = [*LEAVES[:SIGNED], *make_leaves(SIGNED, 600, "other")]
        forged = ask_to_sign(LogSigner(copy), SIGNED, other)
        assert ("refused" in forged) == (signed == 600)
        if signed == 600:
            assert "note" in ask_to_sign(LogSigner(copy), 600, LEAVES)
            assert check(copy) == 700
        shutil.rmtree(copy)
        if not was_killed:
            assert signed == 600
            return step
        step += every


def test_signer_that_is_killed_at_its_writes_has_signed_one_history(folder: Path) -> None:
    assert check_kills(folder, every=5) > 50
