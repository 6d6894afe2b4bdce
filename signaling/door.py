"""How a socket gets a seat in a room.

Until ``welcome`` its only right is one ``hello`` within ten seconds, with a ticket (a new page)
or a resume token (the same page after a lost socket). Opening a room may have to wait for the
records; everything else is done while the ``hello`` comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

import msgspec
from aiohttp import WSCloseCode

from signaling.bus import Gap
from signaling.ice import IceConfig, ice_servers
from signaling.messages import PROTOCOL_VERSION, ByeAction, Hello, Returned, Role, Welcome
from signaling.openroom import OpenRoom
from signaling.reasons import ByeReason, Refused
from signaling.room import is_seen_by
from signaling.rooms import RoomHooks, Rooms
from signaling.rules import decide_join
from signaling.seat import Seat, decode
from signaling.sockets import Socket
from signaling.tickets import (
    BadToken,
    ResumeClaims,
    TicketClaims,
    UsedTickets,
    issue_resume_token,
    parse_resume_token,
    parse_ticket,
)

Claims = TicketClaims | ResumeClaims


class Door:
    """Lets sockets in; one for all rooms of a hub. ``on_parted`` is told of each lost socket."""

    __slots__ = ("_clock", "_hand_over", "_hooks", "_ice", "_key", "_on_parted", "_rooms", "_used")

    def __init__(
        self,
        rooms: Rooms,
        hooks: RoomHooks,
        key: bytes,
        ice: IceConfig,
        clock: Callable[[], datetime],
        on_parted: Callable[[Socket], None],
        hand_over: Callable[[Socket, str, bytes], bool],
    ) -> None:
        self._hand_over = hand_over
        self._rooms = rooms
        self._hooks = hooks
        self._key = key
        self._ice = ice
        self._clock = clock
        self._on_parted = on_parted
        self._used = UsedTickets()

    def greet(self, socket: Socket) -> None:
        """From here on the socket is heard."""
        socket.listener = Caller(self, socket)

    # ---- hello -----------------------------------------------------------------------------

    def hear_hello(self, socket: Socket, payload: bytearray) -> None:
        """The first frame of a socket, whatever it is."""
        hello = _find_hello(payload)
        if hello is None:
            socket.end(ByeReason.BAD_HELLO, code=WSCloseCode.POLICY_VIOLATION)
            return
        if PROTOCOL_VERSION not in hello.versions:
            socket.end(ByeReason.BAD_VERSION)
            return
        try:
            claims = self._verify(hello)
            if self._rooms.find(claims.room) is None and self._hand_over(
                socket, claims.room, bytes(payload)
            ):
                return
            if isinstance(claims, TicketClaims):
                self._used.use(claims, self._clock())
        except BadToken:
            reason = ByeReason.RESUME_REFUSED if hello.resume else ByeReason.TICKET_REFUSED
            socket.end(reason, ByeAction.RECONNECT, code=WSCloseCode.POLICY_VIOLATION)
            return
        seed = claims.seed if isinstance(claims, TicketClaims) else None
        opened = self._rooms.enter(claims.room, seed)
        if opened.epoch:
            self._seat(socket, opened, claims, hello)
        else:
            socket.hold()
            opened.when_ready(partial(self._come_in, socket, opened, claims, hello))

    def _come_in(
        self,
        socket: Socket,
        opened: OpenRoom,
        claims: Claims,
        hello: Hello,
        failure: Exception | None,
    ) -> None:
        """The room is open now, or is not going to be."""
        if failure is not None or socket.is_over:
            self._rooms.leave(opened)
        if isinstance(failure, Refused):
            socket.end(ByeReason.CLOSED)
        elif failure is not None:
            socket.fail()
        elif not socket.is_over:
            self._seat(socket, opened, claims, hello)
        if socket.is_held and not isinstance(socket.listener, Seat):
            socket.release()

    def part(self, socket: Socket) -> None:
        """The socket was lost before it had a seat."""
        self._on_parted(socket)

    def _verify(self, hello: Hello) -> Claims:
        now = self._clock()
        if hello.resume:
            return parse_resume_token(self._key, hello.resume, now)
        return parse_ticket(self._key, hello.ticket or "", now)

    # ---- the seat --------------------------------------------------------------------------

    def _seat(self, socket: Socket, opened: OpenRoom, claims: Claims, hello: Hello) -> None:
        seat = Seat(
            socket, opened, claims.participant, claims.role,
            self._rooms, self._hooks, self._on_parted,
        )  # fmt: skip
        socket.listener = seat
        if opened.is_over:
            socket.end(ByeReason.LOG_LOST, ByeAction.RECONNECT)
        elif opened.room.outcome is not None:
            socket.end(ByeReason.CLOSED)
        elif isinstance(claims, ResumeClaims):
            self._resume(seat, claims, hello)
        else:
            self._join(seat, claims.nonce)

    def _join(self, seat: Seat, ticket: str) -> None:
        def on_seated() -> None:
            room = seat.opened.room
            if room.is_current(seat.participant, seat.socket.id):
                self._welcome(seat, seq=room.seq, is_resumed=False)
            elif room.outcome is not None:
                seat.socket.end(ByeReason.CLOSED)
            else:
                self._refuse_seat(seat, ByeReason.TICKET_REFUSED)

        seat.ask_for(decide_join(seat.opened.room, seat.participant, seat.role), ticket, on_seated)

    def _resume(self, seat: Seat, claims: ResumeClaims, hello: Hello) -> None:
        opened, room = seat.opened, seat.opened.room
        is_known = (
            claims.epoch == hello.epoch == opened.epoch
            and room.may_return(seat.participant, claims.page, hello.seq, self._clock().timestamp())
            and self._rooms.holds(opened, hello.seq)
        )
        if is_known:
            seat.ask_for(
                Returned(participant=seat.participant), "", partial(self._go_on, seat, hello.seq)
            )
        else:
            self._refuse_seat(seat, ByeReason.RESUME_REFUSED)

    def _go_on(self, seat: Seat, seq: int) -> None:
        """The same page has its seat again and gets what it missed."""
        if not seat.opened.room.is_current(seat.participant, seat.socket.id):
            seat.socket.end(ByeReason.REPLACED)
            return
        try:
            missed = self._rooms.read(seat.opened, seq)
        except Gap:
            self._refuse_seat(seat, ByeReason.RESUME_REFUSED)
            return
        self._welcome(seat, seq=seq, is_resumed=True)
        for event in missed:
            if is_seen_by(event, seat.participant):
                seat.socket.send(event)

    def _refuse_seat(self, seat: Seat, reason: ByeReason) -> None:
        seat.socket.end(reason, ByeAction.RECONNECT)

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
                still=room.still,
                recording=room.recording.shown(),
                outcome=room.outcome,
                ice_servers=ice_servers(self._ice, f"{opened.room_id}.{seat.participant}", now),
                relay_until_admitted=opened.seed.relay_until_admitted and self._ice.has_relay,
                relay_always=opened.seed.relay_always,
            )
        )
        seat.begin(member.cseq)


class Caller:
    """The listener of a socket that has no seat yet."""

    __slots__ = ("_door", "_socket")

    def __init__(self, door: Door, socket: Socket) -> None:
        self._door = door
        self._socket = socket

    def hear(self, payload: bytearray) -> None:
        """The first frame; the next one is for another listener, or for nobody."""
        self._socket.stop_clock()
        self._door.hear_hello(self._socket, payload)

    def part(self) -> None:
        self._door.part(self._socket)


def _find_hello(payload: bytearray) -> Hello | None:
    """A ``hello`` with exactly one of ticket and resume token."""
    try:
        hello = decode(payload)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if isinstance(hello, Hello) and bool(hello.ticket) != bool(hello.resume):
        return hello
    return None
