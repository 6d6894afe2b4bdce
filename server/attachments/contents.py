"""What a file is, decided by its bytes: its name and what the browser calls it do not count.

Allowed are PDF, JPEG and PNG (``security.md`` W9). Pictures are made anew from their pixels;
a PDF is kept as it is and only ever served as a download.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from recordings.picturehost import PictureHost, PictureUnfit

PDF: Final = "application/pdf"
EXTENSIONS: Final = {PDF: "pdf", "image/jpeg": "jpg", "image/png": "png"}
_PICTURE_STARTS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_PDF_START: Final = re.compile(rb"%PDF-[12]\.\d")
_PDF_END: Final = b"%%EOF"
_PDF_TAIL_BYTES: Final = 1024
"""ISO 32000-1 annex H.3.18: readers look for the end of the file in so much of it."""
_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"}
)
_LONGEST_NAME: Final = 100


class Problem(StrEnum):
    """Why a file is not taken."""

    MISSING = "missing"
    TOO_LARGE = "too_large"
    TOO_MANY_FILES = "too_many_files"
    TOO_MANY_PIXELS = "too_many_pixels"
    HEIC = "heic"
    UNKNOWN_TYPE = "unknown_type"
    DAMAGED = "damaged"
    TOO_SLOW = "too_slow"


class FileRefused(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is kept. ``width`` and ``height`` are 0 for a document."""

    media_type: str
    content: bytes
    width: int = 0
    height: int = 0


async def prepare(pictures: PictureHost, content: bytes) -> Prepared:
    """A file as it is kept.

    :raises FileRefused: not one of the three kinds, damaged, or too many pixels.
    """
    if _PDF_START.match(content):
        if _PDF_END not in content[-_PDF_TAIL_BYTES:]:
            raise FileRefused(Problem.DAMAGED)
        return Prepared(PDF, content)
    if not content.startswith(_PICTURE_STARTS):
        is_heif = content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS
        raise FileRefused(Problem.HEIC if is_heif else Problem.UNKNOWN_TYPE)
    try:
        made = await pictures.make_anew(content)
    except PictureUnfit as error:
        raise FileRefused(Problem(error.problem.value)) from error
    return Prepared(made.media_type, made.content, made.width, made.height)


def clean_name(name: str) -> str:
    """A file name to show: one line, no folder, nothing that turns the writing around."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(
        char for char in last if unicodedata.category(char)[0] not in "CZ" or char == " "
    )
    return shown.strip()[:_LONGEST_NAME]
