"""Whole frames out of packets: what is lost is asked for again, and given up in time."""

from __future__ import annotations

import aiortc
import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket

from recordings import encoded
from recordings.encoded import (
    EncodedFrame,
    FrameBuffer,
    UntestedAiortc,
    require_known_aiortc,
    take_frames,
)

START, GOES_ON = b"\x10", b"\x00"


class Line:
    """Packets on their way into a buffer: pictures of three packets each, numbered from 65530."""

    def __init__(self, kind: str = "video") -> None:
        self.frames: list[EncodedFrame] = []
        self.losses = 0
        self.buffer = FrameBuffer(kind, self.frames.append, self._lose)
        self._each = 3 if kind == "video" else 1

    def send(self, *frames: int, without: tuple[int, ...] = ()) -> None:
        """``without``: packets, counted from the first frame's first, that are lost."""
        for frame in frames:
            for part in range(self._each):
                if frame * self._each + part not in without:
                    self.put(frame, part)

    def put(self, frame: int, part: int) -> None:
        packet = RtpPacket(
            sequence_number=(65_530 + frame * self._each + part) % 2**16,
            timestamp=frame * 3000,
            marker=part == self._each - 1,
            payload=(START if part == 0 else GOES_ON) + b"x",
        )
        packet._data = f"{frame}.{part} ".encode()
        self.buffer.add(packet)

    @property
    def given(self) -> list[str]:
        return [frame.data.decode().strip() for frame in self.frames]

    def _lose(self) -> None:
        self.losses += 1


def whole(frame: int) -> str:
    return f"{frame}.0 {frame}.1 {frame}.2"


def test_what_never_came_is_counted_by_the_numbers_of_the_rest() -> None:
    line = Line()
    line.send(0, 1, 2, 3, without=(3, 4, 7))
    assert line.buffer.absent == 3

    line.put(1, 1)
    line.put(1, 1)
    line.put(0, 0)
    assert (line.buffer.absent, line.buffer.packets) == (2, 12)


def test_frames_come_out_whole_and_in_order() -> None:
    line = Line()
    line.send(0, 1, 2)

    assert line.given == [whole(0), whole(1), whole(2)]
    assert (line.buffer.packets, line.buffer.begun, line.buffer.whole) == (9, 3, 3)


def test_what_came_late_frees_all_that_waited_for_it() -> None:
    line = Line()
    line.send(0, 1, 2, 3, without=(4,))
    assert line.given == [whole(0)]
    assert line.buffer.missing() == [(65_530 + 4) % 2**16]

    line.put(1, 1)
    assert line.given == [whole(0), whole(1), whole(2), whole(3)]
    assert line.buffer.missing() == []
    assert line.losses == 0


def test_what_never_comes_is_given_up_up_to_the_start_of_a_frame() -> None:
    line = Line()
    line.send(0, 1, 2, 3, 4, without=(4, 6))

    assert line.buffer.give_up()
    line.send(5)
    assert line.given == [whole(0), *map(whole, (3, 4, 5))], "the third lost its start"
    assert line.losses == 1
    assert line.buffer.begun - line.buffer.whole == 2


def test_nothing_is_given_up_while_nothing_came_after_it() -> None:
    line = Line()
    line.send(0, without=(1, 2))

    assert not line.buffer.give_up()
    line.put(0, 1)
    line.put(0, 2)
    assert line.given == [whole(0)]


def test_a_packet_that_came_twice_is_counted_and_kept_once() -> None:
    line = Line("audio")
    line.send(0, 1, 2)
    line.put(1, 0)
    line.send(3)

    assert line.given == ["0.0", "1.0", "2.0", "3.0"]
    assert (line.buffer.packets, line.buffer.begun) == (5, 4)


def test_lost_sound_does_not_hold_up_what_follows() -> None:
    line = Line("audio")
    line.send(0, *range(2, 80))

    assert line.given[:2] == ["0.0", "2.0"]


def test_an_aiortc_that_was_not_tested_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_known_aiortc()
    monkeypatch.setattr(aiortc, "__version__", "1.17.0")

    with pytest.raises(UntestedAiortc, match=r"1\.17\.0"):
        require_known_aiortc()


async def test_a_receiver_without_the_place_of_the_seam_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = RTCPeerConnection()
    receiver = connection.addTransceiver("video").receiver
    buffer = FrameBuffer("video", lambda _: None, lambda: None)
    take_frames(receiver, buffer)
    assert receiver._RTCRtpReceiver__jitter_buffer is buffer

    monkeypatch.setattr(encoded, "_JITTER_BUFFER", "_RTCRtpReceiver__moved_elsewhere")
    with pytest.raises(AttributeError):
        take_frames(receiver, buffer)
    await connection.close()
