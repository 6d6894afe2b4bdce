"""One open room as one node has it: the fold, its own sockets, and who waits for either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from signaling.entries import Entry
from signaling.room import Room
from signaling.seed import RoomSeed
from signaling.sockets import Socket

OnReady = Callable[[Exception | None], None]


class Keeper(Protocol):
    """What the room tells of itself to the rooms of its node."""

    def on_open(self, opened: OpenRoom) -> None:
        """The log has it."""

    def on_absent(self, opened: OpenRoom, token: str) -> None:
        """The log does not have it and has no seed to trust."""

    def on_entry(self, opened: OpenRoom, entry: Entry) -> None:
        """The next entry of its log."""

    def on_lost(self, opened: OpenRoom) -> None:
        """Its log is lost."""


class OpenRoom:
    """A room of this node; the listener of its log (:class:`signaling.bus.RoomListener`)."""

    __slots__ = (
        "_keeper", "_waiting", "arrivals", "empty_since", "epoch", "guests", "is_over", "room",
        "room_id", "seed", "sockets",
    )  # fmt: skip

    room: Room
    seed: RoomSeed

    def __init__(self, room_id: str, keeper: Keeper, now: float) -> None:
        self.room_id = room_id
        self._keeper = keeper
        self._waiting: list[OnReady] = []
        self.epoch = ""
        """Empty until the log has the room: before, there is no ``room`` and no ``seed``."""
        self.is_over = False
        """It is no longer this node's; what it still has of sockets is ending."""
        self.sockets: dict[str, Socket] = {}
        """By participant; a socket is here from its ``welcome`` on."""
        self.arrivals: dict[str, Callable[[], None]] = {}
        """What to do when the ``joined`` or ``returned`` of a socket comes out of the log."""
        self.guests = 0
        """Sockets that hold this room, from before their ``welcome`` to after their end."""
        self.empty_since = now

    def when_ready(self, on_ready: OnReady) -> None:
        """Calls back once the room is open, or with the reason why it does not open."""
        if self.epoch:
            on_ready(None)
        else:
            self._waiting.append(on_ready)

    @property
    def is_awaited(self) -> bool:
        return bool(self._waiting)

    def make_ready(self, failure: Exception | None = None) -> None:
        waiting, self._waiting = self._waiting, []
        for on_ready in waiting:
            on_ready(failure)

    def find_socket(self, participant: str, socket_id: str) -> Socket | None:
        """That socket of the participant, while it has its seat on this node."""
        socket = self.sockets.get(participant)
        return socket if socket is not None and socket.id == socket_id else None

    # ---- what the log says -----------------------------------------------------------------

    def on_open(self, epoch: str, seed: RoomSeed) -> None:
        self.epoch, self.seed = epoch, seed
        self.room = Room(seed.admitted, seed.late_minutes, seed.outcome)
        self._keeper.on_open(self)

    def on_absent(self, token: str) -> None:
        self._keeper.on_absent(self, token)

    def on_entry(self, entry: Entry) -> None:
        self._keeper.on_entry(self, entry)

    def on_lost(self) -> None:
        self._keeper.on_lost(self)
