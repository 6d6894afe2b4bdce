"""From a blank machine to the first log-in by the documented commands, with nothing left open."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pyotp
import pytest

from tests.commands import ACCANTO, clean_environment
from tests.test_cli import Installation
from tests.visitors import OWN_PAGE, Answer, Visitor

INIT = ("init", "--code", "090203", "--name", "Azienda USL", "--desk-phone", "055 123 4567")


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[str]:
    """The server as systemd starts it; gives its address."""
    with subprocess.Popen(
        [ACCANTO, "serve", "--data", folder],
        env=clean_environment(ACCANTO_PORT="0", **environment),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        found = next(
            match for line in process.stderr if (match := re.search(r"on port (\d+)", line))
        )
        yield f"http://127.0.0.1:{found[1]}"
        process.kill()


class _Texts(HTMLParser):
    """The texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def _find_secret(page: Answer) -> str:
    """The key that an authenticator application is given."""
    parser = _Texts()
    parser.feed(page.text)
    (found,) = {text for text in parser.texts if re.fullmatch(r"[A-Z2-7 ]{32,}", text)}
    return found.replace(" ", "")


def _cookie_of(answer: Answer) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2]


async def test_blank_machine_to_the_first_log_in(tmp_path: Path) -> None:
    os.umask(0o022)
    new = Installation(tmp_path / "data")
    said = await asyncio.to_thread(new.succeed, *INIT, "--given-name", "Ugo")
    password = re.search(r"Password\s+(\S+)", said)
    assert password is not None
    assert len(password[1]) == 24

    with serving(new.folder) as origin:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            stranger = Visitor(session, origin)
            form = {"username": "amministratore", "password": password[1]}
            half = await stranger.ask("POST", "/login", OWN_PAGE, data=form)
            assert half.status == 303
            visitor = Visitor(session, origin, {"session": _cookie_of(half)})
            assert (await visitor.get("/admin")).status != 200
            secret = _find_secret(await visitor.get(half.location))
            code = pyotp.TOTP(secret).now()
            whole = await visitor.ask("POST", half.location, OWN_PAGE, data={"code": code})
            assert whole.status == 303
            administrator = Visitor(session, origin, {"session": _cookie_of(whole)})
            first_page = await administrator.get(whole.location)

    assert (whole.location, first_page.status) == ("/admin", 200)
    modes = {path: path.stat().st_mode for path in (new.folder, *new.folder.rglob("*"))}
    assert all(stat.S_IMODE(mode) & 0o077 == 0 for mode in modes.values()), modes
    checked = await asyncio.to_thread(new, "check")
    assert checked.returncode == 0, checked.stdout


def test_init_is_done_once(tmp_path: Path) -> None:
    new = Installation(tmp_path / "data")
    new.succeed(*INIT)

    assert "has an organisation" in new.fail(*INIT)


def test_address_is_kept_and_must_be_sealed(tmp_path: Path) -> None:
    new = Installation(tmp_path / "data")
    assert "https" in new.fail(*INIT, "--base-url", "http://visite.example.it")

    new.succeed(*INIT, "--base-url", "https://visite.example.it")

    assert "ACCANTO_BASE_URL = https://visite.example.it" in new.succeed("settings")
    assert stat.S_IMODE((new.folder / "accanto.env").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["TURN_SECRET", "METRICS_TOKEN"])
def test_nothing_is_served_with_a_secret_that_everybody_knows(tmp_path: Path, name: str) -> None:
    new = Installation(tmp_path / "data", **{f"ACCANTO_{name}": "changeme", "ACCANTO_PORT": "0"})

    assert "placeholder" in new.fail("serve")


def test_password_is_set_anew(tmp_path: Path) -> None:
    new = Installation(tmp_path / "data")
    new.succeed(*INIT)

    new.succeed("user", "password", "amministratore", "--password-stdin", stdin="ventaglio-44-x\n")

    assert "no user nobody" in new.fail(
        "user", "password", "nobody", "--password-stdin", stdin="ventaglio-44-x\n"
    )
    assert "too short" in new.fail(
        "user", "password", "amministratore", "--password-stdin", stdin="corta\n"
    )
