"""Verifies an export of the session log: ``python verify.py FILE.zip``.

One file, Python 3.9 or later with its standard library only, nothing of Accanto. It does what
``FORMAT.md`` says, step by step, and prints one line; the exit status is 0 when that begins with
``OK``, 1 when it does not, 2 when a file cannot be opened. Its twin is ``verify.mjs``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256, sha512
from itertools import chain
from struct import error as struct_error
from struct import unpack_from
from typing import Any, BinaryIO, NamedTuple

HASH = 32
EMPTY_ROOT = sha256().digest()
_PIECE = 1 << 16
_ERASURE = b'{"action":"log.erased",'
_PLACES = re.compile(rb'"places":"([0-9,-]*)"')
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,14}")
_MARK = "\u2014 "


class Malformed(ValueError):
    """Something is not of the form that FORMAT.md says."""


class Finding(Exception):
    """What is wrong, as the verdict's line says it."""


# Zip files (FORMAT §4)


class Archive:
    """The members of a zip. :raises Malformed: it cannot be read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self._members: dict[bytes, tuple[int, int, int, int, int]] = {}
        start, count = self._find_directory()
        directory, at = self._read(start, self._size - start), 0
        for _ in range(count):
            mark, *head = _unpack("<I4xHHxxxxxxxxIIHHH8xI", directory, at)
            flags, method, packed, full, name_size, extra_size, comment_size, place = head
            name = directory[at + 46 : at + 46 + name_size]
            extra = directory[at + 46 + name_size : at + 46 + name_size + extra_size]
            if mark != 0x02014B50 or name in self._members:
                raise Malformed
            full, packed, place = _widen(extra, full, packed, place)
            self._members[name] = (flags, method, packed, full, place)
            at += 46 + name_size + extra_size + comment_size

    def _find_directory(self) -> tuple[int, int]:
        """Where the directory starts, and how many members it has."""
        mark, count, start, comment = _unpack("<I6xHxxxxIH", self._read(self._size - 22, 22), 0)
        if mark != 0x06054B50 or comment:
            raise Malformed
        if count == 0xFFFF or start == 0xFFFFFFFF:
            mark, end = _unpack("<I4xQ", self._read(self._size - 42, 20), 0)
            if mark != 0x07064B50:
                raise Malformed
            mark, count, start = _unpack("<I28xQ8xQ", self._read(end, 56), 0)
            if mark != 0x06064B50:
                raise Malformed
        return start, count

    def _read(self, start: int, length: int) -> bytes:
        if start < 0 or length < 0 or start + length > self._size:
            raise Malformed
        self._file.seek(start)
        return self._file.read(length)

    def __contains__(self, name: str) -> bool:
        return name.encode() in self._members

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of one member, unpacked."""
        if name not in self:
            raise Malformed
        flags, method, left, full, place = self._members[name.encode()]
        mark, name_size, extra_size = _unpack("<I22xHH", self._read(place, 30), 0)
        if mark != 0x04034B50 or flags & 1 or method not in {0, 8}:
            raise Malformed
        at = place + 30 + name_size + extra_size
        unpacker = zlib.decompressobj(-15) if method else None
        while left:
            piece = self._read(at, min(left, _PIECE))
            at, left = at + len(piece), left - len(piece)
            if unpacker is not None:
                piece = _inflate(unpacker, piece)
            full -= len(piece)
            if full < 0:
                raise Malformed
            yield piece
        if full or (unpacker is not None and not unpacker.eof):
            raise Malformed

    def read(self, name: str) -> bytes:
        return b"".join(self.pieces(name))

    def lines(self, name: str) -> Iterator[bytes]:
        rest = b""
        for piece in self.pieces(name):
            found = (rest + piece).split(b"\n")
            rest = found.pop()
            yield from found
        if rest:
            raise Malformed


def _unpack(form: str, data: bytes, at: int) -> tuple[Any, ...]:
    try:
        return unpack_from(form, data, at)
    except struct_error as error:
        raise Malformed from error


def _widen(extra: bytes, *sizes: int) -> list[int]:
    """Sizes and places of large files stand in an extra field (zip64)."""
    wide, at = list(sizes), 0
    while at + 4 <= len(extra):
        kind, length = _unpack("<HH", extra, at)
        if kind == 1:
            for i in range(len(wide)):
                if wide[i] == 0xFFFFFFFF:
                    [wide[i]] = _unpack("<Q", extra[: at + 4 + length], at + 4)
                    at, length = at + 8, length - 8
            break
        at += 4 + length
    return wide


def _inflate(unpacker: Any, piece: bytes) -> bytes:
    if unpacker.eof:
        raise Malformed
    try:
        unpacked: bytes = unpacker.decompress(piece)
    except zlib.error as error:
        raise Malformed from error
    if unpacker.unused_data:
        raise Malformed
    return unpacked


def _parse(line: bytes, *fields: str) -> Any:
    """The JSON of a line; with ``fields`` a flat object of exactly these."""
    try:
        found = json.loads(line.decode(), parse_int=float, parse_constant=_refuse)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Malformed from error
    if fields and not (isinstance(found, dict) and sorted(found) == sorted(fields)):
        raise Malformed
    return found


def _refuse(word: str) -> float:
    raise Malformed(word)


def _whole(value: Any) -> int:
    if not isinstance(value, float) or not 0 <= value < 1 << 53 or value != int(value):
        raise Malformed
    return int(value)


def _decode(text: Any, length: int = -1) -> bytes:
    """Canonical base64, of so many bytes."""
    try:
        data = b64decode(text.encode("ascii")) if isinstance(text, str) else b""
    except ValueError as error:
        raise Malformed from error
    if b64encode(data).decode() != text or length not in {-1, len(data)}:
        raise Malformed
    return data


# Ed25519 (RFC 8032 §5.1.7, without cofactor)

_P = (1 << 255) - 19
_L = (1 << 252) + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_BASE = (4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little")
Point = tuple[int, int, int, int]


def _add(one: Point, two: Point) -> Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _point(packed: bytes, *, is_negative: bool) -> Point | None:
    """The point, or its negative; None for what is none."""
    number = int.from_bytes(packed, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    y %= _P
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (x * x - square) % _P:
        return None
    if (x & 1 != sign) != is_negative:
        x = -x % _P
    return x, y, 1, x * y % _P


@lru_cache(maxsize=4)
def _multiples(packed: bytes, *, is_negative: bool) -> list[list[Point]]:
    """0 to 15 times 16^0, 16^1 … of a point; nothing for what is no point."""
    point = _point(packed, is_negative=is_negative)
    if point is None:
        return []
    rows: list[list[Point]] = []
    for _ in range(64):
        row: list[Point] = [(0, 1, 1, 0)]
        for _ in range(15):
            row.append(_add(row[-1], point))
        rows.append(row)
        point = _add(row[-1], point)
    return rows


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """``public`` 32 and ``signature`` 64 bytes."""
    scalar = int.from_bytes(signature[32:], "little")
    steps = _multiples(public, is_negative=True)
    if scalar >= _L or not steps:
        return False
    digest = sha512(signature[:32] + public + message).digest()
    factor = int.from_bytes(digest, "little") % _L
    total: Point = (0, 1, 1, 0)
    for base, step in zip(_multiples(_BASE, is_negative=False), steps):  # noqa: B905 (Python 3.9)
        total = _add(_add(total, base[scalar & 15]), step[factor & 15])
        scalar, factor = scalar >> 4, factor >> 4
    inverse = pow(total[2], _P - 2, _P)
    x, y = total[0] * inverse % _P, total[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


# Checkpoints (FORMAT §3)


class Key(NamedTuple):
    """The public key of a log."""

    text: str
    name: str
    hash: bytes
    public: bytes


class Checkpoint(NamedTuple):
    """A signed note. ``signatures``: name of the key, its hash and signature."""

    origin: str
    size: int
    root: bytes
    body: str
    signatures: list[tuple[str, bytes]]

    def is_signed_by(self, key: Key) -> bool:
        """The first line of this key decides; those of other keys are passed over."""
        for name, packed in self.signatures:
            if name == key.name and packed[:4] == key.hash:
                return len(packed) == 68 and is_signed(key.public, self.body.encode(), packed[4:])
        return False


def parse_key(text: str) -> Key:
    name, _, rest = text.partition("+")
    hashed, _, packed = rest.partition("+")
    typed = _decode(packed, 1 + HASH)
    wanted = sha256(name.encode() + b"\n" + typed).digest()[:4]
    if not name or " " in name or typed[0] != 1 or wanted.hex() != hashed:
        raise Malformed
    return Key(text, name, wanted, typed[1:])


def parse_note(note: Any) -> Checkpoint:
    if not isinstance(note, str) or not note.endswith("\n"):
        raise Malformed
    body, found, signed = note.rpartition("\n\n")
    lines, signatures = body.split("\n"), []
    if not found or len(lines) != 3 or not lines[0] or not _SIZE.fullmatch(lines[1]):
        raise Malformed
    for line in signed.split("\n")[:-1]:
        name, _, packed = line[len(_MARK) :].partition(" ")
        if not line.startswith(_MARK) or not name:
            raise Malformed
        signatures.append((name, _decode(packed)))
    if not signatures:
        raise Malformed
    root = _decode(lines[2], HASH)
    return Checkpoint(lines[0], int(lines[1]), root, body + "\n", signatures)


# Trees (FORMAT §1)


def hash_leaf(entry: bytes) -> bytes:
    return sha256(b"\0" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def roots_at(leaves: bytes, sizes: Iterable[int]) -> dict[int, bytes]:
    """The roots of the trees over the first so many leaves."""
    wanted, roots = set(sizes), {}
    subtrees: list[bytes] = []
    for size in range(len(leaves) // HASH + 1):
        if size:
            root, rest = leaves[size * HASH - HASH : size * HASH], size
            while not rest & 1:
                root, rest = hash_node(subtrees.pop(), root), rest >> 1
            subtrees.append(root)
        if size in wanted:
            roots[size] = _join(subtrees)
    return roots


def _join(subtrees: Sequence[bytes]) -> bytes:
    if not subtrees:
        return EMPTY_ROOT
    root = subtrees[-1]
    for left in subtrees[-2::-1]:
        root = hash_node(left, root)
    return root


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162 §2.1.3.2."""
    place, last, found = index, size - 1, leaf
    for step in path:
        if last <= 0:
            return False
        if place & 1 or place == last:
            found = hash_node(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = hash_node(found, step)
        place, last = place >> 1, last >> 1
    return 0 <= index < size and last == 0 and found == root and len(root) == HASH


def is_consistent(
    first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """RFC 9162 §2.1.4.2; nothing is shown of an empty tree."""
    if first == second:
        return first > 0 and not path and first_root == second_root
    if not 0 < first < second or not path:
        return False
    steps = list(path) if first & (first - 1) else [first_root, *path]
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    older = newer = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            older, newer = hash_node(step, older), hash_node(step, newer)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            newer = hash_node(newer, step)
        place, last = place >> 1, last >> 1
    return last == 0 and older == first_root and newer == second_root


# An export (FORMAT §4)


class Lines(NamedTuple):
    """The entries of an export, line by line: numbers, leaf hashes, which are erased, and where
    erasures are recorded (line, ranges)."""

    numbers: list[int]
    leaves: bytes
    erased: set[int]
    erasures: list[tuple[int, bytes]]

    def leaf(self, line: int) -> bytes:
        return self.leaves[line * HASH : line * HASH + HASH]


class Bundle(NamedTuple):
    """An export as it was read. ``leaves``: kind ``log``; the others: kind ``visit``.
    ``bad_value``: the line of the first value that is not of its digest."""

    kind: str
    key: Key
    checkpoints: list[Checkpoint]
    lines: Lines
    leaves: bytes
    proofs: dict[int, tuple[int, list[bytes]]]
    growth: dict[int, list[bytes]]
    bad_value: int | None

    @property
    def newest(self) -> Checkpoint:
        return self.checkpoints[-1]


def read_bundle(archive: Archive) -> Bundle:
    manifest = _parse(archive.read("manifest.json"))
    is_flat = isinstance(manifest, dict) and not any(
        isinstance(value, (dict, list)) for value in manifest.values()
    )
    if not is_flat or manifest.get("format") != "accanto-log-1":
        raise Malformed
    kind = manifest.get("kind")
    try:
        key = parse_key(archive.read("log.vkey").decode().removesuffix("\n"))
    except UnicodeDecodeError as error:
        raise Malformed from error
    if kind not in {"log", "visit"} or manifest.get("origin") != key.name:
        raise Malformed
    is_log = kind == "log"
    leaves = archive.read("leaves.bin") if is_log else b""
    if len(leaves) % HASH:
        raise Malformed
    return Bundle(
        kind,
        key,
        [parse_note(_parse(line)) for line in archive.lines("checkpoints.jsonl")],
        read_lines(archive.lines("entries.jsonl")),
        leaves,
        {} if is_log else _read_proofs(archive),
        {} if is_log else _read_growth(archive),
        _find_bad_value(archive),
    )


def read_lines(lines: Iterable[bytes]) -> Lines:
    numbers, erased, erasures = [], set(), []
    leaves = bytearray()
    for line, content in enumerate(lines):
        number, space, text = content.partition(b" ")
        if not space or not _NUMBER.fullmatch(number):
            raise Malformed
        numbers.append(int(number))
        leaves += sha256(b"\0" + text).digest()
        if not text:
            erased.add(line)
        elif text.startswith(_ERASURE):
            found = _PLACES.search(text)
            if found:
                erasures.append((line, found[1]))
    return Lines(numbers, bytes(leaves), erased, erasures)


def _read_proofs(archive: Archive) -> dict[int, tuple[int, list[bytes]]]:
    proofs: dict[int, tuple[int, list[bytes]]] = {}
    for line in archive.lines("proofs.jsonl"):
        found = _parse(line, "seq", "size", "path")
        number = _whole(found["seq"])
        if number in proofs:
            raise Malformed
        proofs[number] = _whole(found["size"]), _path(found["path"])
    return proofs


def _read_growth(archive: Archive) -> dict[int, list[bytes]]:
    growth: dict[int, list[bytes]] = {}
    for line in archive.lines("consistency.jsonl") if "consistency.jsonl" in archive else ():
        found = _parse(line, "size", "path")
        size = _whole(found["size"])
        if size in growth:
            raise Malformed
        growth[size] = _path(found["path"])
    return growth


def _path(value: Any) -> list[bytes]:
    if not isinstance(value, list):
        raise Malformed
    return [_decode(step, HASH) for step in value]


def _find_bad_value(archive: Archive) -> int | None:
    bad = None
    lines = archive.lines("values.jsonl") if "values.jsonl" in archive else iter(())
    for number, line in enumerate(lines):
        found = _parse(line, "digest", "salt", "value")
        digest, salt = _decode(found["digest"], HASH), _decode(found["salt"], 16)
        if not isinstance(found["value"], str):
            raise Malformed
        if bad is None and sha256(salt + found["value"].encode()).digest() != digest:
            bad = number
    return bad


# Verification (FORMAT §5)


def verify(path: str, checkpoint: str | None = None, key: str | None = None) -> str:
    """The verdict on the export at ``path``. ``checkpoint``: path of an older signed note or of an
    older export; ``key``: the public key as it is known from elsewhere.

    :raises OSError: a file cannot be opened.
    """
    try:
        try:
            with open(path, "rb") as file:
                bundle = read_bundle(Archive(file))
        except Malformed:
            return "bundle: malformed"
        if key is not None and key.strip(" \t\r\n") != bundle.key.text:
            return "bundle: other key"
        _check_checkpoints(bundle)
        older = None if checkpoint is None else _load_older(checkpoint, bundle)
        good = _check_log(bundle, older) if bundle.kind == "log" else _check_visit(bundle, older)
    except Finding as finding:
        return str(finding)
    return good if bundle.bad_value is None else f"value {bundle.bad_value}: edited"


def _check_checkpoints(bundle: Bundle) -> None:
    size, root = 0, EMPTY_ROOT
    for one in bundle.checkpoints:
        if not one.is_signed_by(bundle.key):
            raise Finding(f"checkpoint {one.size}: bad signature")
        if one.origin != bundle.key.name:
            raise Finding(f"checkpoint {one.size}: other origin")
        if one.size < size or (one.size == size and one.root != root):
            raise Finding(f"checkpoint {one.size}: forked")
        size, root = one.size, one.root
    if not bundle.checkpoints:
        raise Finding("bundle: no checkpoint")


def _load_older(path: str, bundle: Bundle) -> Checkpoint:
    """The older checkpoint, signed and not larger than the newest one."""
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                lines = list(Archive(file).lines("checkpoints.jsonl"))
                older = parse_note(_parse(lines[-1]) if lines else None)
            else:
                file.seek(0)
                older = parse_note(file.read().decode())
    except (Malformed, UnicodeDecodeError) as error:
        raise Finding("old checkpoint: malformed") from error
    if not older.is_signed_by(bundle.key):
        raise Finding("old checkpoint: bad signature")
    if older.origin != bundle.key.name:
        raise Finding("old checkpoint: other origin")
    if older.size > bundle.newest.size:
        raise Finding("old checkpoint: rolled back")
    roots = {0: EMPTY_ROOT, **{one.size: one.root for one in bundle.checkpoints}}
    if roots.get(older.size, older.root) != older.root:
        raise Finding("old checkpoint: forked")
    return older


def _check_log(bundle: Bundle, older: Checkpoint | None) -> str:
    newest, lines = bundle.newest, bundle.lines
    known = [*bundle.checkpoints, *([] if older is None else [older])]
    leaves, roots = bundle.leaves, {}
    if len(leaves) == newest.size * HASH:
        roots = roots_at(leaves, (one.size for one in known))
    if roots.get(newest.size) == newest.root:
        for one in known:
            if roots[one.size] != one.root:
                name = "old checkpoint" if one is older else f"checkpoint {one.size}"
                raise Finding(f"{name}: forked")
    else:
        leaves = _prove_ranges(lines, leaves, known)
    _check_entries(lines, leaves, newest.size)
    newer = len(lines.numbers) - newest.size
    return (
        f"OK: {newest.size} entries of {newest.origin}, signed; {len(lines.erased)} erased; "
        f"{newer} newer entries cannot be proved yet"
    )


def _prove_ranges(lines: Lines, kept: bytes, known: Sequence[Checkpoint]) -> bytes:
    """Leaves from the entries, where the kept ones are not those of the newest checkpoint; they
    stand in for what was erased. The leaves, when all roots are theirs."""
    for place, number in enumerate(lines.numbers):
        if number != place:
            raise Finding(_judge_number(place, number))
    leaves = bytearray(lines.leaves)
    for place in lines.erased:
        leaf = kept[place * HASH : place * HASH + HASH]
        leaves[place * HASH : place * HASH + HASH] = leaf or bytes(HASH)
    roots = roots_at(bytes(leaves), (one.size for one in known))
    start = 0
    for one in sorted(known, key=lambda one: one.size):
        if one.size > len(lines.numbers):
            raise Finding(f"entry {len(lines.numbers)}: missing")
        if roots[one.size] != one.root:
            raise Finding(f"entries {start}-{one.size - 1}: altered")
        start = one.size
    return bytes(leaves)


def _check_entries(lines: Lines, leaves: bytes, size: int) -> None:
    covered = _cover(lines, leaves, size)
    for place, number in enumerate(lines.numbers):
        if number != place:
            raise Finding(_judge_number(place, number))
        if place in lines.erased:
            if not covered[place]:
                raise Finding(f"entry {place}: erased without a record")
        elif place < size and lines.leaf(place) != leaves[place * HASH : place * HASH + HASH]:
            raise Finding(f"entry {place}: {_judge_content(lines, leaves, size, place)}")
    if len(lines.numbers) < size:
        raise Finding(f"entry {len(lines.numbers)}: missing")


def _judge_number(place: int, number: int) -> str:
    if number > place:
        return f"entry {place}: missing"
    return f"entry {number}: duplicated" if number >= 0 else f"entry {place}: inserted"


def _judge_content(lines: Lines, leaves: bytes, size: int, place: int) -> str:
    found, wanted = lines.leaf(place), leaves[place * HASH : place * HASH + HASH]
    is_next = lines.leaf(place + 1) == wanted
    at = leaves.find(found)
    while at % HASH and at >= 0:
        at = leaves.find(found, at + 1)
    if not 0 <= at < size * HASH:
        return "inserted" if is_next else "edited"
    if at < place * HASH:
        return "duplicated"
    is_gap = leaves[place * HASH + HASH : place * HASH + 2 * HASH] == found
    return "missing" if is_gap and not is_next else "reordered"


def _cover(lines: Lines, leaves: bytes, size: int) -> bytearray:
    """Which places signed records of erasure name: 1, else 0."""
    covered = bytearray(len(lines.numbers))
    for line, places in lines.erasures:
        own = lines.numbers[line]
        if not 0 <= own < size or leaves[own * HASH : own * HASH + HASH] != lines.leaf(line):
            continue
        for part in places.split(b","):
            first, _, last = part.partition(b"-")
            if first.isdigit() and (last or first).isdigit() and len(part) < 40:
                start, end = int(first), min(int(last or first) + 1, own, len(covered))
                covered[start:end] = b"\1" * (end - start)
    return covered


def _check_visit(bundle: Bundle, older: Checkpoint | None) -> str:
    newest, lines = bundle.newest, bundle.lines
    for one in chain(bundle.checkpoints, () if older is None else (older,)):
        if one is older and one.size == newest.size:
            continue
        path = bundle.growth.get(one.size)
        if path is None and one is older:
            raise Finding("old checkpoint: needs the whole log")
        if path is not None and not is_consistent(
            one.size, newest.size, path, one.root, newest.root
        ):
            name = "old checkpoint" if one is older else f"checkpoint {one.size}"
            raise Finding(f"{name}: forked")
    last = -1
    for line, number in enumerate(lines.numbers):
        if number <= last:
            raise Finding(f"entry {number}: {'duplicated' if number == last else 'reordered'}")
        last = number
        if line in lines.erased:
            raise Finding(f"entry {number}: erased without a record")
        if number not in bundle.proofs:
            raise Finding(f"entry {number}: missing")
        size, path = bundle.proofs[number]
        if size != newest.size or not is_included(
            lines.leaf(line), number, size, path, newest.root
        ):
            raise Finding(f"entry {number}: edited")
    shown = set(lines.numbers)
    for number in bundle.proofs:
        if number not in shown:
            raise Finding(f"entry {number}: missing")
    return f"OK: {len(lines.numbers)} entries of {newest.origin}, proved in a log of {newest.size}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify an export of the session log.")
    parser.add_argument("file", help="the export, a zip")
    parser.add_argument("--checkpoint", help="an older checkpoint or export")
    parser.add_argument("--key", help="the log's public key, as it is known from elsewhere")
    arguments = parser.parse_args()
    try:
        verdict = verify(arguments.file, arguments.checkpoint, arguments.key)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 2
    sys.stdout.write(f"{verdict}\n")
    return 0 if verdict.startswith("OK") else 1


if __name__ == "__main__":
    sys.exit(main())
