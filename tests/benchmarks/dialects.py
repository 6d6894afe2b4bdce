"""One call set-up in the three protocols that are compared: the same steps, other words.

A dialect says what goes on the wire and what a received frame means. It holds no socket and no
clock; ``load.py`` plays the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

import msgspec

CANDIDATES: Final = 10
_SDP_BYTES: Final = 2500


class Heard(Enum):
    """What a received frame means to the one who hears it."""

    IN_ROOM = auto()
    SIGNAL = auto()
    """An offer, an answer or one candidate."""
    OTHER_LEFT = auto()
    NOTHING = auto()


class Signal(Enum):
    OFFER = "offer"
    ANSWER = "answer"
    CANDIDATE = "candidate"


@dataclass(slots=True)
class Seat:
    """One side of a call: its key (ticket or name), the other's, and what the room told it."""

    key: str
    other: str
    is_patient: bool
    generation: int = 0
    cseq: int = 0


class Dialect(Protocol):
    """A protocol in which two sides set a call up."""

    candidate_frames: int
    """In how many frames a side sends its ten candidates."""

    def address(self, port: int, seat: Seat) -> str: ...

    def hello(self, seat: Seat) -> bytes | None:
        """The first frame; None where connecting is enough."""

    def signal(self, seat: Seat, signal: Signal) -> bytes: ...

    def farewell(self, seat: Seat) -> bytes: ...

    def hear(self, seat: Seat, frame: bytes) -> Heard: ...


def _description(kind: str) -> bytes:
    sdp = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\n"
    sdp += "a=rtpmap:96 VP8/90000\r\n" * ((_SDP_BYTES - len(sdp)) // 23)
    return msgspec.json.encode({"type": kind, "sdp": sdp})


_CANDIDATE: Final = msgspec.json.encode(
    {
        "candidate": "candidate:842163049 1 udp 1677729535 192.0.2.17 46154 typ srflx "
        "raddr 10.0.0.17 rport 46154 generation 0 ufrag EEtu network-id 3 network-cost 10",
        "sdpMid": "0",
        "sdpMLineIndex": 0,
        "usernameFragment": "EEtu",
    }
)
_PAYLOADS: Final = {
    Signal.OFFER: _description("offer"),
    Signal.ANSWER: _description("answer"),
    Signal.CANDIDATE: _CANDIDATE,
}


class _Person(msgspec.Struct):
    generation: int


class _Head(msgspec.Struct):
    """As much of a frame of any dialect as a side needs to know."""

    type: str
    generation: int = 0
    participants: list[_Person] = []


_read_head: Final = msgspec.json.Decoder(_Head).decode
_SIGNAL_TYPES: Final = frozenset({"offer", "answer", "candidates", "candidate"})


class Accanto:
    """``signaling/PROTOCOL.md``."""

    def __init__(self, candidate_frames: int = CANDIDATES) -> None:
        self.candidate_frames = candidate_frames
        batch = b",".join([_CANDIDATE] * (CANDIDATES // candidate_frames))
        self._payloads = _PAYLOADS | {Signal.CANDIDATE: b"[%b]" % batch}

    _TYPES: Final = {
        Signal.OFFER: b"offer",
        Signal.ANSWER: b"answer",
        Signal.CANDIDATE: b"candidates",
    }

    def address(self, port: int, seat: Seat) -> str:
        return f"ws://127.0.0.1:{port}/ws"

    def hello(self, seat: Seat) -> bytes:
        return msgspec.json.encode({"type": "hello", "versions": [1], "ticket": seat.key})

    def signal(self, seat: Seat, signal: Signal) -> bytes:
        seat.cseq += 1
        return b'{"type":"%b","cseq":%d,"to":"%b","generation":%d,"payload":%b}' % (
            self._TYPES[signal],
            seat.cseq,
            b"clinician" if seat.is_patient else b"patient",
            seat.generation,
            self._payloads[signal],
        )

    def farewell(self, seat: Seat) -> bytes:
        seat.cseq += 1
        return b'{"type":"leave","cseq":%d}' % seat.cseq

    def hear(self, seat: Seat, frame: bytes) -> Heard:
        head = _read_head(frame)
        match head.type:
            case "welcome":
                seat.generation = max(person.generation for person in head.participants)
                return Heard.IN_ROOM
            case "offer" | "answer" | "candidates":
                seat.generation = head.generation
                return Heard.SIGNAL
            case "gone":
                return Heard.OTHER_LEFT
            case _:
                return Heard.NOTHING


class PeerJs:
    """PeerJS server: the address is the hello, frames go to another peer by its name."""

    candidate_frames = CANDIDATES

    def address(self, port: int, seat: Seat) -> str:
        return f"ws://127.0.0.1:{port}/peerjs?key=peerjs&id={seat.key}&token={seat.key}"

    def hello(self, seat: Seat) -> None:
        return None

    def signal(self, seat: Seat, signal: Signal) -> bytes:
        return b'{"type":"%b","dst":"%b","payload":%b}' % (
            signal.value.upper().encode(),
            seat.other.encode(),
            _PAYLOADS[signal],
        )

    def farewell(self, seat: Seat) -> bytes:
        return b'{"type":"LEAVE","dst":"%b"}' % seat.other.encode()

    def hear(self, seat: Seat, frame: bytes) -> Heard:
        kind = _read_head(frame).type.lower()
        if kind in _SIGNAL_TYPES:
            return Heard.SIGNAL
        return {"open": Heard.IN_ROOM, "leave": Heard.OTHER_LEFT}.get(kind, Heard.NOTHING)


class BareRelay:
    """``relay.py``; the two sides of a room have the same key."""

    candidate_frames = CANDIDATES

    def address(self, port: int, seat: Seat) -> str:
        return f"ws://127.0.0.1:{port}/ws"

    def hello(self, seat: Seat) -> bytes:
        return msgspec.json.encode({"type": "hello", "room": seat.key})

    def signal(self, seat: Seat, signal: Signal) -> bytes:
        return b'{"type":"%b","payload":%b}' % (signal.value.encode(), _PAYLOADS[signal])

    def farewell(self, seat: Seat) -> bytes:
        return b'{"type":"leave"}'

    def hear(self, seat: Seat, frame: bytes) -> Heard:
        kind = _read_head(frame).type
        if kind in _SIGNAL_TYPES:
            return Heard.SIGNAL
        return {"welcome": Heard.IN_ROOM, "leave": Heard.OTHER_LEFT}.get(kind, Heard.NOTHING)


DIALECTS: Final[dict[str, Dialect]] = {
    "accanto": Accanto(),
    "accanto-page": Accanto(candidate_frames=2),
    "peerjs": PeerJs(),
    "relay": BareRelay(),
}
