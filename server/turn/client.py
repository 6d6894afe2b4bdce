"""A client of TURN servers, for the test of one: an allocation, permissions, and data through it.

The messages are aioice's. Nothing here looks for a way between two people.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aioice import stun, turn

Address = tuple[str, int]
Client = turn.TurnClientUdpProtocol | turn.TurnClientTcpProtocol

ANSWER_WITHIN_SECONDS: Final = 5.0
_LIFETIME_SECONDS: Final = 600
_CHANNEL_SECONDS: Final = 500
_FAMILY: Final = "REQUESTED-ADDRESS-FAMILY"
_URL: Final = re.compile(
    r"(?P<scheme>turns?):(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::(?P<port>\d+))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?"
)


class Family(IntEnum):
    """Values of REQUESTED-ADDRESS-FAMILY (RFC 8656 §18.8)."""

    V4 = 1
    V6 = 2


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class TurnUrl:
    """A ``turn:`` or ``turns:`` address (RFC 7065)."""

    host: str
    port: int
    is_tcp: bool
    is_tls: bool


def parse_turn_url(url: str) -> TurnUrl:
    """The parts of an address; raises ``ValueError``."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("a TURN address looks like turn:turn.example.it:3478?transport=udp")
    is_tls = found["scheme"] == "turns"
    port = int(found["port"]) if found["port"] else 5349 if is_tls else 3478
    is_tcp = found["transport"] == "tcp" or (is_tls and found["transport"] is None)
    if is_tls and not is_tcp:
        raise ValueError("browsers speak turns: over TCP only")
    return TurnUrl(found["host"].strip("[]"), port, is_tcp, is_tls)


class Allocation:
    """A relayed address on the server, as long as its block."""

    def __init__(self, client: Client, address: Address) -> None:
        self._client = client
        self.address = address
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        client.receiver = _Inbox(self.received)

    async def is_permitted(self, ip: str) -> bool:
        """Whether the server would relay to this peer; nothing is sent there."""
        request = stun.Message(stun.Method.CREATE_PERMISSION, stun.Class.REQUEST)
        request.attributes["XOR-PEER-ADDRESS"] = (ip, 9)
        try:
            await _ask(self._client, request)
        except Refused:
            return False
        return True

    async def send(self, data: bytes, peer: Address) -> None:
        """Send through the relay; raises ``Refused`` when the peer is not permitted."""
        try:
            await self._client.send_data(data, peer)
        except stun.TransactionFailed as error:
            raise Refused(error.response.error_code or 0) from error


class _Inbox(asyncio.DatagramProtocol):
    def __init__(self, queue: asyncio.Queue[bytes]) -> None:
        self._queue = queue

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._queue.put_nowait(data)


@asynccontextmanager
async def allocate(
    url: TurnUrl,
    credential: tuple[str, str],
    family: Family = Family.V4,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Allocation]:
    """An allocation for as long as the block.

    :raises Refused: the server does not give one.
    :raises OSError: there is no way to it; ``TimeoutError``: it does not answer.
    """
    client = await _connect(url, credential, context)
    try:
        request = stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST)
        request.attributes["LIFETIME"] = _LIFETIME_SECONDS
        request.attributes["REQUESTED-TRANSPORT"] = turn.UDP_TRANSPORT
        if family is Family.V6:
            request.attributes[_FAMILY] = family
        response = await _ask(client, request)
        address: Address = response.attributes["XOR-RELAYED-ADDRESS"]
        yield Allocation(client, address)
    finally:
        with suppress(stun.TransactionError, TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                await client.delete()
        client.transport.close()


async def _connect(
    url: TurnUrl, credential: tuple[str, str], context: ssl.SSLContext | None
) -> Client:
    loop = asyncio.get_running_loop()
    server = (url.host, url.port)
    async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
        client: Client
        if url.is_tcp:
            tls = (context or ssl.create_default_context()) if url.is_tls else None
            _, client = await loop.create_connection(
                lambda: turn.TurnClientTcpProtocol(
                    server, *credential, _LIFETIME_SECONDS, _CHANNEL_SECONDS
                ),
                *server,
                ssl=tls,
            )
        else:
            _, client = await loop.create_datagram_endpoint(
                lambda: turn.TurnClientUdpProtocol(
                    server, *credential, _LIFETIME_SECONDS, _CHANNEL_SECONDS
                ),
                remote_addr=server,
            )
    return client


async def _ask(client: Client, request: stun.Message) -> stun.Message:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
            response, _ = await client.request_with_retry(request)
    except stun.TransactionFailed as error:
        raise Refused(error.response.error_code or 0) from error
    return response


def _know_family() -> None:
    """aioice asks for IPv4 only and has no word for the family."""
    entry: stun.AttributeEntry = (
        0x0017, _FAMILY, lambda family: bytes([family, 0, 0, 0]), lambda data: data[0],
    )  # fmt: skip
    stun.ATTRIBUTES_BY_TYPE.setdefault(entry[0], entry)
    stun.ATTRIBUTES_BY_NAME.setdefault(entry[1], entry)


_know_family()
