"""Frames of RFC 6455 as bytes: what a client sends is read, what it gets is built. Pure.

The reader takes the stream in whatever pieces it comes and joins fragments. It is strict: frames
without a mask, reserved bits, unknown kinds, control frames that are long or in pieces, lengths
written longer than needed and messages above 64 KiB end the stream with a close code. Payloads are
unmasked by aiohttp's C function, four times as fast as Python can.
"""

from __future__ import annotations

import struct
from typing import Final

from aiohttp._websocket.helpers import websocket_mask

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
_WHOLE_TEXT: Final = _FINAL | TEXT
_SMALLEST: Final = 6
_MAX_CONTROL_BYTES: Final = 125
_SHORT: Final = struct.Struct("!BB").pack
_MEDIUM: Final = struct.Struct("!BBH").pack
_LONG: Final = struct.Struct("!BBQ").pack
_CLOSE: Final = struct.Struct("!BBH").pack

Message = tuple[int, bytearray]
"""Kind and payload."""


def text_frame(payload: bytes) -> bytes:
    """One text message in one frame."""
    size = len(payload)
    if size < 126:
        return _SHORT(_FINAL | TEXT, size) + payload
    if size < 65536:
        return _MEDIUM(_FINAL | TEXT, 126, size) + payload
    return _LONG(_FINAL | TEXT, 127, size) + payload


def control_frame(kind: int, payload: bytes | bytearray = b"") -> bytes:
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
        self._message = bytearray()

    @property
    def is_empty(self) -> bool:
        """No part of a message is here."""
        return not self._rest and not self._message

    def feed(self, data: bytes) -> list[Message]:
        """The messages and control frames that are complete now."""
        if self._is_broken():
            return []
        if self._rest:
            data = self._rest + data
        messages: list[Message] = []
        at, end = 0, len(data)
        while end - at >= _SMALLEST:
            head, size, start = data[at], data[at + 1] - _MASKED, at + _SMALLEST
            if (head != _WHOLE_TEXT or size < 0 or self._kind) and not self._is_well_formed(
                head, size
            ):
                break
            if size > _MAX_CONTROL_BYTES:
                start += 2 if size == 126 else 8
                if start > end:
                    break
                size = int.from_bytes(data[at + 2 : start - 4], "big")
                if not self._is_acceptable(size, start - at):
                    break
            if start + size > end:
                break
            at = start + size
            payload = bytearray(data[start:at])
            websocket_mask(data[start - 4 : start], payload)
            if head == _WHOLE_TEXT:
                messages.append((TEXT, payload))
            else:
                self._take(messages, head, payload)
                if self._is_broken():
                    break
        self._rest = data[at:]
        return messages

    def _is_broken(self) -> bool:
        return self.refusal != 0

    def _is_well_formed(self, head: int, size: int) -> bool:
        """Checks the first two bytes; ``size`` is negative where the mask is missing."""
        kind = head & 0x0F
        if head & _RESERVED or size < 0:
            self.refusal = PROTOCOL_ERROR
        elif kind >= CLOSE:
            if kind > PONG or not head & _FINAL or size > _MAX_CONTROL_BYTES:
                self.refusal = PROTOCOL_ERROR
        elif kind > BINARY or (kind == CONTINUATION) != (self._kind != 0):
            self.refusal = PROTOCOL_ERROR
        return not self.refusal

    def _is_acceptable(self, size: int, head_bytes: int) -> bool:
        """Checks a size that did not fit into the first two bytes."""
        if size > MAX_FRAME_BYTES:
            self.refusal = MESSAGE_TOO_BIG
        elif size <= (_MAX_CONTROL_BYTES if head_bytes == 8 else 0xFFFF):
            self.refusal = PROTOCOL_ERROR
        return not self.refusal

    def _take(self, messages: list[Message], head: int, payload: bytearray) -> None:
        kind, is_final = head & 0x0F, head & _FINAL
        if kind >= CLOSE or (is_final and kind == BINARY):
            messages.append((kind, payload))
            return
        self._kind = self._kind or kind
        self._message += payload
        if len(self._message) > MAX_FRAME_BYTES:
            self.refusal = MESSAGE_TOO_BIG
        elif is_final:
            messages.append((self._kind, self._message))
            self._kind, self._message = 0, bytearray()
