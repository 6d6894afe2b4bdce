"""The words of our pages, for files."""

from __future__ import annotations

from typing import Final

from server.i18n import Translator
from server.pages import Pages

_OF_THE_LOG: Final = "staff/sessions_words.html"
_OF_THE_FILES: Final = "staff/sessions_export_words.html"
_OF_FACTS: Final = "staff/sessions_facts.html"
_MACROS: Final = {
    **dict.fromkeys(("act", "role", "result", "bar", "problem", "verdict", "device"), _OF_THE_LOG),
    **dict.fromkeys(
        ("column", "side", "cause", "path", "reason", "score", "profession"), _OF_THE_FILES
    ),
    "word_of": _OF_FACTS,
}


class Spoken:
    """What people read for a word, in one language. Of a large file each word is asked for once."""

    def __init__(self, pages: Pages, words: Translator) -> None:
        self.words = words
        self._pages = pages
        self._known: dict[tuple[str, str], str] = {}

    def __call__(self, kind: str, word: str) -> str:
        """``kind``: a macro of the templates, for instance ``act``."""
        if (kind, word) not in self._known:
            said = self._pages.speak(self.words, _MACROS[kind], kind, word)
            self._known[kind, word] = said.strip()
        return self._known[kind, word]
