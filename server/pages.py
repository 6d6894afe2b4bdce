"""Pages: Jinja2 with autoescape, the language of the request, and one way to answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from aiohttp import web
from markupsafe import Markup

from server.assets import Assets
from server.i18n import LANGUAGES, Translator, load_translators, pick_language

LANGUAGE_COOKIE: Final = "language"
_TEMPLATES: Final = Path(__file__).parent / "templates"


class Pages:
    """Renders templates for requests.

    Every template has ``_``, ``ngettext``, ``asset``, ``lang``, ``day``, ``time``,
    ``day_and_time``, ``dated``, ``dated_time``, ``birth_date``, ``with_article``
    and ``script_messages``.
    """

    def __init__(self, assets: Assets) -> None:
        self._translators = load_translators()
        self._environment = _load_environment(assets)

    def translator(self, request: web.Request) -> Translator:
        """The language of this request."""
        cookie = request.cookies.get(LANGUAGE_COOKIE)
        return self._translators[pick_language(cookie, request.headers.get("Accept-Language", ""))]

    def speak(self, words: Translator, template: str, macro: str, word: str) -> str:
        """What a macro of a template says for a word, for files that are no page."""
        module = self._environment.get_template(template).make_module({"_": words.gettext})
        return Markup(getattr(module, macro)(word)).unescape()  # noqa: S704 - it is taken apart

    @property
    def translators(self) -> Mapping[str, Translator]:
        """All languages."""
        return self._translators

    def render(
        self, request: web.Request, template: str, *, status: int = 200, **context: object
    ) -> web.Response:
        """A page; it is never stored by browsers or proxies."""
        text = self.write(self.translator(request), template, path=request.path, **context)
        return web.Response(text=text, status=status, content_type="text/html")

    def write(self, words: Translator, template: str, **context: object) -> str:
        """The text of a page in one language, also where nobody asks by a browser."""
        return self._environment.get_template(template).render(
            _=words.gettext,
            ngettext=words.ngettext,
            lang=words.language,
            day=words.day,
            time=words.time,
            day_and_time=words.day_and_time,
            dated=words.dated,
            dated_time=words.dated_time,
            birth_date=words.birth_date,
            with_article=words.with_article,
            script_messages=words.script_messages,
            **context,
        )


def json_response(content: Mapping[str, object], *, status: int = 200) -> web.Response:
    """A JSON answer for the ES modules."""
    return web.Response(text=json.dumps(content), status=status, content_type="application/json")


@cache
def _load_environment(assets: Assets) -> jinja2.Environment:
    """The templates, each compiled once in a process."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json_data"] = _json_data
    environment.globals.update(asset=assets.url, languages=LANGUAGES)
    return environment


def _json_data(value: Any) -> Markup:
    """JSON that is safe inside ``<script type="application/json">``."""
    text = json.dumps(value, ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - the three dangerous characters are escaped above
