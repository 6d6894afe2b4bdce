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
    ByeAction,
    ClientFrame,
    Error,
    Hello,
    Joined,
    Ping,
    Pong,
    Returned,
    Role,
    RoomEvent,
    TurnedAway,
)
from signaling.openroom import OpenRoom
from signaling.reasons import ByeReason, RefusalCode, Refused
from signaling.room import KEPT_ACTS
from signaling.rooms import RoomHooks, Rooms
from signaling.rules import NumberedFrame, SignalFrame, decide, decide_loss, decide_signal
from signaling.sockets import Socket, encode

MAX_BAD_MESSAGES: Final = 8

_PONG: Final = encode(Pong())
decode: Final = msgspec.json.Decoder(ClientFrame).decode

logger = logging.getLogger(__name__)


class Seat:
    """A socket with the right it has proven; the listener of the socket from then on."""

    __slots__ = (
        "_bad_messages", "_heard", "_hooks", "_is_arriving", "_is_parted", "_keeping",
        "_on_parted", "_rooms", "opened", "participant", "role", "socket",
    )  # fmt: skip

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
        self._heard = 0
        """The last frame that needs no second hearing."""
        self._bad_messages = 0
        self._keeping: asyncio.Task[None] | None = None
        self._is_arriving = False
        """Its ``joined`` or ``returned`` is on its way through the log."""
        self._is_parted = False

    def ask_for(self, event: Joined | Returned, ticket: str, on_seated: Callable[[], None]) -> None:
        """Appends what opens the seat; ``on_seated`` is called when it comes out of the log and
        the socket is still there."""

        def arrive() -> None:
            self._is_arriving = False
            if self._is_parted:
                self._leave()
            elif opened.is_over:
                socket.end(ByeReason.LOG_LOST, ByeAction.RECONNECT)
            else:
                on_seated()

        opened, socket = self.opened, self.socket
        opened.arrivals[socket.id] = arrive
        self._is_arriving = True
        self._rooms.append(opened, event, self.participant, socket.id, ticket=ticket)
        if self._is_arriving:
            socket.hold()

    def begin(self, cseq: int) -> None:
        """It has its ``welcome``; ``cseq`` is the last frame that the room has taken."""
        self._heard = cseq
        self.opened.sockets[self.participant] = self.socket
        if self.socket.is_held:
            self.socket.release()

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
        opened, socket, cseq = self.opened, self.socket, frame.cseq
        if cseq <= self._heard:
            socket.skip(cseq)
            return
        try:
            event = decide_signal(opened.room, self.participant, frame)
        except Refused as refusal:
            self._refuse(frame, refusal)
            return
        self._heard = cseq
        if event is None:
            socket.skip(cseq)
        else:
            socket.expect()
            self._rooms.append_signal(opened, event, self.participant, socket.id, cseq)

    def _take(self, frame: NumberedFrame) -> None:
        if frame.cseq <= self._heard:
            self.socket.skip(frame.cseq)
            return
        try:
            event = decide(self.opened.room, self.participant, frame)
        except Refused as refusal:
            self._refuse(frame, refusal)
            return
        if isinstance(event, KEPT_ACTS):
            self.socket.hold()
            self._keeping = asyncio.create_task(self._keep(frame, event))
        else:
            self._settle(frame, event)

    def _settle(self, frame: NumberedFrame, event: RoomEvent | None) -> None:
        self._heard = frame.cseq
        if event is None:
            self.socket.skip(frame.cseq)
        else:
            self.socket.expect()
            socket_id = self.socket.id
            self._rooms.append(self.opened, event, self.participant, socket_id, frame.cseq)

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
        """The connection is gone; an act that is being kept, or the way of ``joined`` through
        the log, is finished first."""
        self._is_parted = True
        if self._keeping is None and not self._is_arriving:
            self._leave()

    def _leave(self) -> None:
        opened, who, socket = self.opened, self.participant, self.socket
        if opened.sockets.get(who) is socket:
            del opened.sockets[who]
        try:
            is_silent = socket.is_moved or opened.is_over
            event = None if is_silent else decide_loss(opened.room, who, socket.id)
            if event is not None:
                self._rooms.append(opened, event, who, socket.id)
        finally:
            self._rooms.leave(opened)
            self._on_parted(socket)
