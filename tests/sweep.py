"""Looks for words that must not be anywhere: in every file of a folder, in every usual coding.

A canary is found in UTF-8, UTF-16, base64 (at each of its three alignments), hexadecimal, JSON
and URL coding, in database files and their write-ahead logs as well as in logs and output.
"""

from __future__ import annotations

import base64
import binascii
import json
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Find:
    """A canary that was met. ``canary`` is its name, never its text."""

    canary: str
    coding: str
    file: Path


def find_canaries(canaries: Mapping[str, str], places: Sequence[Path]) -> list[Find]:
    """Every meeting of a canary (name → text) in files and folders.

    :raises ValueError: a canary is too short to be told from chance.
    """
    needles = [
        (name, coding, needle)
        for name, text in canaries.items()
        for coding, needle in _codings(name, text)
    ]
    return [
        Find(name, coding, file)
        for file in _files(places)
        for content in _read(file)
        for name, coding, needle in needles
        if needle in content
    ]


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.is_file())
        elif place.exists():
            yield place
        else:
            raise FileNotFoundError(place)


def _read(file: Path) -> Iterator[bytes]:
    """Nothing of a file that a running server has renamed or deleted since it was listed."""
    with suppress(FileNotFoundError):
        yield file.read_bytes()


def _codings(name: str, text: str) -> Iterator[tuple[str, bytes]]:
    if len(text) < 6:
        raise ValueError(f"the canary {name} is too short")
    plain = text.encode()
    yield "utf-8", plain
    yield "utf-16-le", text.encode("utf-16-le")
    yield "utf-16-be", text.encode("utf-16-be")
    yield "hex", binascii.hexlify(plain)
    yield "HEX", binascii.hexlify(plain).upper()
    yield "json", json.dumps(text)[1:-1].encode()
    yield "url", urllib.parse.quote(text).encode()
    yield "form", urllib.parse.quote_plus(text).encode()
    for shift in range(3):
        # What stands beside the canary changes its first and last characters in base64.
        coded = base64.b64encode(b"\0" * shift + plain)[(0, 2, 3)[shift] :].rstrip(b"=")
        yield f"base64 +{shift}", coded[:-1]
        yield f"base64url +{shift}", coded[:-1].replace(b"+", b"-").replace(b"/", b"_")
