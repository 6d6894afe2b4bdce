"""The test of TURN servers, as far as it needs none; with a real coturn: tests/chaos."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest

from server.settings import Settings
from server.turn import probe
from server.turn.client import TurnUrl, parse_turn_url
from server.turn.probe import examine, fresh_credentials

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("turn:turn.asl.test", TurnUrl("turn.asl.test", 3478, is_tcp=False, is_tls=False)),
        ("turn:1.2.3.4:99?transport=tcp", TurnUrl("1.2.3.4", 99, is_tcp=True, is_tls=False)),
        ("turns:turn.asl.test", TurnUrl("turn.asl.test", 5349, is_tcp=True, is_tls=True)),
        ("turns:[2a00::1]:443?transport=tcp", TurnUrl("2a00::1", 443, is_tcp=True, is_tls=True)),
    ],
)
def test_turn_addresses(text: str, url: TurnUrl) -> None:
    assert parse_turn_url(text) == url


@pytest.mark.parametrize(
    "text", ["stun:turn.asl.test", "turn://turn.asl.test", "turn:", "turns:a.test?transport=udp"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"TURN|browsers"):
        parse_turn_url(text)


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"turn:127.0.0.1:{closed.getsockname()[1]}?transport=tcp"

        verdicts = await examine(Settings(turn_urls=[url, "turn:/"], turn_secret="north"), NOW)

    assert not any(verdict.is_good for verdict in verdicts)
    assert f"{url} cannot be reached" in verdicts[0].text
    assert verdicts[1].text.startswith("turn:/: a TURN address looks like")


async def test_a_valkey_that_is_not_there_is_named(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "DATA_WITHIN_SECONDS", 0.2)
    url = f"valkey://127.0.0.1:{unused_tcp_port}"

    verdicts = await examine(Settings(turn_urls=["turn:a.test"], turn_valkey_url=url), NOW)

    assert [verdict.text for verdict in verdicts] == [
        "The Valkey of the TURN servers (turn_valkey_url) does not answer"
    ]


async def test_the_test_uses_no_credential_twice() -> None:
    async with fresh_credentials(Settings(turn_secret="north"), NOW) as issue:
        assert issue() != issue()
