"""HTTP towards the FHIR server of a CUP: one configured origin and nothing else.

No redirects, no proxy of the environment, no cookies, no compressed answers. Names are resolved
here and the addresses looked at before the connection is made to exactly those: a name that turns
to the machine itself, its link or its cloud's metadata leads nowhere (``security.md`` I10).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from server.errors import CommandFailed

ANSWER_BYTES: Final = 5 * 1024 * 1024
_TIMEOUT: Final = aiohttp.ClientTimeout(total=20, connect=10)
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_METADATA: Final = frozenset({"100.100.100.200", "192.0.0.192", "fd00:ec2::254"})
"""Of clouds that do not keep it on the link."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(CommandFailed):
    """The URL, or what it resolves to, is no place that we may ask; ``reason`` is a stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AnswerRefused(OSError):
    """What came back cannot be used; ``reason`` is a stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class GuardedResolver(AbstractResolver):
    """Resolves names and refuses those that lead where nobody may go."""

    def __init__(self, inner: AbstractResolver, *, is_loopback_allowed: bool) -> None:
        self._inner = inner
        self._is_loopback_allowed = is_loopback_allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            check_address(result["host"], is_loopback_allowed=self._is_loopback_allowed)
        return found

    async def close(self) -> None:
        await self._inner.close()


def check_address(written: str, *, is_loopback_allowed: bool) -> None:
    """Private networks are where CUPs live; the machine's own neighbourhood is not.

    :raises AddressRefused: this address is not asked.
    """
    address = _unwrap(ipaddress.ip_address(written.partition("%")[0]))
    is_own = (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.is_reserved and not address.is_loopback)
        or str(address) in _METADATA
    )
    if is_own or (address.is_loopback and not is_loopback_allowed):
        raise AddressRefused("address_not_allowed")


def connect(
    base: URL, token: str, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """A session with the FHIR server at ``base``, to be closed by the caller.

    :raises AddressRefused: not HTTPS (plain only to this machine), or no place to ask.
    """
    host = base.host or ""
    is_loopback = host in _LOOPBACK_NAMES
    if base.scheme != "https" and not (base.scheme == "http" and is_loopback):
        raise AddressRefused("not_https")
    if base.user is not None or base.password is not None:
        raise AddressRefused("secret_in_address")
    if _is_literal(host):
        check_address(host, is_loopback_allowed=is_loopback)
    guard = GuardedResolver(resolver or ThreadedResolver(), is_loopback_allowed=is_loopback)
    headers = {"Accept": "application/fhir+json", "Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=guard, use_dns_cache=False, limit=4),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=_TIMEOUT,
        auto_decompress=False,
    )


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of one answer; a redirect is an answer like others.

    :raises AnswerRefused: compressed or too large.
    :raises aiohttp.ClientError: no answer.
    """
    async with session.request(
        method, url, data=body, headers=headers, allow_redirects=False
    ) as response:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise AnswerRefused("compressed_answer")
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > ANSWER_BYTES:
                raise AnswerRefused("answer_too_large")
        return response.status, bytes(content)


def _unwrap(address: Address) -> Address:
    """The IPv4 address inside a mapped, 6to4 or NAT64 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
