"""The frame reader: the same messages whatever the pieces, and nothing that RFC 6455 forbids."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameReader,
    close_frame,
    control_frame,
    text_frame,
)
from signaling.messages import MAX_FRAME_BYTES

MASK = b"\x37\xfa\x21\x3d"
FINAL, MASKED = 0x80, 0x80


def masked(payload: bytes) -> bytes:
    return bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))


def a_frame(kind: int, payload: bytes = b"", *, head: int = FINAL, size: int = -1) -> bytes:
    """A client's frame; ``size`` says another length than the payload has."""
    size = len(payload) if size < 0 else size
    if size < 126:
        start = struct.pack("!BB", head | kind, MASKED | size)
    elif size < 65536:
        start = struct.pack("!BBH", head | kind, MASKED | 126, size)
    else:
        start = struct.pack("!BBQ", head | kind, MASKED | 127, size)
    return start + MASK + masked(payload)


def in_parts(payload: bytes, cuts: list[int]) -> bytes:
    """A text message in fragments."""
    edges = [0, *sorted(cut % (len(payload) + 1) for cut in cuts), len(payload)]
    parts = [payload[start:end] for start, end in itertools.pairwise(edges)]
    return b"".join(
        a_frame(CONTINUATION if place else TEXT, part, head=FINAL if place == len(parts) - 1 else 0)
        for place, part in enumerate(parts)
    )


MESSAGES = st.one_of(
    st.tuples(st.sampled_from([TEXT, BINARY]), st.binary(max_size=300)),
    st.tuples(st.sampled_from([PING, PONG, CLOSE]), st.binary(max_size=125)),
)


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 2000), max_size=8))
def test_the_pieces_in_which_a_stream_comes_make_no_difference(
    messages: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(a_frame(kind, payload) for kind, payload in messages)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    reader, heard = FrameReader(), []

    for start, end in itertools.pairwise(edges):
        heard += reader.feed(stream[start:end])

    assert heard == messages
    assert reader.refusal == 0


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=5))
def test_fragments_are_joined(payload: bytes, cuts: list[int]) -> None:
    assert FrameReader().feed(in_parts(payload, cuts)) == [(TEXT, payload)]


def test_a_control_frame_may_come_between_fragments() -> None:
    first, last = a_frame(TEXT, b"ab", head=0), a_frame(CONTINUATION, b"cd")

    heard = FrameReader().feed(first + a_frame(PING, b"?") + last)

    assert heard == [(PING, b"?"), (TEXT, b"abcd")]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, MAX_FRAME_BYTES])
def test_sizes_are_read_and_written_alike(size: int) -> None:
    payload = b"x" * size
    sent = text_frame(payload)

    assert FrameReader().feed(a_frame(TEXT, payload)) == [(TEXT, payload)]
    assert sent.endswith(payload)
    assert len(sent) - size == (2 if size < 126 else 4 if size < 65536 else 10)


BROKEN = {
    "no mask": text_frame(b"{}" * 10),
    "no mask on a close": close_frame(1000) + b"\0\0",
    "a reserved bit": a_frame(TEXT, b"{}", head=FINAL | 0x40),
    "an unknown kind": a_frame(0x3, b"{}"),
    "an unknown control frame": a_frame(0xB),
    "a control frame in pieces": a_frame(PING, b"?", head=0),
    "a long control frame": a_frame(PING, b"?" * 126),
    "a continuation of nothing": a_frame(CONTINUATION, b"{}"),
    "a message inside another": a_frame(TEXT, b"{", head=0) + a_frame(TEXT, b"}"),
    "a short length written long": struct.pack("!BBH", FINAL | TEXT, MASKED | 126, 5) + MASK * 3,
    "a medium length written longest": struct.pack("!BBQ", FINAL | TEXT, MASKED | 127, 200)
    + MASK * 60,
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
def test_a_broken_stream_is_refused_and_not_read_on(stream: bytes) -> None:
    reader = FrameReader()

    assert reader.feed(a_frame(TEXT, b"good") + stream)[0] == (TEXT, b"good")
    assert reader.refusal == 1002
    assert reader.feed(a_frame(TEXT, b"late")) == []


def test_a_frame_that_is_too_long_is_refused_before_it_has_come() -> None:
    reader = FrameReader()

    assert reader.feed(a_frame(TEXT, b"", size=MAX_FRAME_BYTES + 1)) == []
    assert reader.refusal == 1009


def test_fragments_are_not_too_long_together() -> None:
    reader = FrameReader()
    half = b"x" * (MAX_FRAME_BYTES // 2 + 1)

    assert reader.feed(a_frame(TEXT, half, head=0) + a_frame(CONTINUATION, half)) == []
    assert reader.refusal == 1009


def test_what_a_server_sends_has_no_mask() -> None:
    assert text_frame(b"{}") == b"\x81\x02{}"
    assert control_frame(PING) == b"\x89\x00"
    assert close_frame(1001) == b"\x88\x02\x03\xe9"
