"""Exports of the session log before both verifiers, the one in Python and the one in Node."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.tlog import verify as verifier
from server.tlog.tree import hash_leaf, prove_consistency, prove_inclusion, root_of
from tests.logattacks import ATTACKS, scratch
from tests.logbundles import Draft, Tree, encode, make_good, make_log
from tests.nodeverifier import NodeVerifier, running_node

ROOT = Path(__file__).parent.parent
SIZES = range(18)


@pytest.fixture(scope="module")
def node() -> Iterator[NodeVerifier]:
    with running_node() as running:
        yield running


def judge(draft: Draft, folder: Path, node: NodeVerifier) -> str:
    """What both verifiers say."""
    path, older = folder / "export.zip", folder / "older"
    draft.write(path)
    if draft.older is not None:
        older.write_bytes(draft.older)
    checkpoint = older if draft.older is not None else None
    in_python = verifier.verify(
        str(path), None if checkpoint is None else str(checkpoint), draft.key
    )

    assert node.verify(path, checkpoint, draft.key) == in_python
    return in_python


def judge_good(seed: int, folder: Path, node: NodeVerifier) -> None:
    draft, wanted = make_good(Random(seed))

    assert judge(draft, folder, node) == wanted, f"seed {seed}"


def judge_bad(seed: int, folder: Path, node: NodeVerifier) -> None:
    attack = ATTACKS[seed % len(ATTACKS)]
    draft, wanted = attack(Random(seed))

    found = judge(draft, folder, node)

    assert not found.startswith("OK"), f"{attack.__name__}, seed {seed}"
    assert found == wanted or not wanted, f"{attack.__name__}, seed {seed}"


def judge_scratched(seed: int, folder: Path, node: NodeVerifier) -> None:
    random = Random(seed)
    draft, _ = make_good(random)
    draft.spoil = lambda whole: scratch(random, whole)

    judge(draft, folder, node)


def test_good_exports_are_good_to_both(tmp_path: Path, node: NodeVerifier) -> None:
    for seed in range(20):
        judge_good(seed, tmp_path, node)


def test_bad_exports_have_one_verdict(tmp_path: Path, node: NodeVerifier) -> None:
    for seed in range(200):
        judge_bad(seed, tmp_path, node)


def test_scratched_zips_have_one_verdict(tmp_path: Path, node: NodeVerifier) -> None:
    for seed in range(100):
        judge_scratched(seed, tmp_path, node)


def test_trees_are_the_same_at_all_small_sizes(node: NodeVerifier) -> None:
    leaves = [hash_leaf(bytes([n])) for n in SIZES]
    roots = verifier.roots_at(b"".join(leaves), SIZES)
    texts = node.ask("roots", leaves=b64encode(b"".join(leaves)).decode(), sizes=list(SIZES))

    assert roots == {size: root_of(leaves[:size]) for size in SIZES}
    assert texts == [b64encode(roots[size]).decode() for size in SIZES]


def test_inclusion_at_all_small_sizes(node: NodeVerifier) -> None:
    leaves = [hash_leaf(bytes([n])) for n in SIZES]
    for size in SIZES:
        root = root_of(leaves[:size])
        for index in range(size):
            path = asyncio.run(prove_inclusion(Tree(leaves), index, size))
            for claimed in range(size + 1):
                is_right = verifier.is_included(leaves[index], claimed, size, path, root)
                assert is_right == (claimed == index)
                assert is_right == node.ask(
                    "included", leaf=encode(leaves)[index], index=claimed, size=size,
                    path=encode(path), root=encode([root])[0],
                )  # fmt: skip


def test_consistency_at_all_small_sizes(node: NodeVerifier) -> None:
    leaves = [hash_leaf(bytes([n])) for n in SIZES]
    for second in SIZES[1:]:
        for first in range(1, second + 1):
            path = asyncio.run(prove_consistency(Tree(leaves), first, second))
            for claimed in range(1, second + 1):
                roots = root_of(leaves[:claimed]), root_of(leaves[:second])
                is_right = verifier.is_consistent(claimed, second, path, *roots)
                assert is_right == (claimed == first)
                assert is_right == node.ask(
                    "consistent", first=claimed, second=second, path=encode(path),
                    firstRoot=encode([*roots])[0], secondRoot=encode([*roots])[1],
                )  # fmt: skip


def test_examples_of_c2sp() -> None:
    """From signed-note (the key with its note) and tlog-checkpoint (the body)."""
    key = verifier.parse_key(
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    )
    packed = verifier._decode(
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    )
    note = verifier.parse_note(
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"
        "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )

    assert packed[:4] == key.hash
    assert verifier.is_signed(key.public, b"This is an example message.\n", packed[4:])
    assert not verifier.is_signed(key.public, b"This is another message.\n", packed[4:])
    assert (note.origin, note.size) == ("example.com/behind-the-sofa", 20852163)


def test_signatures_are_judged_as_libraries_do(node: NodeVerifier) -> None:
    random = Random(8032)
    for _ in range(40):
        key = Ed25519PrivateKey.from_private_bytes(random.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), random.randbytes(99)
        signature = bytearray(key.sign(message))
        assert verifier.is_signed(public, message, bytes(signature))
        signature[random.randrange(64)] ^= 1 << random.randrange(8)
        strange = random.choice([public, random.randbytes(32), bytes(32), b"\xff" * 32])
        answer = node.ask(
            "signed", key=b64encode(strange).decode(), message=b64encode(message).decode(),
            signature=b64encode(signature).decode(),
        )  # fmt: skip
        assert verifier.is_signed(strange, message, bytes(signature)) == answer


def test_both_run_alone_and_say_it_by_their_exit_status(tmp_path: Path) -> None:
    """In an empty folder, Python without its site packages."""
    for name in ("server/tlog/verify.py", "server/tlog/verify.mjs", "static/js/log-verifier.js"):
        (tmp_path / Path(name).name).write_bytes((ROOT / name).read_bytes())
    draft = make_log(Random(1), smallest=5)
    draft.write(tmp_path / "good.zip")
    draft.lines[3] = (3, "x")
    draft.write(tmp_path / "bad.zip")
    (tmp_path / "old").write_text(draft.notes[0])

    for command in ([sys.executable, "-I", "-S", "verify.py"], ["node", "verify.mjs"]):
        arguments = ["good.zip", "--checkpoint", "old", "--key", draft.vkey]
        good, bad, absent = (
            subprocess.run([*command, *rest], cwd=tmp_path, capture_output=True, text=True)
            for rest in (arguments, ["bad.zip"], ["none.zip"])
        )

        assert good.stdout.startswith(f"OK: {draft.size} entries of ")
        assert (bad.stdout, bad.stderr) == ("entry 3: edited\n", "")
        assert [good.returncode, bad.returncode, absent.returncode] == [0, 1, 2]


def test_python_file_is_plain_python_of_old() -> None:
    source = (ROOT / "server/tlog/verify.py").read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    roots = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }

    assert roots <= sys.stdlib_module_names


def test_newest_entries_are_said_not_to_be_proved(tmp_path: Path, node: NodeVerifier) -> None:
    draft = make_log(Random(3), smallest=9)
    draft.lines.append((len(draft.lines), json.dumps({"action": "visit.ended"})))

    verdict = judge(draft, tmp_path, node)

    assert verdict.endswith(f"; {len(draft.lines) - draft.size} newer entries cannot be proved yet")
