"""Passwords of the staff."""

from __future__ import annotations

import pytest

from server import passwords
from server.errors import InvalidInput
from server.passwords import hash_password, is_password_right

GOOD = "gelsomino ventaglio 44"


async def test_a_password_opens_only_its_own_hash():
    encoded = hash_password(GOOD)

    assert await is_password_right(encoded, GOOD)
    assert not await is_password_right(encoded, GOOD + " ")
    assert encoded.startswith("$argon2id$")


async def test_nobody_is_checked_against_a_hash_of_the_same_cost():
    assert not await is_password_right(None, GOOD)
    assert not passwords._hasher.check_needs_rehash(passwords._NOBODYS_HASH)


async def test_a_damaged_hash_opens_to_nothing():
    assert not await is_password_right("not a hash", GOOD)


async def test_an_endless_password_is_refused_unhashed():
    assert not await is_password_right(hash_password(GOOD), "a" * 100_000)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("sette77", "too_short"),
        ("Password1", "too_common"),
        ("12345678", "too_common"),
        ("aaaaaaaaaaaa", "too_common"),
        ("x" * 5 + "abc" * 100, "too_long"),
    ],
)
def test_a_bad_new_password_is_refused_with_its_reason(password: str, reason: str):
    with pytest.raises(InvalidInput) as refused:
        hash_password(password)

    assert (refused.value.field, refused.value.reason) == ("password", reason)


def test_any_letters_make_a_good_password():
    assert hash_password("solo minuscole lunghe")
