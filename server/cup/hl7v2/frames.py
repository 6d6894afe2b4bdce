"""MLLP framing: bytes in, messages out. A frame is 0x0B, the message, 0x1C 0x0D.

Pure. The connection is :mod:`server.cup.hl7v2.mllp`'s. ``hl7.mllp`` is not used: over its limit it
throws the bytes away, and they must be kept for a person. Memory is bounded by :data:`FRAME_BYTES`.
"""

from __future__ import annotations

from typing import Final

from server.cup.hl7v2.wire import CUT, FRAME_BYTES

START: Final = CUT
END: Final = b"\x1c\x0d"


def wrap(message: bytes) -> bytes:
    """A message in its frame."""
    return START + message + END


class Framer:
    """Takes what a connection brings. A start inside of a frame means that the frame was cut:
    in no character set that is read it belongs to a text.

    A frame that was cut, or is over at the limit, is given with its start and no end, so that
    it is known as such also when it is mapped again.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_inside = False
        self._searched = 0
        self.skipped = 0
        """Bytes since the last frame that belong to none."""

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._is_inside

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are over with these bytes. Of one that is too long the rest is
        skipped."""
        self._buffer += data
        messages: list[bytes] = []
        while self._enter():
            message = self._take_message()
            if message is None:
                break
            messages.append(message)
        return messages

    def close(self) -> list[bytes]:
        """What is left when the connection has ended."""
        return [self._leave_cut(len(self._buffer))] if self._is_inside else []

    def _enter(self) -> bool:
        if self._is_inside:
            return True
        start = self._buffer.find(START)
        self.skipped += start if start >= 0 else len(self._buffer)
        if start < 0:
            self._buffer.clear()
            return False
        del self._buffer[: start + 1]
        self._is_inside, self._searched = True, 0
        return True

    def _take_message(self) -> bytes | None:
        end = self._buffer.find(END, self._searched)
        start = self._buffer.find(START, self._searched, end if end >= 0 else len(self._buffer))
        if start >= 0:
            return self._leave_cut(start)
        if end > FRAME_BYTES:
            return self._leave_cut(end)
        if end >= 0:
            message = bytes(self._buffer[:end])
            self._leave(end + len(END))
            return message
        if len(self._buffer) > FRAME_BYTES + len(END):
            return self._leave_cut(len(self._buffer))
        self._searched = max(0, len(self._buffer) - 1)
        return None

    def _leave_cut(self, length: int) -> bytes:
        message = START + bytes(self._buffer[: min(length, FRAME_BYTES)])
        self._leave(length)
        return message

    def _leave(self, length: int) -> None:
        del self._buffer[:length]
        self._is_inside, self.skipped = False, 0
