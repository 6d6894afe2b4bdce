"""The hashes of the session log (RFC 9162 §2.1, the same as RFC 6962). Pure.

A leaf is one entry: UTF-8 of its canonical JSON. All hashes are 32 bytes of SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Protocol

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()


class BadProof(ValueError):
    """A proof that does not show what it should."""


def hash_leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """What is needed of a tree to make it grow: the roots of its perfect subtrees, the largest
    first, as many as its size has one bits."""

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        if len(roots) != size.bit_count() or any(len(root) != HASH_BYTES for root in roots):
            raise ValueError("these roots are not of a tree of this size")
        self.size = size
        self._roots = list(roots)

    @classmethod
    def decode(cls, size: int, packed: bytes) -> Frontier:
        """:raises ValueError: ``packed`` is not of a tree of this size."""
        if len(packed) % HASH_BYTES:
            raise ValueError("not a whole number of hashes")
        return cls(size, split_hashes(packed))

    def encode(self) -> bytes:
        return b"".join(self._roots)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes, in order."""
        for leaf in leaves:
            root, size = leaf, self.size
            while size & 1:
                root = hash_node(self._roots.pop(), root)
                size >>= 1
            self._roots.append(root)
            self.size += 1

    def root(self) -> bytes:
        """The tree's root; of no leaves the hash of nothing."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = hash_node(left, root)
        return root


def split_hashes(packed: bytes) -> list[bytes]:
    return [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


class Subtrees(Protocol):
    """Where hashes of a stored tree come from."""

    async def root(self, start: int, end: int) -> bytes:
        """The root over the leaves ``start`` to ``end - 1``, where ``end - start`` is a power of
        two that divides ``start``."""


async def prove_inclusion(tree: Subtrees, index: int, size: int) -> list[bytes]:
    """That the leaf at ``index`` is in the tree of ``size`` leaves (RFC 9162 §2.1.3.1).

    :raises ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _largest_power_below(end - start)
        if index < middle:
            path.append(await subtree_root(tree, middle, end))
            end = middle
        else:
            path.append(await subtree_root(tree, start, middle))
            start = middle
    return path[::-1]


async def prove_consistency(tree: Subtrees, first: int, second: int) -> list[bytes]:
    """That the tree of ``first`` leaves is the beginning of the one of ``second`` (RFC 9162
    §2.1.4.1); empty for equal sizes, and for an empty first tree.

    :raises ValueError: the first is larger.
    """
    if not 0 <= first <= second:
        raise ValueError("the older tree is larger than the newer one")
    if first in {0, second}:
        return []
    path: list[bytes] = []
    start, end, is_whole = 0, second, True
    while first != end:
        middle = start + _largest_power_below(end - start)
        if first <= middle:
            path.append(await subtree_root(tree, middle, end))
            end = middle
        else:
            path.append(await subtree_root(tree, start, middle))
            start, is_whole = middle, False
    if not is_whole:
        path.append(await subtree_root(tree, start, end))
    return path[::-1]


async def subtree_root(tree: Subtrees, start: int, end: int) -> bytes:
    """The root over any range that starts at a multiple of a power of two not below its size."""
    roots: list[bytes] = []
    while start < end:
        size = 1 << ((end - start).bit_length() - 1)
        roots.append(await tree.root(start, start + size))
        start += size
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = hash_node(left, root)
    return root


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 §2.1.3.2.

    :raises BadProof: the leaf is not shown to be there.
    """
    if not 0 <= index < size:
        raise BadProof("no such leaf")
    place, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise BadProof("the path is too long")
        if place & 1 or place == last:
            found = hash_node(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = hash_node(found, step)
        place, last = place >> 1, last >> 1
    if last != 0 or found != root:
        raise BadProof("the path does not lead to the root")


def check_consistency(
    first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    """RFC 9162 §2.1.4.2.

    :raises BadProof: the older tree is not shown to be the beginning of the newer one.
    """
    if not 0 <= first <= second:
        raise BadProof("the older tree is larger than the newer one")
    if first in {0, second}:
        wanted = EMPTY_ROOT if first == 0 else second_root
        if path or first_root != wanted:
            raise BadProof("trees of one size have two roots, or nothing needs no path")
        return
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)
    if not steps:
        raise BadProof("the path is empty")
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    older = newer = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise BadProof("the path is too long")
        if place & 1 or place == last:
            older, newer = hash_node(step, older), hash_node(step, newer)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            newer = hash_node(newer, step)
        place, last = place >> 1, last >> 1
    if last != 0 or older != first_root or newer != second_root:
        raise BadProof("the path does not join the two roots")


def _largest_power_below(size: int) -> int:
    """The largest power of two that is smaller than ``size`` (RFC 9162's k)."""
    return 1 << ((size - 1).bit_length() - 1)
