"""What the server and its echo processes say to each other; loads no media library."""

from __future__ import annotations

from typing import Final

import msgspec

LIFE_SECONDS: Final = 60.0
LONGEST_LINE: Final = 128 * 1024


class Endpoint(msgspec.Struct, frozen=True):
    """Where legs listen. ``address`` is what browsers reach; when it is not of this machine (a
    server behind NAT) a leg listens on all addresses and announces this one. Empty: each address
    of this machine but loopback. ``first_port`` 0: any port."""

    address: str = ""
    first_port: int = 0
    last_port: int = 0


class Offer(msgspec.Struct, frozen=True):
    sdp: str


class Answer(msgspec.Struct, frozen=True):
    sdp: str = ""
    is_refused: bool = False
    """The offer is not one that our page makes."""
