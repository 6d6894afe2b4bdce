"""The opening handshake of a WebSocket, read from the bytes of a request. Pure.

Only the plain form in which browsers and proxies send it is read here. Anything else is left to
the HTTP server, which knows how to refuse.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

import msgspec

PATH: Final = "/ws"

_PLAIN_HEAD: Final = re.compile(
    rb"GET /ws HTTP/1\.1\r\n"
    rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+"
    rb"\r\n"
)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_WITH_BODY: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class Opening(msgspec.Struct, frozen=True):
    """A well-formed wish to open a WebSocket, not yet granted."""

    origin: str
    key: str


def find_opening(head: bytes) -> Opening | None:
    """The handshake in a complete request head; None when it is anything but a plain one."""
    if _PLAIN_HEAD.fullmatch(head) is None:
        return None
    fields: dict[bytes, bytes] = {}
    for line in head[:-4].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in fields or name in _WITH_BODY:
            return None
        fields[name] = value.strip(b" \t")
    if not _is_upgrade(fields):
        return None
    try:
        opening = Opening(fields[b"origin"].decode("ascii"), fields[b"sec-websocket-key"].decode())
        is_key = len(base64.b64decode(opening.key, validate=True)) == 16
    except (KeyError, ValueError):
        return None
    return opening if is_key else None


def _is_upgrade(fields: dict[bytes, bytes]) -> bool:
    connection = fields.get(b"connection", b"").lower().replace(b" ", b"").split(b",")
    return (
        b"host" in fields
        and b"upgrade" in connection
        and fields.get(b"upgrade", b"").lower() == b"websocket"
        and fields.get(b"sec-websocket-version") == b"13"
    )


def answer_to(key: str) -> bytes:
    """The response that opens the WebSocket: no compression, no subprotocol."""
    proof = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % proof
    )
