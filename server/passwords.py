"""Passwords of the staff: argon2id, and which ones are refused.

A long password of any letters is good; one that everybody tries first is not, whatever its
characters. There is no composition rule (NIST SP 800-63B §5.1.1.2). Called by ``server.login``
and the command line.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import argon2

from server.errors import InvalidInput

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 256
"""Longer ones are refused, never cut."""
_FIRST_TRIED: Final = frozenset(
    {
        "00000000", "11111111", "12341234", "12345678", "123456789", "1234567890", "87654321",
        "abcd1234", "access14", "administrator", "admin123", "administrator1", "asdfghjkl",
        "benvenuto", "benvenuta", "calcio123", "changeme", "ciaociao", "dottore1", "dottoressa",
        "football", "forzaitalia", "francesco", "giuseppe", "iloveyou", "internet", "juventus",
        "letmein1", "medico123", "ospedale", "ospedale1", "passw0rd", "password", "password1",
        "password12", "password123", "password1234", "princess", "qwerty12", "qwerty123",
        "qwertyui", "qwertyuiop", "salvatore", "segreta1", "stefania", "sunshine", "superman",
        "televisita", "trustno1", "valentina", "1q2w3e4r", "1q2w3e4r5t", "zaq12wsx",
    }
)  # fmt: skip
_NOBODYS_HASH: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$DtfsrwN0U5IRztrTmg"
    "jXlg$1C93+KvJMY/fw0gWGO5p0tkY4947ToW8ToeUBV4ba6w"
)
"""Of a random password nobody knows: an unknown name costs as long as a known one."""
_hasher: Final = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
_workers: Final = ThreadPoolExecutor(os.cpu_count() or 1, "password")
"""Each hash takes 64 MiB and a core: as many at once as there are cores, the rest queue."""


def hash_password(password: str) -> str:
    """The encoded argon2id hash of a new password; takes a few tens of milliseconds.

    :raises InvalidInput: too short, too long, or one that everybody tries first.
    """
    if len(password) < MIN_LENGTH:
        raise InvalidInput("password", "too_short")
    if len(password) > MAX_LENGTH:
        raise InvalidInput("password", "too_long")
    simple = password.strip().casefold()
    if simple in _FIRST_TRIED or len(set(simple)) < 3:
        raise InvalidInput("password", "too_common")
    return _hasher.hash(password)


def describe_hash() -> str:
    """Algorithm and cost, as people write them."""
    cost = f"m={_hasher.memory_cost} KiB, t={_hasher.time_cost}, p={_hasher.parallelism}"
    return f"argon2id ({cost})"


async def is_password_right(password_hash: str | None, password: str) -> bool:
    """Check a password off the loop. ``None`` (nobody of that name) takes the same time."""
    if len(password) > MAX_LENGTH:
        return False
    loop = asyncio.get_running_loop()
    is_right = await loop.run_in_executor(
        _workers, _verify, password_hash or _NOBODYS_HASH, password
    )
    return is_right and password_hash is not None


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
