"""What can be wrong with an export of the session log, one function each.

An attack spoils a good draft and returns it with the verdict that must be given; an empty one where
only "not OK" is known beforehand.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from random import Random

from server.tlog.note import Checkpoint, Signer
from server.tlog.tree import hash_leaf, root_of
from tests.logbundles import (
    ORIGIN,
    SEED,
    Draft,
    make_entry,
    make_erased,
    make_log,
    make_value,
    make_visit,
    to_lines,
)

Attack = Callable[[Random], tuple[Draft, str]]
MALFORMED = "bundle: malformed"


def renumber(draft: Draft) -> None:
    draft.lines = [(place, text) for place, (_, text) in enumerate(draft.lines)]


def _log(random: Random) -> tuple[Draft, int]:
    """A log, and a place in it that is neither its first nor one of its last two."""
    draft = make_log(random, smallest=5)
    return draft, random.randrange(1, draft.size - 2)


# By somebody who may write to the database


def edit(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    text = draft.entries[place]
    draft.lines[place] = (place, random.choice([text.replace("u", "x", 1), text + " ", "x", "{}"]))
    return draft, f"entry {place}: edited"


def change_time(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.lines[place] = (place, draft.entries[place].replace("T09:", "T08:"))
    return draft, f"entry {place}: edited"


def break_line(random: Random) -> tuple[Draft, str]:
    """The exporter writes U+000D for a newline."""
    draft, place = _log(random)
    draft.lines[place] = (place, draft.entries[place].replace(",", ",\r", 1))
    return draft, f"entry {place}: edited"


def remove(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    del draft.lines[place]
    if random.random() < 0.5:
        renumber(draft)
    return draft, f"entry {place}: missing"


def insert(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.lines.insert(place, (place, make_entry(random, 10_000)))
    if random.random() < 0.5:
        renumber(draft)
    return draft, f"entry {place}: inserted"


def insert_below(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.lines.insert(0, (-random.randrange(1, 2**63), make_entry(random, 10_000)))
    return draft, "entry 0: inserted"


def insert_several(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.lines[place:place] = [(0, make_entry(random, 10_000 + n)) for n in range(3)]
    renumber(draft)
    return draft, f"entry {place}: edited"


def reorder(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    other = random.randrange(place + 1, draft.size)
    while other == place + 1 and random.random() < 0.5:
        other = random.randrange(place + 1, draft.size)
    draft.lines[place] = (place, draft.entries[other])
    draft.lines[other] = (other, draft.entries[place])
    return draft, f"entry {place}: reordered"


def duplicate(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.lines.insert(place, draft.lines[place])
    if random.random() < 0.5:
        renumber(draft)
        return draft, f"entry {place + 1}: duplicated"
    return draft, f"entry {place}: duplicated"


def drop_head(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    del draft.lines[:place]
    if random.random() < 0.5:
        renumber(draft)
        return draft, "entry 0: missing" if place == 1 else "entry 0: reordered"
    return draft, "entry 0: missing"


def drop_tail(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    del draft.lines[place:]
    return draft, f"entry {place}: missing"


def truncate(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.lines.clear()
    return draft, "entry 0: missing"


def replace_table(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.lines = [(n, make_entry(random, n + 10_000)) for n in range(random.randrange(1, 40))]
    return draft, "entry 0: edited"


def jump(random: Random) -> tuple[Draft, str]:
    """Numbers that are too large, some beyond what every language keeps whole."""
    draft, place = _log(random)
    far = random.choice([draft.size + 9, 2**53 + 1, 2**63 - 1])
    draft.lines[place:] = [(far + n, text) for n, (_, text) in enumerate(draft.lines[place:][:1])]
    return draft, f"entry {place}: missing"


def spoil_newer(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    end = len(draft.lines)
    added, verdict = random.choice(
        [
            ([(end + 1, "x")], f"entry {end}: missing"),
            ([(end, "x"), (end, "x")], f"entry {end}: duplicated"),
            ([(end, "")], f"entry {end}: erased without a record"),
        ]
    )
    draft.lines += added
    return draft, verdict


def erase(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.lines[place] = (place, "")
    return draft, f"entry {place}: erased without a record"


def erase_more(random: Random) -> tuple[Draft, str]:
    """More than the signed records of erasure name."""
    draft = make_erased(random)
    place = random.choice([n for n, text in draft.lines[: draft.size] if text])
    draft.lines[place] = (place, "")
    return draft, "" if place == draft.size - 1 else f"entry {place}: erased without a record"


def edit_last(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    place = draft.size - 1
    draft.lines[place] = (place, "x")
    return draft, f"entry {place}: edited"


def erase_after_record(random: Random) -> tuple[Draft, str]:
    """A signed record names places; what comes after the record it cannot have meant."""
    draft, place = _log(random)
    record = {"action": "log.erased", "facts": {"places": f"0-{draft.size}"}}
    draft.entries[place] = json.dumps(record, separators=(",", ":"))
    draft.lines = [(n, "" if n == place + 1 else text) for n, text in enumerate(draft.entries)]
    draft.prove()
    return draft, f"entry {place + 1}: erased without a record"


def forge_newer_erasure(random: Random) -> tuple[Draft, str]:
    """The leaf hashes are all there and one too many, so that leaves come from the entries: a
    record that is newer than the checkpoint is not signed all the same."""
    draft, place = _log(random)
    record = {"action": "log.erased", "facts": {"places": f"{place}"}}
    draft.lines[place] = (place, "")
    draft.lines.append((len(draft.lines), json.dumps(record, separators=(",", ":"))))
    draft.leaves += bytes(32)
    return draft, f"entry {place}: erased without a record"


def forge_erasure(random: Random) -> tuple[Draft, str]:
    """A record that was not signed: newer than the checkpoint, or in the place of an entry."""
    draft, place = _log(random)
    record = json.dumps(
        {"action": "log.erased", "facts": {"places": "0-9999"}}, separators=(",", ":")
    )
    draft.lines[place] = (place, "")
    if random.random() < 0.5:
        draft.lines[draft.size - 1] = (draft.size - 1, record)
    else:
        draft.lines.append((len(draft.lines), record))
    return draft, f"entry {place}: erased without a record"


# Leaf hashes that are lost or altered


def _lose_leaves(random: Random, draft: Draft) -> None:
    some = random.randrange(draft.size)
    draft.leaves = random.choice(
        [b"", draft.leaves[: some * 32], draft.leaves[:-32] + bytes(32), draft.leaves + bytes(32)]
    )


def edit_without_leaves(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    _lose_leaves(random, draft)
    if len(draft.leaves) > draft.size * 32:
        draft.leaves = b""
    draft.lines[place] = (place, "x")
    before = max([size for size in draft.sizes if size <= place], default=0)
    after = min(size for size in draft.sizes if size > place)
    return draft, f"entries {before}-{after - 1}: altered"


def remove_without_leaves(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.leaves = b""
    del draft.lines[place]
    return draft, f"entry {place}: missing"


def drop_tail_without_leaves(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.leaves = draft.leaves[: place * 32]
    del draft.lines[place:]
    return draft, f"entry {place}: missing"


def erase_without_leaves(random: Random) -> tuple[Draft, str]:
    draft = make_erased(random)
    draft.leaves = b""
    return draft, ""


# Checkpoints


def bend_signature(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    which = random.randrange(len(draft.notes))
    body, _, line = draft.notes[which].rpartition(" ")
    packed = bytearray(b64decode(line))
    packed[random.randrange(len(packed))] ^= 1 << random.randrange(8)
    draft.notes[which] = f"{body} {b64encode(packed).decode()}\n"
    size = min(draft.sizes[which], draft.size)
    return draft, f"checkpoint {size}: bad signature"


def raise_scalar(random: Random) -> tuple[Draft, str]:
    """S + L is the same number for whoever does not look (RFC 8032 §5.1.7)."""
    draft, _ = _log(random)
    body, _, line = draft.notes[-1].rpartition(" ")
    packed = b64decode(line)
    order = (1 << 252) + 27742317777372353535851937790883648493
    scalar = int.from_bytes(packed[36:], "little") + order
    again = b64encode(packed[:36] + scalar.to_bytes(32, "little")).decode()
    draft.notes[-1] = f"{body} {again}\n"
    return draft, f"checkpoint {draft.size}: bad signature"


def change_body(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.notes[-1] = draft.notes[-1].replace(f"\n{draft.size}\n", f"\n{draft.size + 1}\n", 1)
    return draft, f"checkpoint {draft.size + 1}: bad signature"


def sign_other_origin(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    root = root_of(draft.signed_leaves[: draft.size])
    other = Checkpoint(ORIGIN + "/2", draft.size, root)
    draft.notes[-1] = Signer(ORIGIN, SEED).sign(other)
    return draft, f"checkpoint {draft.size}: other origin"


def fork(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.notes.insert(-1, draft.note(draft.size - 1, hash_leaf(b"fork")))
    draft.notes = [note for note in draft.notes if f"\n{draft.size - 1}\n" not in note[:-100]]
    draft.notes = [draft.note(place, hash_leaf(b"fork")), draft.note(draft.size)]
    return draft, f"checkpoint {place}: forked"


def fork_same_size(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.notes.append(draft.note(draft.size, hash_leaf(b"fork")))
    return draft, f"checkpoint {draft.size}: forked"


def sink(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.notes.append(draft.note(place))
    return draft, f"checkpoint {place}: forked"


def fork_nothing(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.notes.insert(0, draft.note(0, hash_leaf(b"fork")))
    return draft, "checkpoint 0: forked"


def sign_with_other_key(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.notes = [draft.note(draft.size, signer=Signer(ORIGIN, random.randbytes(32)))]
    return draft, f"checkpoint {draft.size}: bad signature"


def take_notes_away(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.notes = []
    return draft, "bundle: no checkpoint"


def give_other_key(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.key = Signer(ORIGIN, random.randbytes(32)).verifier.text()
    return draft, "bundle: other key"


def replace_all(random: Random) -> tuple[Draft, str]:
    """A whole new log with a new key: only what is known from elsewhere tells."""
    draft, _ = _log(random)
    forger = Signer(ORIGIN, random.randbytes(32))
    draft.older = draft.notes[-1].encode()
    draft.notes = [draft.note(draft.size, signer=forger)]
    draft.vkey = forger.verifier.text()
    return draft, "old checkpoint: bad signature"


def roll_back(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.older = draft.note(draft.size + random.randrange(1, 9), hash_leaf(b"x")).encode()
    return draft, "old checkpoint: rolled back"


def fork_older(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    size = random.choice([0, place, draft.size])
    draft.older = draft.note(size, hash_leaf(b"x")).encode()
    if size in {0, draft.size}:
        draft.leaves = random.choice([b"", draft.leaves])
    return draft, "old checkpoint: forked"


def fork_older_without_leaves(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    draft.sizes, draft.leaves = [draft.size], b""
    draft.notes = draft.notes[-1:]
    draft.older = draft.note(place, hash_leaf(b"x")).encode()
    return draft, f"entries 0-{place - 1}: altered"


def spoil_older(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.older = random.choice([b"", b"PK", b"x\n", b"\xff", draft.notes[-1].encode()[:-1]])
    return draft, "old checkpoint: malformed"


# One visit


def edit_visit(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    line = random.randrange(len(draft.lines))
    number = draft.lines[line][0]
    draft.lines[line] = (number, draft.lines[line][1] + " ")
    return draft, f"entry {number}: edited"


def bend_proof(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    proof = random.choice(draft.proofs)
    path = list(proof["path"])  # type: ignore[call-overload]
    if path and random.random() < 0.7:
        path[random.randrange(len(path))] = b64encode(random.randbytes(32)).decode()
    elif path and random.random() < 0.5:
        path.pop(random.randrange(len(path)))
    else:
        path.append(b64encode(bytes(32)).decode())
    proof["path"] = path
    return draft, f"entry {proof['seq']}: edited"


def resize_proof(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    proof = random.choice(draft.proofs)
    proof["size"] = draft.size + 1
    return draft, f"entry {proof['seq']}: edited"


def take_line_or_proof(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    listed: list[object] = random.choice([draft.lines, draft.proofs])
    which = random.randrange(len(listed))
    number = draft.lines[which][0]
    del listed[which]
    return draft, f"entry {number}: missing"


def put_visit_line(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    number, text = draft.lines[-1]
    added, verdict = random.choice(
        [
            ((number, text), f"entry {number}: duplicated"),
            ((number - 1, text), f"entry {number - 1}: reordered"),
            ((number + 1, "x"), f"entry {number + 1}: missing"),
            ((2**53 + 1, "x"), f"entry {2**53 + 1}: missing"),
            ((number + 1, ""), f"entry {number + 1}: erased without a record"),
        ]
    )
    draft.lines.append(added)
    return draft, verdict


def bend_growth(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    while not draft.growth:
        draft = make_visit(random)
    proof = random.choice(draft.growth)
    proof["path"] = [b64encode(random.randbytes(32)).decode()]
    return draft, f"checkpoint {proof['size']}: forked"


def fork_older_of_visit(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    known = [*draft.sizes[:-1]]
    size = random.choice(known) if known else 0
    draft.older = draft.note(size, hash_leaf(b"x")).encode()
    return draft, "old checkpoint: forked"


def ask_too_much_of_visit(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    draft.sizes, draft.notes, draft.growth = draft.sizes[-1:], draft.notes[-1:], []
    draft.older = draft.note(draft.size - 1).encode()
    return draft, "old checkpoint: needs the whole log"


# Values, and what is not of the form


def change_value(random: Random) -> tuple[Draft, str]:
    draft = random.choice([make_log, make_visit])(random)
    draft.values = [make_value(random, n) for n in range(3)]
    which = random.randrange(3)
    name = random.choice(["value", "salt", "digest"])
    random_bytes = random.randbytes(16 if name == "salt" else 32)
    draft.values[which][name] = b64encode(random_bytes).decode()
    return draft, f"value {which}: edited"


def take_member_away(random: Random) -> tuple[Draft, str]:
    draft = random.choice([make_log, make_visit])(random)
    own = "leaves.bin" if draft.kind == "log" else "proofs.jsonl"
    name = random.choice(
        ["manifest.json", "log.vkey", "checkpoints.jsonl", "entries.jsonl", own]
    )  # fmt: skip
    draft.members[name] = b""
    return draft, MALFORMED


def spoil_manifest(random: Random) -> tuple[Draft, str]:
    draft = random.choice([make_log, make_visit])(random)
    whole = json.dumps(draft.manifest)
    draft.members["manifest.json"] = random.choice(
        [
            b"[]", b"null", b"{}", b"\xef\xbb\xbf" + whole.encode(), whole.encode("utf-16"),
            whole.replace("accanto-log-1", "accanto-log-2").encode(),
            whole.replace(f'"{draft.kind}"', '"all"').encode(),
            whole.replace(ORIGIN, ORIGIN + "x").encode(),
            whole.replace('"toscana"', "NaN").encode(),
            whole.replace('"toscana"', '"\\ud800"').encode(),
            whole.replace('"toscana"', '"\xff"').encode("latin-1"),
            whole.replace('"toscana"', '["toscana"]').encode(),
            whole.replace('"toscana"', "[" * 5000 + "]" * 5000).encode(),
            whole.replace("}", ",}").encode(),
        ]
    )  # fmt: skip
    return draft, MALFORMED


def spoil_key(random: Random) -> tuple[Draft, str]:
    draft = random.choice([make_log, make_visit])(random)
    name, hashed, key = draft.vkey.split("+", 2)
    draft.vkey = random.choice(
        [
            "", name, f"{name}+{hashed}", f"{name}+{hashed}+{key[:-4]}", f"{name}+00000000+{key}",
            f"{name}x+{hashed}+{key}", f"{name}+{hashed.upper()}x+{key}", f"{draft.vkey}\n", "\xe9",
        ]
    )  # fmt: skip
    return draft, MALFORMED


def spoil_note(random: Random) -> tuple[Draft, str]:
    draft = random.choice([make_log, make_visit])(random)
    note = draft.notes[-1]
    bad = [
        note[:-1], note + "\n", note.replace("\n\n", "\n"), note.replace("— ", "- "),
        note.replace(f"\n{draft.size}\n", f"\n0{draft.size}\n", 1),
        note.replace(f"\n{draft.size}\n", f"\n{draft.size}.0\n", 1),
        note.replace(f"\n{draft.size}\n", f"\n{10**15}\n", 1),
        note.replace("=\n\n", "\n\n"), note.replace("\n\n", "\nmore\n\n"),
        note.split("\n\n")[0] + "\n\n", note + "— x ====\n", note + "x\n", "", "\n", "\n\n",
        note.replace("\n\n", "\n\n— \x85 QQ==\n").replace("QQ==", "QR=="),
    ]  # fmt: skip
    lines: list[object] = [*draft.notes[:-1], random.choice(bad)]
    if random.random() < 0.2:
        lines[-1] = random.choice([None, 7, [note], {"note": note}])
    draft.members["checkpoints.jsonl"] = to_lines(json.dumps(line) for line in lines)
    return draft, MALFORMED


def spoil_lines(random: Random) -> tuple[Draft, str]:
    draft, place = _log(random)
    lines = to_lines(f"{n} {text}" for n, text in draft.lines).split(b"\n")
    text = lines[place].split(b" ", 1)[1]
    lines[place] = random.choice(
        [
            b"", b"%d" % place, b"%d\t%s" % (place, text), b"0%d %s" % (place, text), b" " + text,
            b"+%d %s" % (place, text), b"-0 " + text, b"1e0 " + text, b"1_0 " + text, text,
            b"%d%s %s" % (10**18, b"0", text), "\u0661 ".encode() + text, b"\xff " + text,
        ]
    )  # fmt: skip
    draft.members["entries.jsonl"] = b"\n".join(lines)
    if random.random() < 0.1:
        draft.members["entries.jsonl"] = to_lines(["0 x"])[:-1]
    return draft, MALFORMED


def spoil_leaves(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.leaves = draft.leaves[: -random.randrange(1, 32)]
    return draft, MALFORMED


def spoil_proofs(random: Random) -> tuple[Draft, str]:
    draft = make_visit(random)
    proof = draft.proofs[-1]
    step = b64encode(bytes(32)).decode()
    bad: list[object] = [
        None, [], {}, {**proof, "more": 1}, {**proof, "path": None}, {**proof, "seq": -1},
        {**proof, "seq": 0.5}, {**proof, "seq": "1"}, {**proof, "seq": True},
        {**proof, "size": 2**53},
        {**proof, "path": [step[:-1]]}, {**proof, "path": [step + "\n"]}, {**proof, "path": [1]},
        {**proof, "path": [step[:-2] + "B="]}, {**proof, "path": [[step]]}, proof,
    ]  # fmt: skip
    name = random.choice(["proofs.jsonl", "consistency.jsonl"])
    if name == "proofs.jsonl":
        draft.members[name] = to_lines(
            json.dumps(one) for one in [*draft.proofs, random.choice(bad)]
        )
    else:
        one = {"size": 1, "path": [step]}
        bad = [*bad[:3], {**one, "size": 2**53}, {**one, "more": 1}, {**one, "path": step}]
        lines: list[object] = random.choice([[one, one], [random.choice(bad)]])
        draft.members[name] = to_lines(json.dumps(line) for line in lines)
    return draft, MALFORMED


def spoil_values(random: Random) -> tuple[Draft, str]:
    draft = random.choice([make_log, make_visit])(random)
    value = make_value(random, 1)
    bad: list[object] = [
        "x", {**value, "more": ""}, {**value, "value": 1}, {**value, "value": "\ud800"},
        {**value, "salt": b64encode(bytes(15)).decode()}, {**value, "digest": ""},
        {"digest": value["digest"], "salt": value["salt"]}, {**value, "salt": None},
    ]  # fmt: skip
    draft.members["values.jsonl"] = to_lines([json.dumps(random.choice(bad))])
    return draft, MALFORMED


# The zip


def cut_zip(random: Random) -> tuple[Draft, str]:
    draft = random.choice([make_log, make_visit])(random)
    part = random.random()
    draft.spoil = lambda whole: random.choice(
        [
            whole[: int(len(whole) * part)],
            whole[:-1],
            whole + b"x",
            whole[1:],
            b"",
            b"PK\5\6",
            whole[:-2] + b"\1\0",
        ]
    )
    return draft, MALFORMED


def bend_stream(random: Random) -> tuple[Draft, str]:
    """The packed bytes of a member are longer or shorter than the directory says, or encrypted."""
    draft, _ = _log(random)
    at, value = random.choice([(20, 1), (20, -1), (24, 1), (24, -1), (10, 3), (8, 1), (42, 1)])

    def spoil(whole: bytes) -> bytes:
        made = bytearray(whole)
        start = made.rindex(b"entries.jsonl") - 46
        length = 2 if at < 20 else 4
        number = int.from_bytes(made[start + at : start + at + length], "little")
        made[start + at : start + at + length] = (number + value).to_bytes(length, "little")
        return bytes(made)

    draft.spoil = spoil
    return draft, MALFORMED


def repack(random: Random) -> tuple[Draft, str]:
    """A packed member that goes on after its end, stops before it, or is not as long as is said."""
    draft, _ = _log(random)
    draft.method = 0
    plain = f"{draft.vkey}\n".encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(plain) + packer.flush()
    packed, length = random.choice(
        [
            (packed + b"\0", len(plain)), (packed[:-1], len(plain)), (packed, len(plain) + 1),
            (packed, len(plain) - 1), (b"\xff" + packed, len(plain)),
        ]
    )  # fmt: skip
    draft.members["log.vkey"] = packed

    def spoil(whole: bytes) -> bytes:
        made = bytearray(whole)
        start = made.rindex(b"log.vkey") - 46
        made[start + 10] = 8
        made[start + 24 : start + 28] = length.to_bytes(4, "little")
        return bytes(made)

    draft.spoil = spoil
    return draft, MALFORMED


def name_twice(random: Random) -> tuple[Draft, str]:
    draft, _ = _log(random)
    draft.members["xxx.vkey"] = f"{draft.vkey}\n".encode()
    draft.spoil = lambda whole: whole.replace(b"xxx.vkey", b"log.vkey")
    return draft, MALFORMED


def bend_bytes(random: Random) -> tuple[Draft, str]:
    """Bytes of an entry, stored: the CRC tells nobody, the hash does."""
    draft, place = _log(random)
    draft.method = 0
    wanted = draft.entries[place].encode()
    draft.spoil = lambda whole: whole.replace(wanted, b"X" + wanted[1:])
    return draft, f"entry {place}: edited"


ATTACKS: tuple[Attack, ...] = (
    edit, change_time, break_line, remove, insert, insert_below, insert_several, reorder, duplicate,
    drop_head, drop_tail, truncate, replace_table, jump, spoil_newer, erase, erase_more,
    forge_erasure, edit_without_leaves, remove_without_leaves, drop_tail_without_leaves,
    erase_without_leaves, bend_signature, raise_scalar, change_body, sign_other_origin, fork,
    fork_same_size, sink, fork_nothing, sign_with_other_key, take_notes_away, give_other_key,
    replace_all, roll_back, fork_older, fork_older_without_leaves, spoil_older, edit_visit,
    bend_proof, resize_proof, take_line_or_proof, put_visit_line, bend_growth,
    fork_older_of_visit, ask_too_much_of_visit, change_value, take_member_away, spoil_manifest,
    spoil_key, spoil_note, spoil_lines, spoil_leaves, spoil_proofs, spoil_values, cut_zip,
    bend_stream, bend_bytes, edit_last, erase_after_record, forge_newer_erasure, repack,
    name_twice,
)  # fmt: skip


def scratch(random: Random, whole: bytes) -> bytes:
    """A zip with a few bytes changed anywhere, for which nobody knows the verdict beforehand."""
    made = bytearray(whole)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(made))
        match random.randrange(3):
            case 0:
                made[at] ^= 1 << random.randrange(8)
            case 1:
                made[at : at + random.randrange(1, 9)] = b""
            case _:
                made[at:at] = random.randbytes(random.randrange(1, 9))
    return bytes(made)
