"""What may be in a note: cleaned and measured before it is sealed.

``note-content.js`` cleans by the same rules, so that what a page holds equals what it is answered.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

from server.errors import InvalidInput
from server.models import CodeSystem
from server.sealed import Coding, NoteContent, Section

MAX_SECTION: Final = 40_000
"""Characters; a note of before 0004 is one section of up to so many."""
MAX_CHARACTERS: Final = 60_000
"""Of a whole note: fits into the largest body, four bytes each."""
MAX_CODES: Final = 20
_MAX_CODE, _MAX_DISPLAY, _MAX_VERSION, _MAX_ID = 32, 500, 32, 32

_NOT_IN_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""XML 1.0 §2.2: the note becomes a CDA document."""
_BLANK: Final = " \t\n\u00a0"


class NoteForm(NoteContent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a page saves. A page of before sections is refused: its text stays in its browser."""


def cleaned(content: NoteContent) -> NoteContent:
    """The note without empty sections and without what a document cannot hold.

    :raises InvalidInput: too long, or a code of another list; the field is named.
    """
    sections = {
        section: text
        for section in Section
        if (text := clean_text(content.text_of(section))).strip(_BLANK)
    }
    for section, text in sections.items():
        if len(text) > MAX_SECTION:
            raise InvalidInput(f"sections.{section}", "too_long")
    if sum(map(len, sections.values())) > MAX_CHARACTERS:
        raise InvalidInput("sections", "too_long")
    if len(content.template_id) > _MAX_ID:
        raise InvalidInput("template_id", "malformed")
    return NoteContent(
        sections=sections,
        question_codes=_checked(content.question_codes, "question_codes", CodeSystem.ICD9_CM),
        diagnosis_codes=_checked(content.diagnosis_codes, "diagnosis_codes", CodeSystem.ICD9_CM),
        services=_checked(content.services, "services", CodeSystem.SERVICES),
        template_id=content.template_id,
    )


def digest_of(content: NoteContent) -> str:
    """What a page knows a version by before it has its number; ``digestOf`` in note-content.js."""
    lists = (content.question_codes, content.diagnosis_codes, content.services)
    keys = [[f"{code.system}|{code.code}" for code in codes] for codes in lists]
    whole = [sorted(content.sections.items()), keys, content.template_id]
    return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()


def clean_text(text: str) -> str:
    return _NOT_IN_XML.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _checked(codes: list[Coding], field: str, system: CodeSystem) -> list[Coding]:
    if len(codes) > MAX_CODES:
        raise InvalidInput(field, "too_many")
    for code in codes:
        is_well = code.system == system and 0 < len(code.code) <= _MAX_CODE
        is_short = len(code.display) <= _MAX_DISPLAY and len(code.list_version) <= _MAX_VERSION
        if not is_well or not is_short or _NOT_IN_XML.search(code.code + code.display):
            raise InvalidInput(field, "malformed")
    return list({code.code: code for code in codes}.values())
