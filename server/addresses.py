"""Where a request comes from, through the reverse proxies that the settings trust.

``X-Forwarded-For`` grows to the right: each proxy adds who spoke to it. It is read from there, and
only as far as trusted proxies go on naming one another; what stands further left was written by
the client itself. The address is for slowing down guesses only: it is never stored or logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from aiohttp import web

from server.services import SETTINGS

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_of(request: web.Request) -> Address | None:
    """The address of the client of this request; nothing when the peer has none."""
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    trusted = _parse_networks(tuple(request.app[SETTINGS].trusted_proxies))
    return find_client(request.remote or "", forwarded, trusted)


def find_client(peer: str, forwarded: Sequence[str], trusted: Iterable[Network]) -> Address | None:
    """The rightmost address that no trusted proxy has; an unreadable one ends the search at the
    proxy that passed it on."""
    trusted = tuple(trusted)
    client = _find_address(peer)
    for named in reversed(forwarded):
        if client is None or not any(client in network for network in trusted):
            break
        further = _find_address(named.strip())
        if further is None:
            break
        client = further
    return client


def _find_address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4)
def _parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)
