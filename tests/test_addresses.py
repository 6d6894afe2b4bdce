"""Behind proxies the client is who the nearest trusted one names; nobody names himself."""

from __future__ import annotations

import itertools
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest

from server.addresses import find_client
from server.errors import CommandFailed
from server.models import User
from server.services import SETTINGS
from server.settings import load_settings
from server.throttle import FREE_ATTEMPTS, FREE_ATTEMPTS_OF_ADDRESS
from tests.conftest import Cast
from tests.visitors import OWN_PAGE, Answer, Site, site

__all__ = ["site"]

TRUSTED = [ip_network("127.0.0.1/32"), ip_network("10.0.0.0/24"), ip_network("fd00::/64")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("127.0.0.1", "10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("127.0.0.1", "1.1.1.1, nonsense", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1, , 10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.1", "2001:db8::5", "2001:db8::5"),
        ("fd00::1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("", "1.1.1.1", None),
    ],
)
def test_client_is_the_rightmost_that_no_trusted_proxy_has(
    peer: str, forwarded: str, client: str | None
) -> None:
    found = find_client(peer, forwarded.split(","), TRUSTED)

    assert (str(found) if found else None) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert str(find_client("127.0.0.1", ["203.0.113.9"], [])) == "127.0.0.1"


@pytest.fixture
def names(cast: Cast) -> list[str]:
    """Of people, so many that nobody's own failures slow the guesses down; a wrong password of
    theirs is cheap to refuse."""
    teams = (cast.toscana, cast.emilia)
    people = [getattr(team, part.name) for team in teams for part in fields(team)]
    found = [person.username for person in people if isinstance(person, User)]
    assert FREE_ATTEMPTS * len(found) > FREE_ATTEMPTS_OF_ADDRESS + 2
    return found


async def _guess(site: Site, name: str, forwarded: str) -> Answer:
    form = {"username": name, "password": "sbagliata-44"}
    headers = {**OWN_PAGE, "X-Forwarded-For": forwarded}
    return await site.stranger.ask("POST", "/login", headers, data=form)


async def test_a_client_cannot_write_itself_a_new_address(
    site: Site, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.login.REFUSAL_SECONDS", 0.0)
    guesses = itertools.cycle(names)
    for number in range(FREE_ATTEMPTS_OF_ADDRESS):
        forwarded = f"198.51.100.{number}, 203.0.113.9"
        assert (await _guess(site, next(guesses), forwarded)).status == 401

    assert (await _guess(site, next(guesses), "192.0.2.200, 203.0.113.9")).status == 429
    assert (await _guess(site, next(guesses), "203.0.113.10")).status == 401


async def test_who_is_no_trusted_proxy_is_not_believed(
    site: Site, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.login.REFUSAL_SECONDS", 0.0)
    settings = site.app[SETTINGS].model_copy(update={"trusted_proxies": ["10.0.0.0/24"]})
    site.app._state[SETTINGS] = settings  # the running application is frozen
    guesses = itertools.cycle(names)
    for number in range(FREE_ATTEMPTS_OF_ADDRESS):
        await _guess(site, next(guesses), f"198.51.100.{number}")

    assert (await _guess(site, next(guesses), "192.0.2.200")).status == 429


@pytest.mark.parametrize("name", ["turn_secret", "metrics_token"])
@pytest.mark.parametrize("value", ["changeme", "CHANGE_ME", "secret"])
def test_a_placeholder_is_no_secret(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(CommandFailed, match=f"(?i){name}.*placeholder") as refused:
        load_settings(tmp_path, **{name: value})

    assert value not in str(refused.value)


def test_a_wrong_proxy_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"10\.0\.0\.0/24"):
        load_settings(tmp_path, trusted_proxies=["proxy.example.it"])
