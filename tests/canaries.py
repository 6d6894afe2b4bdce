"""Words that must not be found: where visits put them, and how they are looked for.

Every canary holds one marker, so a search for the marker in all its forms finds every one of them.
Forms: UTF-8 and UTF-16, in any case; hexadecimal; Base64 of each alignment, also of UTF-16; and all
of these in what is compressed with zlib, gzip or raw deflate, at any offset that tells itself.
"""

from __future__ import annotations

import base64
import random
import string
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

MARKER: Final = "Zqxvwkjy"
PER_VISIT: Final = 50
_RANDOM_LETTERS: Final = 8
_MOST_PLAIN_BYTES: Final = 64 * 1024 * 1024
_HEADS: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b\x08")
_DEEPEST: Final = 2


class Canaries:
    """Gives new words; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.words: set[str] = set()

    def next(self) -> str:
        word = MARKER + "".join(self._random.choices(string.ascii_lowercase, k=_RANDOM_LETTERS))
        self.words.add(word)
        return word

    def some(self, count: int) -> str:
        """A text of so many."""
        return " ".join(self.next() for _ in range(count))


def find_all(name: str, content: bytes) -> list[str]:
    """Where the marker is, in whatever form: ``name: form``, empty when it is not there."""
    return [f"{name}: {form}" for form in sorted(set(_find(content, 0)))]


def find_in_folder(folder: Path) -> list[str]:
    """The same for every file below a folder, and for the names of the files."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found += find_all(f"name of {name}", name.encode())
        if path.is_file() and not path.is_symlink():
            with suppress(FileNotFoundError):  # a database that runs takes files away
                found += find_all(name, path.read_bytes())
    return found


def _find(content: bytes, depth: int) -> Iterator[str]:
    lower = content.lower()
    for form, pattern in _patterns():
        if pattern in (lower if form.startswith("text") else content):
            yield form
    if depth < _DEEPEST:
        for plain in _inflate_all(content):
            yield from (f"compressed {form}" for form in _find(plain, depth + 1))


@cache
def _patterns() -> list[tuple[str, bytes]]:
    patterns = []
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        patterns.append((f"text {encoding}", MARKER.lower().encode(encoding)))
        for word in (MARKER, MARKER.lower(), MARKER.upper()):
            encoded = word.encode(encoding)
            patterns.append((f"text hex of {encoding}", encoded.hex().encode()))
            patterns += [(f"base64 of {encoding}", core) for core in _base64_cores(encoded)]
    return patterns


def _base64_cores(content: bytes) -> Iterator[bytes]:
    """The letters that stand for ``content`` wherever it begins in a Base64 text, in both of its
    alphabets."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + content)
        first = -(-before * 8 // 6)
        last = (before + len(content)) * 8 // 6
        core = encoded[first:last]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _inflate_all(content: bytes) -> Iterator[bytes]:
    view = memoryview(content)
    for head in _HEADS:
        at = content.find(head)
        while at != -1:
            plain = _inflate(view[at:], zlib.MAX_WBITS | 32)
            if len(plain) > len(MARKER):
                yield plain
            at = content.find(head, at + 1)
    raw = _inflate(view, -zlib.MAX_WBITS)
    if len(raw) > len(MARKER):
        yield raw


def _inflate(content: memoryview, window: int) -> bytes:
    """As much as opens."""
    machine = zlib.decompressobj(window)
    plain = b""
    try:
        for start in range(0, len(content), 65_536):
            plain += machine.decompress(content[start : start + 65_536], _MOST_PLAIN_BYTES)
            if machine.eof:
                break
    except zlib.error:
        pass
    return plain
