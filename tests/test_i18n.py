"""Every sentence that people read is in the Italian catalogues, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import jinja2
import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from server.i18n import LANGUAGES, Translator, pick_language

ROOT = Path(__file__).parent.parent
CATALOGUES = sorted((ROOT / "server" / "locales" / "it").glob("*.po"))
SCRIPT_CATALOGUE = "js.po"
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
SAME_IN_BOTH = {
    "Agenda", "Banana", "Cactus", "Chat", "E-mail", "Link", "Panda", "Password", "Pizza", "Robot",
    "SMS", "caregiver", "chat", "e-mail", "link", "no", "password",
}  # fmt: skip
"""Words that are written alike in English and Italian."""
NAMES_IN_TEMPLATES = {"Accanto", "Italiano", "English"}
READ_ATTRIBUTES = re.compile(r'\b(?:aria-label|title|placeholder|alt|data-label)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Use:
    """A sentence where it is used."""

    where: str
    msgid: str
    plural: str


def extract_uses(method: str, paths: list[Path]) -> Iterator[Use]:
    for path in paths:
        with path.open("rb") as file:
            for line, message, _comments, _context in extract(
                method, file, keywords=KEYWORDS, options={"encoding": "utf-8"}
            ):
                one, many = message if isinstance(message, tuple) else (message, "")
                yield Use(f"{path.relative_to(ROOT)}:{line}", one, many)


def server_uses() -> list[Use]:
    folder = ROOT / "server" / "templates"
    templates = sorted([*folder.rglob("*.html"), *folder.rglob("*.txt")])
    modules = sorted((ROOT / "server").rglob("*.py"))
    return [
        *extract_uses("jinja2.ext:babel_extract", templates),
        *extract_uses("python", modules),
    ]


def script_uses() -> list[Use]:
    return list(extract_uses("javascript", sorted((ROOT / "static" / "js").rglob("*.js"))))


def messages_of(path: Path) -> list[Message]:
    with path.open("rb") as file:
        return [message for message in read_po(file, locale="it") if message.id]


def msgid_of(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def server_messages() -> dict[str, Message]:
    return {
        msgid_of(message): message
        for path in CATALOGUES
        if path.name != SCRIPT_CATALOGUE
        for message in messages_of(path)
    }


def script_messages() -> dict[str, Message]:
    [path] = [path for path in CATALOGUES if path.name == SCRIPT_CATALOGUE]
    return {msgid_of(message): message for message in messages_of(path)}


def forms(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string)


@pytest.mark.parametrize("area", ["server", "script"])
def test_every_sentence_has_its_italian(area: str) -> None:
    uses, known = _area(area)

    missing = [f"{use.where}: {use.msgid}" for use in uses if use.msgid not in known]

    assert missing == []


@pytest.mark.parametrize("area", ["server", "script"])
def test_no_sentence_of_the_catalogues_is_unused(area: str) -> None:
    uses, known = _area(area)

    assert sorted(known.keys() - {use.msgid for use in uses}) == []


def test_plural_sentences_have_both_forms() -> None:
    known = server_messages()

    wrong = [use.msgid for use in server_uses() if use.plural and len(forms(known[use.msgid])) != 2]

    assert wrong == []


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.name)
def test_catalogue_is_complete_and_italian(path: Path) -> None:
    for message in messages_of(path):
        for form in forms(message):
            assert form.strip(), f"not translated: {message.id}"
            assert form not in _ids(message) or form in SAME_IN_BOTH, f"still English: {form}"
        assert "fuzzy" not in message.flags, message.id


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.name)
def test_placeholders_are_kept(path: Path) -> None:
    def placeholders(text: str) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", text))

    for message in messages_of(path):
        wanted = set().union(*(placeholders(text) for text in _ids(message)))
        for form in forms(message):
            assert placeholders(form) <= wanted, form
        assert placeholders(forms(message)[-1]) == wanted, message.id


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.name)
def test_nobody_reads_the_word_error(path: Path) -> None:
    texts = " ".join(form for message in messages_of(path) for form in forms(message))

    assert not re.search(r"\berror[ei]\b", texts, re.IGNORECASE)


def test_one_sentence_has_one_translation() -> None:
    found: dict[str, set[tuple[str, ...]]] = {}
    for path in CATALOGUES:
        for message in messages_of(path):
            found.setdefault(msgid_of(message), set()).add(forms(message))

    assert {msgid for msgid, translations in found.items() if len(translations) > 1} == set()


@pytest.mark.parametrize(
    "path",
    sorted(path for path in (ROOT / "server" / "templates").rglob("*.*") if path.is_file()),
    ids=lambda path: path.name,
)
def test_template_holds_no_words_of_its_own(path: Path) -> None:
    source = re.sub(r"\{% block body_class %\}.*?\{% endblock %\}", "", path.read_text())
    tokens = jinja2.Environment(autoescape=True).lex(source)
    text = "".join(value if kind == "data" else "\0" for _line, kind, value in tokens)
    attributes = " ".join(READ_ATTRIBUTES.findall(text))
    text = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", text, flags=re.DOTALL)

    words = set(re.findall(r"[^\W\d_]{2,}", re.sub(r"&\w+;", " ", text + attributes)))

    assert words <= NAMES_IN_TEMPLATES


def test_dates_are_said_in_rome() -> None:
    evening = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)

    assert Translator("it").day_and_time(evening) == "venerdì 27 novembre, ore 00:30"
    assert Translator("en").day_and_time(evening) == "Friday, 27 November, at 00:30"
    assert Translator("it").dated_time(evening) == "venerdì 27 novembre 2026, ore 00:30"
    assert Translator("it").birth_date(date(1948, 3, 12)) == "12/03/1948"


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, "", "it"),
        (None, "de-DE,de;q=0.9", "it"),
        (None, "en-GB,en;q=0.9", "en"),
        (None, "fr,it;q=0.8,en;q=0.7", "it"),
        ("en", "it-IT", "en"),
        ("xx", "en", "en"),
    ],
)
def test_language_is_the_persons_choice_else_the_browsers(
    cookie: str | None, accepted: str, language: str
) -> None:
    assert pick_language(cookie, accepted) == language


def test_both_languages_count() -> None:
    said = {
        language: [
            Translator(language).ngettext("{count} visit.", "{count} visits.", count)
            for count in (0, 1, 2)
        ]
        for language in LANGUAGES
    }

    assert said["en"] == ["0 visits.", "1 visit.", "2 visits."]
    assert said["it"] == ["0 visite.", "1 visita.", "2 visite."]


def _area(area: str) -> tuple[list[Use], dict[str, Message]]:
    if area == "script":
        return script_uses(), script_messages()
    return server_uses(), server_messages()


def _ids(message: Message) -> tuple[str, ...]:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)
