"""The samples beside the TURN server; their own programs read them in ``make chaos``."""

from __future__ import annotations

import asyncio
import configparser
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.turn.seats import TurnSeats
from signaling.ice import EVERYBODY
from signaling.valkey import Valkey
from tests.valkeys import BINARY

SAMPLES = Path(__file__).parents[1] / "server/samples/turn"
NGINX = SAMPLES / "nginx-stream-443.conf"
HAPROXY = SAMPLES / "haproxy-443.cfg"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_STATEMENT = re.compile(r"[^;{}]+;|[^;{}]+\{|\}")


def nginx_depth(text: str) -> int:
    """The depth of blocks at the end; fails on what is neither a statement nor a block."""
    text = re.sub(r"#.*", "", text).strip()
    depth = 0
    while text:
        found = _STATEMENT.match(text)
        assert found, text[:40]
        depth += found[0].endswith("{") - (found[0] == "}")
        assert depth >= 0
        text = text[found.end() :].lstrip()
    return depth


def test_nginx_splits_by_name() -> None:
    text = NGINX.read_text()

    assert nginx_depth(text) == 0
    assert re.search(r"turn\.example\.it\s+127\.0\.0\.1:5349;", text)
    assert "ssl_preread on;" in text


def test_haproxy_splits_by_name() -> None:
    text = HAPROXY.read_text()
    sections = re.findall(r"^(global|defaults|frontend|backend)\b ?(\S*)", text, re.M)

    backends = {name for kind, name in sections if kind == "backend"}
    used = set(re.findall(r"(?:use_backend|default_backend) (\S+)", text))
    assert used == backends == {"turn", "web"}
    assert "req.ssl_sni -i turn.example.it" in text


def test_coturn_may_open_low_ports_and_no_more() -> None:
    unit = configparser.ConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    unit.read(SAMPLES / "coturn-443.service.conf")

    assert unit["Service"]["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert unit["Service"]["NoNewPrivileges"] == "yes"


# ---- Valkey with the sample's rights ---------------------------------------------------


@pytest.fixture
def port(tmp_path: Path, unused_tcp_port: int) -> Iterator[int]:
    text = (SAMPLES / "valkey-turn.conf").read_text().replace("6379", str(unused_tcp_port))
    path = tmp_path / "valkey.conf"
    path.write_text(text)
    process = subprocess.Popen([BINARY, path], stdout=subprocess.DEVNULL)
    yield unused_tcp_port
    process.kill()
    process.wait()


class Client:
    def __init__(self, url: str) -> None:
        self.valkey = Valkey(url, self)
        self.is_up = asyncio.Event()

    def on_connected(self) -> None:
        self.valkey.send_first("PING", on_reply=lambda _: self.is_up.set())

    def on_push(self, channel: bytes, payload: bytes) -> None:
        raise AssertionError("nothing is subscribed to")

    async def answer(self, *command: str) -> str:
        return str(await self.valkey.ask(*command))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    client = Client(url)
    client.valkey.start()
    try:
        await asyncio.wait_for(client.is_up.wait(), 10)
        yield client
    finally:
        await client.valkey.stop()


async def test_coturn_may_read_the_secrets_and_nothing_else(port: int) -> None:
    async with connected(f"valkey://:password-of-coturn@127.0.0.1:{port}") as coturn:
        assert await coturn.answer("SMEMBERS", "turn/realm/asl.test/secret") == "[]"
        for command in (
            ("SADD", "turn/realm/asl.test/secret", "mine"),
            ("SMEMBERS", "accanto:turn:asl.test:expiries"),
            ("GET", "turn/realm/asl.test/secret"),
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
            ("EVAL", "return 1", "0"),
        ):
            assert "permissions" in await coturn.answer(*command), command


async def test_accanto_may_do_what_it_does(port: int) -> None:
    seats = TurnSeats(f"valkey://accanto:password-of-accanto@127.0.0.1:{port}", "asl.test")
    async with (
        connected(f"valkey://:password-of-coturn@127.0.0.1:{port}") as coturn,
        seats.connected(),
    ):
        live = seats.issue("room.patient", NOW)
        seats.issue("room.clinician", NOW)
        seats.revoke("room", "clinician", NOW.timestamp())
        seats.issue("room2.patient", NOW)
        seats.revoke("room2", EVERYBODY, NOW.timestamp())
        await asyncio.wait_for(seats.wait_until_told(), 10)

        assert await coturn.answer("SMEMBERS", "turn/realm/asl.test/secret") == str([live])
