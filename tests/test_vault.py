"""Sealed bytes open with their key and in their context, whole and unchanged, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.vault import KEY_BYTES, SealBroken, new_key, seal, unseal

CONTEXT = b"a place"
CHUNK = 16 * 1024
HEADER = 24 + 32
"""Salt and commitment, as C2SP chunked encryption writes them."""


@pytest.mark.parametrize("size", [0, 1, 2000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_what_was_sealed_opens(size: int) -> None:
    key, plaintext = new_key(), bytes(size)

    assert unseal(key, CONTEXT, seal(key, CONTEXT, plaintext)) == plaintext


def test_every_flipped_bit_of_a_note_is_refused() -> None:
    key = new_key()
    sealed = seal(key, CONTEXT, b"una nota breve")

    for place in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(SealBroken):
            unseal(key, CONTEXT, bytes(altered))


def test_every_cut_is_refused() -> None:
    key = new_key()
    sealed = seal(key, CONTEXT, b"una nota breve")

    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            unseal(key, CONTEXT, sealed[:length])


@pytest.mark.parametrize("tail", [b"\0", b"x" * 16, b"x" * CHUNK])
def test_extended_bytes_are_refused(tail: bytes) -> None:
    key = new_key()

    with pytest.raises(SealBroken):
        unseal(key, CONTEXT, seal(key, CONTEXT, b"una nota breve") + tail)


def test_swapped_dropped_and_doubled_chunks_are_refused() -> None:
    key = new_key()
    sealed = seal(key, CONTEXT, bytes(3 * CHUNK))
    size = CHUNK + 16
    head, body = sealed[:HEADER], sealed[HEADER:]
    chunks = [body[place : place + size] for place in range(0, len(body), size)]

    for order in ([1, 0, 2, 3], [0, 2, 3], [0, 0, 1, 2, 3], [0, 1, 2]):
        pieces = [chunks[place] for place in order if place < len(chunks)]
        with pytest.raises(SealBroken):
            unseal(key, CONTEXT, head + b"".join(pieces))


def test_other_key_and_other_context_are_refused() -> None:
    key = new_key()
    sealed = seal(key, CONTEXT, b"una nota breve")

    with pytest.raises(SealBroken):
        unseal(new_key(), CONTEXT, sealed)
    for context in (b"", b"a plac", b"a place ", b"another"):
        with pytest.raises(SealBroken):
            unseal(key, context, sealed)


def test_the_same_text_is_never_sealed_alike() -> None:
    key = new_key()

    assert len({seal(key, CONTEXT, b"ciao") for _ in range(100)}) == 100
    assert len(new_key()) == KEY_BYTES


@given(noise=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(bytes(KEY_BYTES), CONTEXT, noise)
