"""A socket in its seat: each frame is decoded, put to the room's rules and appended to the log.

All of it happens while the bytes come in. Only an admission waits for the records; what the same
client says meanwhile is heard afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import WSCloseCode

from signaling.describe import describe
from signaling.messages import (
    SIGNAL_FRAMES,
    Admitted,
    ClientFrame,
    Error,
    Hello,
    Ping,
    Pong,
    Role,
    RoomEvent,
    TurnedAway,
)
from signaling.reasons import ByeReason, RefusalCode, Refused
from signaling.room import KEPT_ACTS
from signaling.rooms import OpenRoom, RoomHooks, Rooms
from signaling.rules import NumberedFrame, SignalFrame, decide, decide_loss, decide_signal
from signaling.sockets import Socket, encode

MAX_BAD_MESSAGES: Final = 8

_PONG: Final = encode(Pong())
decode: Final = msgspec.json.Decoder(ClientFrame).decode

logger = logging.getLogger(__name__)


class Seat:
    """A socket with the right it has proven; the listener of the socket from then on."""

    __slots__ = (
        "_bad_messages",
        "_hooks",
        "_is_parted",
        "_keeping",
        "_on_parted",
        "_rooms",
        "opened",
        "participant",
        "role",
        "socket",
    )

    def __init__(
        self,
        socket: Socket,
        opened: OpenRoom,
        participant: str,
        role: Role,
        rooms: Rooms,
        hooks: RoomHooks,
        on_parted: Callable[[Socket], None],
    ) -> None:
        self.socket = socket
        self.opened = opened
        self.participant = participant
        self.role = role
        self._rooms = rooms
        self._hooks = hooks
        self._on_parted = on_parted
        self._bad_messages = 0
        self._keeping: asyncio.Task[None] | None = None
        self._is_parted = False

    def append(self, event: RoomEvent) -> None:
        """What this one does, to the log of the room."""
        self._rooms.append(self.opened, event, self.participant, self.socket.id)

    # ---- frames ----------------------------------------------------------------------------

    def hear(self, payload: bytearray) -> None:
        """One frame of the client."""
        try:
            if not payload.isascii():
                payload.decode()  # forwarded as it is, it would end the other one's socket
            frame = decode(payload)
        except UnicodeDecodeError:
            self.socket.end(ByeReason.BAD_MESSAGES, code=WSCloseCode.INVALID_TEXT)
        except (msgspec.MsgspecError, RecursionError) as error:
            self._reproach(error)
        else:
            if isinstance(frame, SIGNAL_FRAMES):
                self._pass_on(frame)
            elif isinstance(frame, Ping):
                self.socket.send_bytes(_PONG)
            elif isinstance(frame, Hello):
                self.socket.send(Error(code=RefusalCode.ALREADY_HERE))
            else:
                self._take(frame)

    def _reproach(self, error: Exception) -> None:
        self._bad_messages += 1
        if self._bad_messages > MAX_BAD_MESSAGES:
            self.socket.end(ByeReason.BAD_MESSAGES, code=WSCloseCode.POLICY_VIOLATION)
            return
        is_type_unknown = str(error).endswith("`$.type`")
        code = RefusalCode.UNKNOWN_TYPE if is_type_unknown else RefusalCode.BAD_MESSAGE
        self.socket.send(Error(code=code))

    def _pass_on(self, frame: SignalFrame) -> None:
        """What most frames are has the fewest steps."""
        room = self.opened.room
        if frame.cseq > room.members[self.participant].cseq:
            try:
                event = decide_signal(room, self.participant, frame)
            except Refused as refusal:
                self._refuse(frame, refusal)
            else:
                self._settle(frame, event)
        else:
            self.socket.take(frame.cseq)

    def _take(self, frame: NumberedFrame) -> None:
        room = self.opened.room
        if frame.cseq <= room.members[self.participant].cseq:
            self.socket.take(frame.cseq)
            return
        try:
            event = decide(room, self.participant, frame)
        except Refused as refusal:
            self._refuse(frame, refusal)
            return
        if isinstance(event, KEPT_ACTS):
            self.socket.hold()
            self._keeping = asyncio.create_task(self._keep(frame, event))
        else:
            self._settle(frame, event)

    def _settle(self, frame: NumberedFrame, event: RoomEvent | None) -> None:
        opened, socket, cseq = self.opened, self.socket, frame.cseq
        if event is None:
            opened.room.skip(self.participant, socket.id, cseq)
        else:
            self._rooms.append(opened, event, self.participant, socket.id, cseq)
        socket.take(cseq)

    def _refuse(self, frame: NumberedFrame, refusal: Refused) -> None:
        logger.info("refused %s of socket %s: %s", describe(frame), self.socket.id, refusal)
        self.socket.send(Error(code=refusal.code, cseq=frame.cseq))
        self._settle(frame, None)

    async def _keep(self, frame: NumberedFrame, act: Admitted | TurnedAway) -> None:
        """The records have the act before the room hears of it."""
        keep = self._hooks.admit if isinstance(act, Admitted) else self._hooks.turn_away
        try:
            await keep(self.opened.room_id, self.participant, act.participant)
            self._settle(frame, act)
        except Refused as refusal:
            self._refuse(frame, refusal)
        except Exception:
            logger.exception("act of socket %s is not kept", self.socket.id)
            self.socket.fail()
        self._keeping = None
        if self._is_parted:
            self._leave()
        else:
            self.socket.release()

    # ---- the end ---------------------------------------------------------------------------

    def part(self) -> None:
        """The connection is gone; an act that is being kept is finished first."""
        self._is_parted = True
        if self._keeping is None:
            self._leave()

    def _leave(self) -> None:
        opened, who = self.opened, self.participant
        if opened.sockets.get(who) is self.socket:
            del opened.sockets[who]
        try:
            event = decide_loss(opened.room, who, self.socket.id)
            if event is not None:
                self.append(event)
        finally:
            self._rooms.leave(opened)
            self._on_parted(self.socket)
