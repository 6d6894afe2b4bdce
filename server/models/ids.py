"""Random identifiers in Crockford base32, lower case: they survive being read aloud."""

from __future__ import annotations

import secrets
from typing import Final

CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def crockford(value: int, length: int) -> str:
    """Write the low ``5 * length`` bits of ``value`` in ``length`` characters."""
    return "".join(CROCKFORD[(value >> (5 * place)) & 31] for place in reversed(range(length)))


def new_id() -> str:
    """A row id: 80 random bits in 16 characters."""
    return crockford(secrets.randbits(80), 16)


def new_locator() -> str:
    """The public half of a join link: 50 random bits in 10 characters (``security.md`` §3.1)."""
    return crockford(secrets.randbits(50), 10)
