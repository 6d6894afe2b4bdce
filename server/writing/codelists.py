"""Lists of codes that the operator supplies: ICD-9-CM and the nomenclature of services.

The lists are not part of Accanto (their licences are their editors'). A file is taken whole or not
at all: with one bad line nothing changes, and every bad line is named. A new file takes the place
of the list before it; notes keep the codes and words that were chosen.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import OrganisationId
from server.models import CodeListEntry, CodeSystem, Organisation
from server.sealed import Coding

MOST_HITS: Final = 20
MAX_VERSION: Final = 32
_MAX_CODE, _MAX_DISPLAY, _MAX_SEARCH = 32, 500, 600
_SEPARATORS: Final = ";,\t"
_HEADINGS: Final = frozenset({"code", "codice", "cod", "cod."})
_CODE: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]*")
_ROWS_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class CodeLine:
    """One code of a file."""

    code: str
    display: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """What is wrong with one line; ``field``: ``code``, ``display`` or ``line``."""

    line: int
    field: str
    reason: str


def parse_code_file(content: bytes) -> tuple[list[CodeLine], list[BadLine]]:
    """The codes of a CSV file ``code,display`` and its bad lines.

    The separator is a comma, semicolon or tab (the first that the file has); the text is UTF-8,
    with or without BOM, else Windows-1252. A line of headings and the same line twice are passed
    over.
    """
    text = _decoded(content)
    reader = csv.reader(io.StringIO(text), delimiter=_separator_of(text))
    known: dict[str, CodeLine] = {}
    bad: list[BadLine] = []
    is_first = True
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or (is_first and cells[0].lower() in _HEADINGS):
            is_first = is_first and not any(cells)
            continue
        is_first = False
        problem = _problem_of(cells)
        entry = None if problem else CodeLine(cells[0], cells[1])
        if entry is not None and known.setdefault(entry.code, entry) != entry:
            problem = ("code", "is there twice with other words")
        if problem:
            bad.append(BadLine(reader.line_num, *problem))
    return list(known.values()), bad


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _separator_of(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return next((letter for letter in first if letter in _SEPARATORS), ",")


def _problem_of(cells: Sequence[str]) -> tuple[str, str] | None:
    if len(cells) < 2 or not cells[1]:
        return ("display", "is missing")
    if any(cells[2:]):
        return ("line", "has more than two fields; a text with the separator goes in quotes")
    if not cells[0]:
        return ("code", "is missing")
    if len(cells[0]) > _MAX_CODE or not _CODE.fullmatch(cells[0]):
        return ("code", "is not a code")
    if len(cells[1]) > _MAX_DISPLAY:
        return ("display", f"is longer than {_MAX_DISPLAY} characters")
    if "\ufffd" in cells[1] or any(ord(letter) < 32 for letter in cells[1]):
        return ("display", "has letters that cannot be read")
    return None


async def replace_list(
    session: AsyncSession,
    system: CodeSystem,
    lines: Sequence[CodeLine],
    *,
    version: str,
    now: datetime,
) -> None:
    """The list of the installation becomes this one; written in the log of every organisation.

    ``session`` is of :data:`server.db.EVERY_ORGANISATION`: lists belong to the installation.
    """
    await session.execute(delete(CodeListEntry).where(CodeListEntry.system == system))
    rows = [
        {
            "system": system,
            "code": line.code,
            "display": line.display,
            "search_text": _search_text(line),
            "list_version": version,
        }
        for line in lines
    ]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        await session.execute(insert(CodeListEntry), rows[start : start + _ROWS_AT_ONCE])
    facts: dict[str, Fact] = {"system": system.value, "version": version, "codes": len(rows)}
    entry = Entry(now, Act.CODE_LIST_LOADED, ActorRole.SYSTEM, facts=facts)
    for organisation in await session.scalars(select(Organisation.id)):
        await append(session, OrganisationId(organisation), entry)


async def search_codes(session: AsyncSession, system: CodeSystem, sought: str) -> list[Coding]:
    """Up to :data:`MOST_HITS` codes that begin with the text or have a word for each of its
    words, whatever the accents."""
    words = _words_of(sought)
    if not words:
        return []
    rows = select(CodeListEntry).where(CodeListEntry.system == system)
    for word in words:
        rows = rows.where(CodeListEntry.search_text.contains(f" {word}", autoescape=True))
    is_code = CodeListEntry.search_text.startswith(f" {words[0]}", autoescape=True)
    rows = rows.order_by(
        case((is_code, 0), else_=1), func.length(CodeListEntry.display), CodeListEntry.code
    )
    return [
        Coding(
            system=row.system.value,
            code=row.code,
            display=row.display,
            list_version=row.list_version,
        )
        for row in await session.scalars(rows.limit(MOST_HITS))
    ]


def _search_text(line: CodeLine) -> str:
    """Each word after a space: the code as it is and without its points, then the words."""
    code = line.code.lower()
    words = re.sub(r"[^0-9a-z]+", " ", _fold(line.display))
    return f" {code} {re.sub('[^0-9a-z]', '', code)} {words}"[:_MAX_SEARCH]


def _words_of(sought: str) -> list[str]:
    """A word with a digit may be a code and keeps its points."""
    return [
        part
        for word in _fold(sought[:100]).split()
        for part in ([word] if any(map(str.isdigit, word)) else re.split(r"[^0-9a-z]+", word))
        if part
    ]


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).lower()
