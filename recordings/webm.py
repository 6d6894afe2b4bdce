"""WebM of one VP8 picture and one Opus sound: what a recorder writes, and what is read of it.

Only what that takes, after RFC 8794 (EBML) and RFC 9559 (Matroska). libavformat could write the
clusters, but the index of a file stands before them here, while they are sealed one after another
through memory: it would have to go back. Times are milliseconds. Knows no key and no disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

VIDEO: Final = 1
AUDIO: Final = 2
AUDIO_RATE: Final = 48_000
LONGEST_CLUSTER_MS: Final = 30_000
"""A block says its time in 16 bits from the time of its cluster."""

CLUSTER: Final = 0x1F43B675
TAGS: Final = 0x1254C367
_EBML: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_INFO, _SCALE, _DURATION, _MUXER, _WRITER = 0x1549A966, 0x2AD7B1, 0x4489, 0x4D80, 0x5741
_TRACKS, _TRACK, _NUMBER, _UID, _TYPE, _CODEC = 0x1654AE6B, 0xAE, 0xD7, 0x73C5, 0x83, 0x86
_LACING, _PRIVATE, _DELAY, _PRE_ROLL = 0x9C, 0x63A2, 0x56AA, 0x56BB
_VIDEO, _WIDTH, _HEIGHT, _AUDIO, _RATE, _CHANNELS = 0xE0, 0xB0, 0xBA, 0xE1, 0xB5, 0x9F
_CUES, _CUE, _CUE_TIME, _CUE_WHERE, _CUE_TRACK, _CUE_AT = 0x1C53BB6B, 0xBB, 0xB3, 0xB7, 0xF7, 0xF1
_TIME, _BLOCK = 0xE7, 0xA3
_TAG, _SIMPLE, _NAME, _TEXT = 0x7373, 0x67C8, 0x45A3, 0x4487

_KEY_FLAG: Final = 0x80
_UNKNOWN_SIZE: Final = b"\x01" + b"\xff" * 7
_APPLICATION: Final = b"accanto"
_NANOSECONDS: Final = 1_000_000
_OPUS_PRE_SKIP: Final = 312
_OPUS_HEAD: Final = b"OpusHead" + struct.pack("<BBHIhB", 1, 2, _OPUS_PRE_SKIP, AUDIO_RATE, 0, 0)
_OPUS_PRE_ROLL_NS: Final = 80_000_000
_VP8_START_CODE: Final = b"\x9d\x01\x2a"


class NotWebm(Exception):
    """Not what :mod:`recordings.webm` writes."""


@dataclass(frozen=True, slots=True)
class Block:
    """One frame; ``track`` is :data:`VIDEO` or :data:`AUDIO`."""

    time: int
    track: int
    is_key: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Cue:
    """``position`` of a cluster, counted from the first one."""

    time: int
    track: int
    position: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What the head says. ``size`` of the picture, None where there is none."""

    size: tuple[int, int] | None
    has_sound: bool


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a VP8 key frame, None of any other frame (RFC 6386 §9.1)."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != _VP8_START_CODE:
        return None
    return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(
        data[8:10], "little"
    ) & 0x3FFF


# ---- writing ---------------------------------------------------------------------------


def live_head(shape: Shape) -> bytes:
    """The beginning of a stream whose end is not known."""
    info = _element(_INFO, _usual_info())
    return _file_head() + _id(_SEGMENT) + _UNKNOWN_SIZE + info + _tracks(shape)


def whole_head(shape: Shape, duration: int, cues: Sequence[Cue], clusters_bytes: int) -> bytes:
    """The beginning of a whole file: where everything is comes before everything."""
    info = _element(_INFO, _usual_info() + _element(_DURATION, struct.pack(">d", duration)))
    tracks = _tracks(shape)
    before_cues = len(_seek_head(0, 0, 0)) + len(info) + len(tracks)
    first = before_cues + len(_cues(cues, 0))
    at_info = len(_seek_head(0, 0, 0))
    body = _seek_head(at_info, at_info + len(info), before_cues) + info + tracks
    body += _cues(cues, first)
    return _file_head() + _id(_SEGMENT) + _size(len(body) + clusters_bytes) + body


def cluster(blocks: Sequence[Block]) -> bytes:
    """All blocks in their order; the first has the earliest time, or nearly."""
    start = blocks[0].time
    parts = [_uint(_TIME, start)]
    for block in blocks:
        flags = _KEY_FLAG if block.is_key else 0
        head = struct.pack(">BhB", _KEY_FLAG | block.track, block.time - start, flags)
        parts += (b"\xa3", _size(len(head) + len(block.data)), head, block.data)
    body_bytes = sum(map(len, parts))
    return b"".join((_id(CLUSTER), _size(body_bytes), *parts))


def tags(words: Iterable[tuple[str, str]]) -> bytes:
    """Names and what they say."""
    simple = [
        _element(_SIMPLE, _element(_NAME, name.encode()) + _element(_TEXT, text.encode()))
        for name, text in words
    ]
    return _element(TAGS, _element(_TAG, b"".join(simple)))


def _file_head() -> bytes:
    fields = ((0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8))
    body = b"".join(_uint(name, value) for name, value in fields)
    return _element(_EBML, body + _element(0x4282, b"webm") + _uint(0x4287, 4) + _uint(0x4285, 2))


def _usual_info() -> bytes:
    application = _element(_MUXER, _APPLICATION) + _element(_WRITER, _APPLICATION)
    return _uint(_SCALE, _NANOSECONDS) + application


def _tracks(shape: Shape) -> bytes:
    body = b""
    if shape.size is not None:
        width, height = shape.size
        sides = _element(_VIDEO, _uint(_WIDTH, width) + _uint(_HEIGHT, height))
        body += _element(_TRACK, _usual_track(VIDEO, b"V_VP8") + sides)
    if shape.has_sound:
        rate = _element(_RATE, struct.pack(">d", AUDIO_RATE)) + _uint(_CHANNELS, 2)
        opus = _element(_PRIVATE, _OPUS_HEAD)
        opus += _uint(_DELAY, _OPUS_PRE_SKIP * 10**9 // AUDIO_RATE)
        opus += _uint(_PRE_ROLL, _OPUS_PRE_ROLL_NS)
        body += _element(_TRACK, _usual_track(AUDIO, b"A_OPUS") + opus + _element(_AUDIO, rate))
    return _element(_TRACKS, body)


def _usual_track(number: int, codec: bytes) -> bytes:
    numbers = _uint(_NUMBER, number) + _uint(_UID, number) + _uint(_TYPE, number)
    return numbers + _uint(_LACING, 0) + _element(_CODEC, codec)


def _seek_head(info: int, tracks: int, cues: int) -> bytes:
    """Positions from the start of the segment's content, all of one width."""
    found = ((_INFO, info), (_TRACKS, tracks), (_CUES, cues))
    seeks = [
        _element(_SEEK, _element(_SEEK_ID, _id(name)) + _wide_uint(_SEEK_POSITION, position))
        for name, position in found
    ]
    return _element(_SEEK_HEAD, b"".join(seeks))


def _cues(cues: Sequence[Cue], first: int) -> bytes:
    points = []
    for cue in cues:
        where = _uint(_CUE_TRACK, cue.track) + _wide_uint(_CUE_AT, first + cue.position)
        points.append(_element(_CUE, _uint(_CUE_TIME, cue.time) + _element(_CUE_WHERE, where)))
    return _element(_CUES, b"".join(points)) if points else b""


def _element(name: int, body: bytes) -> bytes:
    return _id(name) + _size(len(body)) + body


def _uint(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _wide_uint(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))


def _id(name: int) -> bytes:
    return name.to_bytes((name.bit_length() + 7) // 8, "big")


def _size(value: int) -> bytes:
    """As short as it goes; a size of ones only means unknown."""
    width = value.bit_length() // 7 + 1
    if value == (1 << 7 * width) - 1:
        width += 1
    return (value | 1 << 7 * width).to_bytes(width, "big")


# ---- reading ---------------------------------------------------------------------------


def kind_of(record: bytes) -> int:
    """Which element a record is.

    :raises NotWebm: none.
    """
    return _read_id(record, 0)[0]


def blocks_of(record: bytes) -> Iterator[Block]:
    """Of one cluster.

    :raises NotWebm: not one.
    """
    start = 0
    for name, begin, end in _children(record, *_body(record, CLUSTER)):
        if name == _TIME:
            start = int.from_bytes(record[begin:end], "big")
        elif name == _BLOCK:
            track, time, flags = struct.unpack_from(">BhB", record, begin)
            is_key = bool(flags & _KEY_FLAG)
            yield Block(start + time, track & ~_KEY_FLAG, is_key, record[begin + 4 : end])


def words_of(record: bytes) -> Iterator[tuple[str, str]]:
    """Of one element of tags.

    :raises NotWebm: not one.
    """
    for _, begin, end in _children(record, *_body(record, TAGS)):
        for _, inner, inner_end in _children(record, begin, end):
            found = {
                name: record[first:last].decode()
                for name, first, last in _children(record, inner, inner_end)
            }
            yield found[_NAME], found[_TEXT]


def _body(record: bytes, wanted: int) -> tuple[int, int]:
    name, begin = _read_id(record, 0)
    size, begin = _read_size(record, begin)
    if name != wanted or begin + size != len(record):
        raise NotWebm
    return begin, begin + size


def _children(record: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Name, begin and end of what each holds."""
    while begin < end:
        name, begin = _read_id(record, begin)
        size, begin = _read_size(record, begin)
        if begin + size > end:
            raise NotWebm
        yield name, begin, begin + size
        begin += size


def _read_id(record: bytes, at: int) -> tuple[int, int]:
    width = 9 - record[at].bit_length() if at < len(record) else 0
    if not 1 <= width <= 4:
        raise NotWebm
    return int.from_bytes(record[at : at + width], "big"), at + width


def _read_size(record: bytes, at: int) -> tuple[int, int]:
    width = 9 - record[at].bit_length() if at < len(record) else 0
    if not 1 <= width <= 8:
        raise NotWebm
    value = int.from_bytes(record[at : at + width], "big")
    return value & (1 << 7 * width) - 1, at + width
