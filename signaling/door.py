"""How a socket gets a seat in a room, and what becomes of its frames once it has one.

A socket has two lives. Until ``welcome`` its only right is one ``hello`` within ten seconds,
with a ticket (a new page) or a resume token (the same page after a lost socket). From then on
each frame is decoded, put to the room's rules and appended to the room log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from aiohttp import WSCloseCode

from signaling.bus import Gap
from signaling.describe import describe
from signaling.ice import IceConfig, ice_servers
from signaling.messages import (
    PROTOCOL_VERSION,
    Admitted,
    ByeAction,
    ClientFrame,
    Error,
    Hello,
    Ping,
    Pong,
    Returned,
    Role,
    RoomEvent,
    TurnedAway,
    Welcome,
)
from signaling.reasons import ByeReason, RefusalCode, Refused
from signaling.room import KEPT_ACTS, is_seen_by
from signaling.rooms import OpenRoom, RoomHooks, Rooms
from signaling.rules import NumberedFrame, decide, decide_join, decide_loss
from signaling.sockets import Socket, encode
from signaling.tickets import (
    BadToken,
    ResumeClaims,
    TicketClaims,
    UsedTickets,
    issue_resume_token,
    parse_resume_token,
    parse_ticket,
)

HELLO_WITHIN_SECONDS: Final = 10.0
MAX_BAD_MESSAGES: Final = 8

_PONG: Final = encode(Pong())
_decode: Final = msgspec.json.Decoder(ClientFrame).decode

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """A socket with the right it has proven."""

    socket: Socket
    opened: OpenRoom
    participant: str
    role: Role


class Door:
    """Lets sockets in and listens to those inside; one for all rooms of a hub."""

    __slots__ = ("_clock", "_hooks", "_ice", "_key", "_rooms", "_used_tickets")

    def __init__(
        self,
        rooms: Rooms,
        hooks: RoomHooks,
        key: bytes,
        ice: IceConfig,
        clock: Callable[[], datetime],
    ) -> None:
        self._rooms = rooms
        self._hooks = hooks
        self._key = key
        self._ice = ice
        self._clock = clock
        self._used_tickets = UsedTickets()

    async def converse(self, socket: Socket) -> None:
        """The whole life of a socket, until it is over."""
        hello = await self._receive_hello(socket)
        if hello is None:
            return
        try:
            claims = self._verify(hello)
        except BadToken:
            reason = ByeReason.RESUME_REFUSED if hello.resume else ByeReason.TICKET_REFUSED
            socket.end(reason, ByeAction.RECONNECT, code=WSCloseCode.POLICY_VIOLATION)
            return
        try:
            seed = claims.seed if isinstance(claims, TicketClaims) else None
            opened = await self._rooms.enter(claims.room, seed)
        except Refused:
            socket.end(ByeReason.CLOSED)
            return
        seat = Seat(socket, opened, claims.participant, claims.role)
        try:
            if opened.room.outcome is not None:
                socket.end(ByeReason.CLOSED)
            elif isinstance(claims, ResumeClaims):
                await self._resume(seat, claims, hello)
            else:
                await self._join(seat)
            await self._listen(seat)
        finally:
            await self._part(seat)

    # ---- before the seat -------------------------------------------------------------------

    async def _receive_hello(self, socket: Socket) -> Hello | None:
        try:
            async with asyncio.timeout(HELLO_WITHIN_SECONDS):
                data = await socket.receive()
            if data is None:
                return None
            hello = _decode(data)
        except (TimeoutError, msgspec.MsgspecError, RecursionError):
            hello = None
        if not isinstance(hello, Hello) or bool(hello.ticket) == bool(hello.resume):
            socket.end(ByeReason.BAD_HELLO, code=WSCloseCode.POLICY_VIOLATION)
            return None
        if PROTOCOL_VERSION not in hello.versions:
            socket.end(ByeReason.BAD_VERSION)
            return None
        return hello

    def _verify(self, hello: Hello) -> TicketClaims | ResumeClaims:
        now = self._clock()
        if hello.resume:
            return parse_resume_token(self._key, hello.resume, now)
        claims = parse_ticket(self._key, hello.ticket or "", now)
        self._used_tickets.use(claims, now)
        return claims

    async def _join(self, seat: Seat) -> None:
        room = seat.opened.room
        event = decide_join(room, seat.participant, seat.role)
        await self._append(seat, event)
        if room.is_current(seat.participant, seat.socket.id):
            self._welcome(seat, seq=room.seq, is_resumed=False)
        else:
            seat.socket.end(ByeReason.REPLACED)

    async def _resume(self, seat: Seat, claims: ResumeClaims, hello: Hello) -> None:
        opened, room = seat.opened, seat.opened.room
        is_known = claims.epoch == hello.epoch == opened.epoch and room.may_return(
            seat.participant, claims.page, hello.seq, self._clock()
        )
        try:
            if not is_known:
                raise Gap
            await self._append(seat, Returned(participant=seat.participant))
            missed = await self._rooms.read(opened, hello.seq)
        except Gap:
            seat.socket.end(ByeReason.RESUME_REFUSED, ByeAction.RECONNECT)
            return
        if not room.is_current(seat.participant, seat.socket.id):
            seat.socket.end(ByeReason.REPLACED)
            return
        self._welcome(seat, seq=hello.seq, is_resumed=True)
        for event in missed:
            if is_seen_by(event, seat.participant):
                seat.socket.send(event)

    def _welcome(self, seat: Seat, *, seq: int, is_resumed: bool) -> None:
        opened, room, now = seat.opened, seat.opened.room, self._clock()
        member = room.members[seat.participant]
        token = issue_resume_token(
            self._key,
            room=opened.room_id,
            participant=seat.participant,
            role=seat.role,
            epoch=opened.epoch,
            page=member.generation,
            now=now,
        )
        opened.sockets[seat.participant] = seat.socket
        seat.socket.send(
            Welcome(
                version=PROTOCOL_VERSION,
                epoch=opened.epoch,
                seq=seq,
                cseq=member.cseq,
                you=seat.participant,
                role=seat.role,
                polite=seat.role is Role.PATIENT,
                participants=room.snapshot(),
                resumed=is_resumed,
                resume=token,
                late_minutes=room.late_minutes,
                outcome=room.outcome,
                ice_servers=ice_servers(self._ice, f"{opened.room_id}.{seat.participant}", now),
                relay_until_admitted=opened.seed.relay_until_admitted and self._ice.has_relay,
                relay_always=opened.seed.relay_always,
            )
        )

    # ---- in the seat -----------------------------------------------------------------------

    async def _listen(self, seat: Seat) -> None:
        bad_messages = 0
        while (data := await seat.socket.receive()) is not None:
            try:
                if not data.isascii():
                    data.decode()  # forwarded as it is, it would end the other one's socket
                frame = _decode(data)
            except UnicodeDecodeError:
                seat.socket.end(ByeReason.BAD_MESSAGES, code=WSCloseCode.INVALID_TEXT)
            except (msgspec.MsgspecError, RecursionError) as error:
                bad_messages += 1
                self._reproach(seat, error, is_last=bad_messages > MAX_BAD_MESSAGES)
            else:
                match frame:
                    case Ping():
                        seat.socket.send_bytes(_PONG)
                    case Hello():
                        seat.socket.send(Error(code=RefusalCode.ALREADY_HERE))
                    case _:
                        await self._take(seat, frame)

    def _reproach(self, seat: Seat, error: Exception, *, is_last: bool) -> None:
        if is_last:
            seat.socket.end(ByeReason.BAD_MESSAGES, code=WSCloseCode.POLICY_VIOLATION)
            return
        is_type_unknown = str(error).endswith("`$.type`")
        code = RefusalCode.UNKNOWN_TYPE if is_type_unknown else RefusalCode.BAD_MESSAGE
        seat.socket.send(Error(code=code))

    async def _take(self, seat: Seat, frame: NumberedFrame) -> None:
        room, who, socket = seat.opened.room, seat.participant, seat.socket
        if frame.cseq > room.members[who].cseq:
            try:
                event = decide(room, who, frame)
                if isinstance(event, KEPT_ACTS):
                    await self._keep(seat, event)
            except Refused as refusal:
                logger.info("refused %s of socket %s: %s", describe(frame), socket.id, refusal)
                socket.send(Error(code=refusal.code, cseq=frame.cseq))
                event = None
            if event is None:
                room.skip(who, socket.id, frame.cseq)
            else:
                await self._rooms.append(
                    seat.opened, event, by=who, socket=socket.id, cseq=frame.cseq
                )
        socket.take(frame.cseq)

    async def _keep(self, seat: Seat, act: Admitted | TurnedAway) -> None:
        """The records have the act before the room hears of it; raises ``Refused``."""
        keep = self._hooks.admit if isinstance(act, Admitted) else self._hooks.turn_away
        await keep(seat.opened.room_id, seat.participant, act.participant)

    async def _append(self, seat: Seat, event: RoomEvent) -> None:
        await self._rooms.append(seat.opened, event, by=seat.participant, socket=seat.socket.id)

    async def _part(self, seat: Seat) -> None:
        opened, who = seat.opened, seat.participant
        if opened.sockets.get(who) is seat.socket:
            del opened.sockets[who]
        try:
            event = decide_loss(opened.room, who, seat.socket.id)
            if event is not None:
                await self._append(seat, event)
        finally:
            await self._rooms.leave(opened)
