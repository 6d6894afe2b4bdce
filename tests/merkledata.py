"""Runs the public test data of transparency-dev/merkle through both verifiers.

``python -m tests.merkledata DIR``, where DIR is the ``testdata`` folder of that repository: each
file of ``inclusion`` and ``consistency`` says whether its proof holds.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

from server.tlog.verify import is_consistent, is_included
from tests.nodeverifier import NodeVerifier, running_node


def check_inclusion(case: dict[str, Any], node: NodeVerifier) -> list[bool]:
    leaf, root, path = case["leafHash"], case["root"], case["proof"] or []
    index, size = case["leafIdx"], case["treeSize"]
    steps = [b64decode(step) for step in path]
    return [
        is_included(b64decode(leaf), index, size, steps, b64decode(root)),
        node.ask("included", leaf=leaf, index=index, size=size, path=path, root=root),
    ]


def check_consistency(case: dict[str, Any], node: NodeVerifier) -> list[bool]:
    roots, path = [case["root1"] or "", case["root2"] or ""], case["proof"] or []
    sizes = case["size1"], case["size2"]
    steps = [b64decode(step) for step in path]
    return [
        is_consistent(*sizes, steps, b64decode(roots[0]), b64decode(roots[1])),
        node.ask(
            "consistent", first=sizes[0], second=sizes[1], path=path,
            firstRoot=roots[0], secondRoot=roots[1],
        ),
    ]  # fmt: skip


def find_disagreements(folder: Path) -> tuple[int, list[str]]:
    """How many files there are, and those of which a verifier thinks otherwise."""
    count, wrong = 0, []
    with running_node() as node:
        for kind, check in (("inclusion", check_inclusion), ("consistency", check_consistency)):
            for path in sorted((folder / kind).rglob("*.json")):
                case = json.loads(path.read_text())
                count += 1
                if check(case, node) != [not case["wantErr"]] * 2:
                    wrong.append(str(path.relative_to(folder)))
    return count, wrong


def main(folder: Path) -> int:
    count, wrong = find_disagreements(folder)
    for name in wrong:
        print(f"not as it should be: {name}")
    print(f"{count - len(wrong)} of {count} pass in both verifiers")
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
