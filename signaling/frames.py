"""Frames of RFC 6455 as bytes: what a client sends is read, what it gets is built. Pure.

The reader takes the stream in whatever pieces it comes and joins fragments. It is strict: frames
without a mask, reserved bits, unknown kinds, control frames that are long or in pieces, lengths
written longer than needed and messages above 64 KiB end the stream with a close code.
"""

from __future__ import annotations

import struct
from typing import Final

from signaling.messages import MAX_FRAME_BYTES

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

PROTOCOL_ERROR: Final = 1002
MESSAGE_TOO_BIG: Final = 1009

_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_SMALLEST: Final = 6
_MAX_CONTROL_BYTES: Final = 125
_SHORT: Final = struct.Struct("!BB").pack
_MEDIUM: Final = struct.Struct("!BBH").pack
_LONG: Final = struct.Struct("!BBQ").pack
_CLOSE: Final = struct.Struct("!BBH").pack


def text_frame(payload: bytes) -> bytes:
    """One text message in one frame."""
    size = len(payload)
    if size < 126:
        return _SHORT(_FINAL | TEXT, size) + payload
    if size < 65536:
        return _MEDIUM(_FINAL | TEXT, 126, size) + payload
    return _LONG(_FINAL | TEXT, 127, size) + payload


def control_frame(kind: int, payload: bytes = b"") -> bytes:
    return _SHORT(_FINAL | kind, len(payload)) + payload


def close_frame(code: int) -> bytes:
    return _CLOSE(_FINAL | CLOSE, 2, code)


class FrameReader:
    """The messages in a client's stream of bytes."""

    __slots__ = ("_kind", "_message", "_rest", "refusal")

    def __init__(self) -> None:
        self.refusal = 0
        """Close code once the stream is broken; nothing is read from then on."""
        self._rest = b""
        self._kind = 0
        """Of the message whose first fragments are in ``_message``."""
        self._message = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Kind and payload of the messages and control frames that are complete now."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        messages: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        while end - at >= _SMALLEST and not self.refusal:
            head, size, start = data[at], data[at + 1], at + _SMALLEST
            self._check(head, size)
            size &= ~_MASKED
            if size > _MAX_CONTROL_BYTES:
                width = 2 if size == 126 else 8
                start += width
                if start > end:
                    break
                size = self._check_size(int.from_bytes(data[at + 2 : at + 2 + width]), width)
            if start + size > end or self.refusal:
                break
            at = start + size
            self._take(messages, head, _unmask(data[start:at], data[start - 4 : start]))
        if at < end and not self.refusal:
            self._rest = data[at:]
        return messages

    def _check(self, head: int, size: int) -> None:
        kind = head & 0x0F
        if head & _RESERVED or not size & _MASKED:
            self.refusal = PROTOCOL_ERROR
        elif kind >= CLOSE:
            if kind > PONG or not head & _FINAL or size & ~_MASKED > _MAX_CONTROL_BYTES:
                self.refusal = PROTOCOL_ERROR
        elif kind > BINARY or (kind == CONTINUATION) != (self._kind != 0):
            self.refusal = PROTOCOL_ERROR

    def _check_size(self, size: int, width: int) -> int:
        if size + len(self._message) > MAX_FRAME_BYTES:
            self.refusal = MESSAGE_TOO_BIG
        elif size <= (_MAX_CONTROL_BYTES if width == 2 else 0xFFFF):
            self.refusal = PROTOCOL_ERROR
        return size

    def _take(self, messages: list[tuple[int, bytes]], head: int, payload: bytes) -> None:
        kind, is_final = head & 0x0F, head & _FINAL
        if kind >= CLOSE or (is_final and kind != CONTINUATION):
            messages.append((kind, payload))
            return
        self._kind = self._kind or kind
        self._message += payload
        if len(self._message) > MAX_FRAME_BYTES:
            self.refusal = MESSAGE_TOO_BIG
        elif is_final:
            messages.append((self._kind, self._message))
            self._kind, self._message = 0, b""


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")
