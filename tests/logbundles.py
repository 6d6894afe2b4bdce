"""Exports of a session log, invented by a seeded generator: good ones, to be spoiled elsewhere.

They are written from ``FORMAT.md`` with the log's own notes and trees, not by the exporter.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from random import Random
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from server.tlog.note import Checkpoint, Signer
from server.tlog.tree import hash_leaf, prove_consistency, prove_inclusion, root_of

ORIGIN = "visite.example.org/log/toscana"
SEED = bytes(range(32))


class Tree:
    """Subtrees over leaves in memory."""

    def __init__(self, leaves: list[bytes]) -> None:
        self._leaves = leaves

    async def root(self, start: int, end: int) -> bytes:
        return root_of(self._leaves[start:end])


@dataclass
class Draft:
    """An export that is being made. ``entries``: what was signed; ``lines``: what is exported, as
    (number, text); ``sizes``: of the checkpoints; ``older``: content of the file with the older
    checkpoint."""

    kind: str
    entries: list[str]
    lines: list[tuple[int, str]]
    sizes: list[int]
    values: list[dict[str, str]] = field(default_factory=list)
    leaves: bytes = b""
    notes: list[str] = field(default_factory=list)
    proofs: list[dict[str, object]] = field(default_factory=list)
    growth: list[dict[str, object]] = field(default_factory=list)
    vkey: str = ""
    key: str | None = None
    older: bytes | None = None
    method: int = ZIP_DEFLATED
    manifest: dict[str, object] = field(default_factory=dict)
    members: dict[str, bytes] = field(default_factory=dict)
    """These in place of those made from the rest; empty bytes: not at all."""
    spoil: Callable[[bytes], bytes] = bytes
    """What happens to the whole zip at the end."""

    @property
    def size(self) -> int:
        return self.sizes[-1]

    @property
    def signed_leaves(self) -> list[bytes]:
        return [hash_leaf(entry.encode()) for entry in self.entries]

    def note(self, size: int, root: bytes | None = None, signer: Signer | None = None) -> str:
        found = root_of(self.signed_leaves[:size]) if root is None else root
        return (signer or Signer(ORIGIN, SEED)).sign(Checkpoint(ORIGIN, size, found))

    def prove(self) -> None:
        """Fill in what the log itself would say of these entries, lines and sizes."""
        leaves = self.signed_leaves[: self.size]
        tree = Tree(leaves)
        self.leaves = b"".join(leaves)
        self.notes = [self.note(size) for size in self.sizes]
        self.vkey = Signer(ORIGIN, SEED).verifier.text()
        self.manifest = {
            "format": "accanto-log-1", "kind": self.kind, "origin": ORIGIN,
            "organisation": "toscana", "size": self.size, "made_at": "2026-11-26T09:40:00Z",
        }  # fmt: skip
        if self.kind == "visit":
            self.proofs = [
                {
                    "seq": number, "size": self.size,
                    "path": encode(asyncio.run(prove_inclusion(tree, number, self.size))),
                }
                for number, _ in self.lines
            ]  # fmt: skip
            self.growth = [
                {
                    "size": size,
                    "path": encode(asyncio.run(prove_consistency(tree, size, self.size))),
                }
                for size in self.sizes[:-1]
                if size
            ]

    def write(self, path: Path) -> None:
        files = {
            "manifest.json": json.dumps(self.manifest).encode(),
            "log.vkey": f"{self.vkey}\n".encode(),
            "checkpoints.jsonl": to_lines(json.dumps(note) for note in self.notes),
            "entries.jsonl": to_lines(f"{number} {text}" for number, text in self.lines),
            "values.jsonl": to_lines(json.dumps(value) for value in self.values),
            "FORMAT.md": b"for people",
        }
        if self.kind == "log":
            files["leaves.bin"] = self.leaves
        else:
            files["proofs.jsonl"] = to_lines(json.dumps(proof) for proof in self.proofs)
            files["consistency.jsonl"] = to_lines(json.dumps(proof) for proof in self.growth)
        files |= self.members
        with ZipFile(path, "w", self.method) as archive:
            for name, content in files.items():
                if content or name not in self.members:
                    with archive.open(name, "w", force_zip64=name == "entries.jsonl") as member:
                        member.write(content)
        path.write_bytes(self.spoil(path.read_bytes()))


def encode(path: list[bytes]) -> list[str]:
    return [b64encode(step).decode() for step in path]


def to_lines(lines: object) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()  # type: ignore[attr-defined]


def make_entry(random: Random, place: int, **facts: object) -> str:
    content = {
        "action": random.choice(["visit.waiting", "room.joined", "note.read", "login.done"]),
        "actor": f"u{random.randrange(9)}", "at": f"2026-11-26T09:40:{place % 60:02}.000+00:00",
        "facts": {"n": place, "word": "è già " * random.randrange(3), **facts}, "node": "n/1",
        "object": "", "outcome": "done", "reason": "", "role": "clinician",
        "visit": f"visit{random.randrange(5)}",
    }  # fmt: skip
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def make_log(random: Random, smallest: int = 0) -> Draft:
    """A whole log, without anything erased."""
    size = random.choice([0, 1, 2, 3, 7, 8, random.randrange(9, 70), random.randrange(9, 300)])
    size = max(size, smallest)
    newer = random.choice([0, 0, 1, 5])
    entries = [make_entry(random, place) for place in range(size + newer)]
    sizes = sorted({random.randrange(size + 1) for _ in range(random.randrange(5))} | {size})
    if random.random() < 0.2:
        sizes.append(size)
    draft = Draft("log", entries, list(enumerate(entries)), sizes)
    draft.method = random.choice([ZIP_STORED, ZIP_DEFLATED])
    draft.values = [make_value(random, n) for n in range(random.randrange(4))]
    draft.prove()
    return draft


def make_value(random: Random, n: int) -> dict[str, str]:
    salt, value = random.randbytes(16), f"Niccolò n. {n} \U0001f9d1"
    digest = sha256(salt + value.encode()).digest()
    return {
        "digest": b64encode(digest).decode(), "salt": b64encode(salt).decode(), "value": value
    }  # fmt: skip


def make_visit(random: Random) -> Draft:
    whole = make_log(random, smallest=3)
    chosen = sorted(random.sample(range(whole.size), random.randrange(1, min(whole.size, 9))))
    draft = Draft(
        "visit", whole.entries, [(place, whole.entries[place]) for place in chosen],
        sorted({size for size in whole.sizes if size}), whole.values, method=whole.method,
    )  # fmt: skip
    draft.prove()
    return draft


def make_erased(random: Random) -> Draft:
    """A log of which entries were erased at the end of their term, with signed records of it."""
    draft = make_log(random, smallest=12)
    last = draft.size - 1
    start, alone = random.randrange(last - 6), last - 2
    draft.entries[last] = json.dumps(
        {"action": "log.erased", "facts": {"places": f"{start}-{start + 3},{alone}"}},
        separators=(",", ":"),
    )
    draft.lines = list(enumerate(draft.entries))
    for place in (*range(start, start + 4), alone):
        draft.lines[place] = (place, "")
    draft.prove()
    return draft


def make_older_export(note: str) -> bytes:
    """A zip with no more than what is read of an older export."""
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr(
            "checkpoints.jsonl", to_lines([json.dumps("passed over"), json.dumps(note)])
        )
    return file.getvalue()


def make_good(random: Random) -> tuple[Draft, str]:
    """An export, and the verdict on it."""
    draft = random.choice([make_log, make_log, make_visit, make_erased])(random)
    if random.random() < 0.3:
        witness = Signer("witness.example.org/w1", bytes(32))
        draft.notes = [witness.cosign(note, 1_764_150_000) for note in draft.notes]
    if random.random() < 0.3:
        draft.key = f" {draft.vkey}\n"
    if random.random() < 0.4:
        note = random.choice(draft.notes)
        draft.older = note.encode() if random.random() < 0.5 else make_older_export(note)
    newer = len(draft.lines) - draft.size
    erased = sum(1 for _, text in draft.lines if not text)
    if erased and random.random() < 0.3:
        draft.leaves += bytes(32)
    if draft.kind == "log" and not erased and random.random() < 0.2:
        draft.leaves = random.choice(
            [b"", draft.leaves + bytes(32), draft.leaves[32:], bytes(32) + draft.leaves[32:]]
        )
    if draft.kind == "visit":
        return draft, f"OK: {len(draft.lines)} entries of {ORIGIN}, proved in a log of {draft.size}"
    return draft, (
        f"OK: {draft.size} entries of {ORIGIN}, signed; {erased} erased; "
        f"{newer} newer entries cannot be proved yet"
    )
