"""The configuration of coturn: a hardened ``turnserver.conf``. Pure.

It is written for coturn 4.6 (Debian 12) and leaves out whatever opens more than relayed calls
need: the command line port, TCP relays (RFC 6062), old STUN, old TLS, and every peer that is not
on the public internet. Log lines of coturn hold addresses (of refused peers), so there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from server.errors import CommandFailed
from server.settings import Settings
from server.turn.peers import DENIED_RANGES

ALLOCATIONS_OF_A_CREDENTIAL: Final = 4
NONCE_SECONDS: Final = 600
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~!*+/=:@-]+")
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True, slots=True)
class Listener:
    """One address of the server; behind a 1:1 NAT the world knows it by another."""

    address: str
    public: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of the TLS listener, as the TURN server sees them."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TurnServer:
    """What the settings do not say of the machine that relays."""

    listeners: tuple[Listener, ...]
    certificate: Certificate | None
    port: int = 3478
    tls_port: int = 5349
    first_relay_port: int = 49152
    last_relay_port: int = 65535
    total_quota: int = 1200
    bytes_per_second: int = 500_000
    allowed_peers: tuple[str, ...] = ()
    """Private addresses that are meant to be reached: the media legs of this installation."""
    valkey_password: str = ""
    """Of Valkey's default user, as which coturn reads its secrets."""


def parse_listener(text: str) -> Listener:
    """``ADDRESS``, or ``PUBLIC/PRIVATE`` behind a 1:1 NAT; raises ``ValueError``."""
    first, slash, second = text.partition("/")
    for address in (first, second) if slash else (first,):
        ip_address(address)
    return Listener(second, public=first) if slash else Listener(first)


def render_config(settings: Settings, server: TurnServer) -> str:
    """The text of ``turnserver.conf``; it holds secrets.

    :raises CommandFailed: the settings cannot be said in coturn's words.
    """
    sections = (
        ("Addresses", _addresses(server)),
        ("Who may use it", _credentials(settings, server)),
        ("How much", _limits(server)),
        ("TLS", _tls(server)),
        ("Nothing but relayed calls", _closed()),
        ("Peers that are never reached", [f"denied-peer-ip={each}" for each in DENIED_RANGES]),
        ("Peers that are reached all the same", _allowed(server)),
        ("No log: coturn's lines hold addresses", ("log-file=/dev/null", "no-stdout-log")),
    )
    text = "".join(
        f"\n# {title}\n" + "".join(f"{line}\n" for line in lines)
        for title, lines in sections
        if lines
    )
    return f"# Made by 'accanto turn-config': make it anew instead of changing it.\n{text}"


def _addresses(server: TurnServer) -> list[str]:
    lines: list[str] = []
    for listener in server.listeners:
        lines += [f"listening-ip={listener.address}", f"relay-ip={listener.address}"]
        if listener.public:
            lines.append(f"external-ip={listener.public}/{listener.address}")
    return [
        *lines,
        f"listening-port={server.port}",
        f"min-port={server.first_relay_port}",
        f"max-port={server.last_relay_port}",
    ]


def _credentials(settings: Settings, server: TurnServer) -> list[str]:
    lines = [f"realm={settings.realm}", "use-auth-secret", f"stale-nonce={NONCE_SECONDS}"]
    if settings.turn_valkey_url:
        return [*lines, _secrets_in_valkey(settings.turn_valkey_url, server.valkey_password)]
    given = (settings.turn_secret, settings.turn_former_secret)
    if not settings.turn_secret:
        raise CommandFailed("Set turn_secret, or turn_valkey_url for a secret of each seat")
    return lines + [f"static-auth-secret={_plain('secret', each)}" for each in given if each]


def _secrets_in_valkey(url: str, reader_password: str) -> str:
    """coturn logs in as the default user: it has no word for another one."""
    parts = urlsplit(url)
    own = unquote(parts.password or "") if not parts.username else ""
    password = reader_password or own
    words = [f"ip={parts.hostname}", f"dbname={parts.path.strip('/') or '0'}"]
    if password:
        words.append(f"password={_plain('password of Valkey', password)}")
    return f'redis-userdb="{" ".join(words)} port={parts.port or 6379} connect_timeout=2"'


def _limits(server: TurnServer) -> Iterable[str]:
    return (
        f"user-quota={ALLOCATIONS_OF_A_CREDENTIAL}",
        f"total-quota={server.total_quota}",
        f"max-bps={server.bytes_per_second}",
    )


def _tls(server: TurnServer) -> Iterable[str]:
    if server.certificate is None:
        return ("no-tls", "no-dtls")
    return (
        f"tls-listening-port={server.tls_port}",
        f"cert={server.certificate.chain}",
        f"pkey={server.certificate.key}",
        f'cipher-list="{_CIPHERS}"',
        "no-tlsv1",
        "no-tlsv1_1",
        "no-dtls",
    )


def _closed() -> Iterable[str]:
    return (
        "fingerprint",
        "no-cli",
        "no-tcp-relay",
        "no-multicast-peers",
        "no-rfc5780",
        "no-stun-backward-compatibility",
        "response-origin-only-with-rfc5780",
        "no-software-attribute",
        "no-dynamic-ip-list",
        "no-dynamic-realms",
    )


def _allowed(server: TurnServer) -> list[str]:
    return [f"allowed-peer-ip={ip_address(each)}" for each in server.allowed_peers]


def _plain(what: str, value: str) -> str:
    if not _PLAIN.fullmatch(value):
        raise CommandFailed(f"The {what} may hold letters, digits and ._~!*+/=:@- only")
    return value
