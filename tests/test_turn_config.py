"""The configuration of coturn: closed by default, and every special-purpose peer is denied."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.cli import main
from server.errors import CommandFailed
from server.settings import Settings, save_settings
from server.turn.config import (
    Certificate,
    Listener,
    TurnServer,
    parse_listener,
    render_config,
)
from server.turn.peers import DENIED_RANGES, FORBIDDEN_V4, FORBIDDEN_V6, PUBLIC_V4, PUBLIC_V6

SERVER = TurnServer((Listener("93.184.216.34"),), None)
SETTINGS = Settings(turn_secret="north-and-south", base_url="https://visite.asl.test")


def lines_of(settings: Settings, server: TurnServer = SERVER) -> list[str]:
    return render_config(settings, server).splitlines()


def ranges() -> Iterator[tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]]:
    for each in DENIED_RANGES:
        first, _, last = each.partition("-")
        yield ip_address(first), ip_address(last)


def is_denied(ip: str) -> bool:
    address = ip_address(ip)
    return any(
        address.version == first.version and int(first) <= int(address) <= int(last)
        for first, last in ranges()
    )


def test_every_forbidden_peer_of_the_probe_is_in_a_denied_range() -> None:
    assert len(FORBIDDEN_V4) + len(FORBIDDEN_V6) == 41
    # coturn itself refuses the unspecified address; a range from :: would deny all of IPv4.
    assert [ip for ip in FORBIDDEN_V4 + FORBIDDEN_V6 if not is_denied(ip)] == ["::"]


def test_every_private_address_of_python_is_denied() -> None:
    private = ["10.255.255.255", "172.31.0.1", "192.168.255.1", "fd12::1", "fe80::1:2", "ff0e::1"]
    assert all(not ip_address(ip).is_global or ip_address(ip).is_multicast for ip in private)
    assert all(is_denied(ip) for ip in private)


@pytest.mark.parametrize("ip", [*PUBLIC_V4, *PUBLIC_V6, "172.32.0.1", "100.128.0.1", "2003::1"])
def test_public_peers_are_not_denied(ip: str) -> None:
    assert not is_denied(ip)


def test_no_range_starts_at_the_unspecified_address_of_ipv6() -> None:
    assert all(int(first) > 0 for first, _ in ranges() if first.version == 6)
    assert all(int(first) <= int(last) for first, last in ranges())


def test_what_relayed_calls_do_not_need_is_off() -> None:
    lines = lines_of(SETTINGS)

    assert {"use-auth-secret", "no-cli", "no-tcp-relay", "no-multicast-peers", "fingerprint",
            "no-rfc5780", "no-software-attribute", "user-quota=4", "stale-nonce=600",
            "no-tls", "no-dtls"} <= set(lines)  # fmt: skip
    assert not any(line.startswith(("allow", "no-auth", "lt-cred", "verbose")) for line in lines)


def test_realm_and_secrets_come_from_the_settings() -> None:
    assert {"realm=visite.asl.test", "static-auth-secret=north-and-south"} <= set(
        lines_of(SETTINGS)
    )


def test_two_secrets_are_taken_while_one_is_changed() -> None:
    settings = SETTINGS.model_copy(update={"turn_former_secret": "old"})

    secrets = [line for line in lines_of(settings) if line.startswith("static-auth-secret=")]

    assert secrets == ["static-auth-secret=north-and-south", "static-auth-secret=old"]


def test_with_a_valkey_there_is_no_secret_for_all() -> None:
    settings = SETTINGS.model_copy(update={"turn_valkey_url": "valkey://app:mine@10.0.0.5:6380/2"})
    server = TurnServer(SERVER.listeners, None, valkey_password="theirs")

    lines = lines_of(settings, server)

    assert not any("north-and-south" in line or "mine" in line for line in lines)
    expected = "ip=10.0.0.5 dbname=2 password=theirs port=6380 connect_timeout=2"
    assert f'redis-userdb="{expected}"' in lines


def test_the_keys_of_single_users_are_not_used() -> None:
    """coturn 4.6.1 puts a stranger's user name into a format string there."""
    settings = SETTINGS.model_copy(update={"turn_valkey_url": "valkey://10.0.0.5:6379"})

    lines = lines_of(settings)

    assert "use-auth-secret" in lines
    assert "lt-cred-mech" not in lines


def test_no_secret_no_configuration() -> None:
    with pytest.raises(CommandFailed, match="turn_secret"):
        render_config(Settings(), SERVER)


@pytest.mark.parametrize("secret", ["with space", 'with"quote', "line\nno-auth"])
def test_a_secret_cannot_add_lines(secret: str) -> None:
    with pytest.raises(CommandFailed, match="secret"):
        render_config(SETTINGS.model_copy(update={"turn_secret": secret}), SERVER)


def test_tls_is_new_tls_over_tcp() -> None:
    certificate = Certificate(Path("/etc/turn/chain.pem"), Path("/etc/turn/key.pem"))
    server = TurnServer(SERVER.listeners, certificate, tls_port=443)

    lines = lines_of(SETTINGS, server)

    assert {"tls-listening-port=443", "cert=/etc/turn/chain.pem", "pkey=/etc/turn/key.pem",
            "no-tlsv1", "no-tlsv1_1", "no-dtls"} <= set(lines)  # fmt: skip
    assert "no-tls" not in lines


def test_behind_nat_the_public_address_is_announced() -> None:
    lines = lines_of(SETTINGS, TurnServer((parse_listener("93.184.216.34/10.0.0.7"),), None))

    assert "external-ip=93.184.216.34/10.0.0.7" in lines
    assert {"listening-ip=10.0.0.7", "relay-ip=10.0.0.7"} <= set(lines)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    save_settings(tmp_path, {"turn_secret": "north-and-south"})
    path = tmp_path / "turnserver.conf"
    path.write_text("old")
    path.chmod(0o644)

    arguments = ["turn-config", "--data", str(tmp_path), "--address", "93.184.216.34",
                 "--output", str(path)]  # fmt: skip
    done = CliRunner().invoke(main, arguments)

    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "static-auth-secret=north-and-south" in path.read_text()
    assert "north-and-south" not in done.output


@pytest.mark.parametrize("address", ["turn.example.it", "10.0.0.7/", "1.2.3", "1.2.3.4/5/6"])
def test_only_addresses_are_listened_on(address: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["turn-config", "--data", str(tmp_path), "--address", address])

    assert done.exit_code == 2


def test_calls_are_always_relayed_only_where_there_is_a_relay(tmp_path: Path) -> None:
    def accanto(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, [*arguments, "--data", str(tmp_path)])
        return done.exit_code, done.output

    accanto("migrate")
    accanto("organisation", "add", "--code", "asl", "--name", "ASL", "--desk-phone", "055 1")
    change = ("organisation", "set", "asl", "--relay-only")

    status, said = accanto(*change)
    assert (status, "turn_urls" in said) == (1, True)

    save_settings(tmp_path, {"turn_urls": '["turn:turn.asl.test"]', "turn_secret": "north"})
    assert accanto(*change)[0] == 0
    with closing(sqlite3.connect(tmp_path / "accanto.db")) as database:
        assert database.execute("SELECT is_relay_only FROM organisation").fetchall() == [(1,)]
    assert accanto("organisation", "set", "asl", "--no-relay-only")[0] == 0
