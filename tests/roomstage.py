"""A room with a log that numbers, and short words to act in it: what the tests of the fold use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import msgspec

from signaling.entries import Entry
from signaling.messages import Participant, ParticipantState, Returned, Role, RoomEvent
from signaling.room import Effect, Room
from signaling.rules import NumberedFrame, decide, decide_join, decide_loss

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SDP = msgspec.Raw(b'{"sdp":"v=0"}')


@dataclass
class Stage:
    """A room with a log that numbers, and short words to act in it."""

    room: Room = field(default_factory=Room)
    now: datetime = NOW
    sockets: dict[str, str] = field(default_factory=dict)
    cseqs: dict[str, int] = field(default_factory=dict)
    numbers: count[int] = field(default_factory=lambda: count(1))

    def append(
        self, event: RoomEvent, by: str = "", socket: str = "", cseq: int = 0, reason: str = ""
    ) -> list[Effect]:
        event = msgspec.structs.replace(event, seq=self.room.seq + 1)
        entry = Entry(event=event, node="n1", by=by, socket=socket, cseq=cseq, reason=reason)
        entry.at = self.now.timestamp()
        return self.room.apply(entry)

    def join(self, who: str, role: Role = Role.PATIENT) -> list[Effect]:
        self.sockets[who] = f"s{next(self.numbers)}"
        self.cseqs[who] = 0
        return self.append(decide_join(self.room, who, role), who, self.sockets[who])

    def send(self, who: str, make: type[NumberedFrame], **fields: object) -> list[Effect]:
        self.cseqs[who] += 1
        frame = make(cseq=self.cseqs[who], **fields)  # type: ignore[arg-type]
        event = decide(self.room, who, frame)
        return [] if event is None else self.append(event, who, self.sockets[who], frame.cseq)

    def lose(self, who: str) -> list[Effect]:
        event = decide_loss(self.room, who, self.sockets[who])
        return [] if event is None else self.append(event, who, self.sockets[who])

    def come_back(self, who: str) -> list[Effect]:
        self.sockets[who] = f"s{next(self.numbers)}"
        return self.append(Returned(participant=who), who, self.sockets[who])

    def see(self, who: str) -> Participant:
        return next(one for one in self.room.snapshot() if one.participant == who)

    def state(self, who: str) -> ParticipantState:
        return self.see(who).state

    def pair(self) -> int:
        return max(one.generation for one in self.room.snapshot())
