"""What people read: gettext catalogues, and dates as people say them.

Msgids are English; the Italian sentences are in ``locales/it/*.po``, one file per area, merged at
start. ``js.po`` holds the sentences of the ES modules and travels to them in the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.messages.pofile import read_po

ROME: Final = ZoneInfo("Europe/Rome")
LANGUAGES: Final = ("it", "en")
DEFAULT_LANGUAGE: Final = "it"
_LOCALES: Final = Path(__file__).parent / "locales"
_SCRIPT_CATALOGUE: Final = "js.po"
_ARTICLES: Final = {"dott.": "il", "prof.": "il", "dott.ssa": "la", "prof.ssa": "la"}


class Translator:
    """One language: texts, plurals, dates."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.script_messages = _load(_LOCALES / language / _SCRIPT_CATALOGUE)
        self._messages: dict[str, str | tuple[str, ...]] = {}
        for path in sorted((_LOCALES / language).glob("*.po")):
            self._messages.update(_load(path))

    def gettext(self, message: str, /, **values: object) -> str:
        """The sentence in this language; an unknown one stays as it is."""
        found = self._messages.get(message, message)
        text = found if isinstance(found, str) else found[0]
        return text.format(**values) if values else text

    def ngettext(self, one: str, many: str, count: int, /, **values: object) -> str:
        """The sentence for a count; ``{count}`` is filled in."""
        found = self._messages.get(one, (one, many))
        forms = (found, found) if isinstance(found, str) else found
        return forms[0 if count == 1 else -1].format(count=count, **values)

    def with_article(self, doctor: str) -> str:
        """``la dott.ssa Anna Bianchi``: Italian puts an article before a title in a sentence."""
        title = doctor.split(" ", 1)[0].lower()
        article = _ARTICLES.get(title) if self.language == "it" else None
        return f"{article} {doctor}" if article else doctor

    def day(self, moment: datetime | date) -> str:
        """``giovedì 26 novembre``, in Europe/Rome."""
        local = moment.astimezone(ROME).date() if isinstance(moment, datetime) else moment
        return _day_in_words(self.language, local)

    def month(self, day: date) -> str:
        """``novembre 2026``."""
        return format_date(day, "LLLL yyyy", locale=self.language)

    def birth_date(self, moment: date) -> str:
        """``12/03/1948``."""
        return moment.strftime("%d/%m/%Y")

    def time(self, moment: datetime) -> str:
        """``10:40``, in Europe/Rome."""
        return moment.astimezone(ROME).strftime("%H:%M")

    def day_and_time(self, moment: datetime) -> str:
        """``giovedì 26 novembre, ore 10:40``."""
        return self._timed(self.day(moment), moment)

    def dated(self, moment: datetime) -> str:
        """``giovedì 26 novembre 2026``: for what may be years ago."""
        return f"{self.day(moment)} {moment.astimezone(ROME).year}"

    def dated_time(self, moment: datetime) -> str:
        """``giovedì 26 novembre 2026, ore 10:40``."""
        return self._timed(self.dated(moment), moment)

    def _timed(self, day: str, moment: datetime) -> str:
        joint = ", ore " if self.language == "it" else ", at "
        return day + joint + self.time(moment)


@lru_cache(4096)
def _day_in_words(language: str, day: date) -> str:
    pattern = "EEEE d MMMM" if language == "it" else "EEEE, d MMMM"
    return format_date(day, pattern, locale=language)


def time_with_seconds(moment: datetime) -> str:
    """``10:40:07``, in Europe/Rome: alike in every language."""
    return moment.astimezone(ROME).strftime("%H:%M:%S")


@cache
def load_translators() -> Mapping[str, Translator]:
    """All languages, read once in a process."""
    return {language: Translator(language) for language in LANGUAGES}


def pick_language(cookie: str | None, accepted: str) -> str:
    """The language of a request: what the person chose, else Italian unless the browser asks for
    English and not for Italian."""
    if cookie in LANGUAGES:
        return cookie
    wanted = [part.split(";")[0].strip().lower()[:2] for part in accepted.split(",")]
    return next((language for language in wanted if language in LANGUAGES), DEFAULT_LANGUAGE)


def _load(path: Path) -> dict[str, str | tuple[str, ...]]:
    if not path.exists():
        return {}
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parent.name, abort_invalid=True)
    found: dict[str, str | tuple[str, ...]] = {}
    for message in catalogue:
        if message.id and message.string:
            key = message.id if isinstance(message.id, str) else message.id[0]
            text = message.string
            found[key] = text if isinstance(text, str) else tuple(text)
    return found
