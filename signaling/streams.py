"""What the shared room log keeps in a Valkey and of it: the keys, the script, one room's place.

No commands are sent here (``valkeylog.py``).
"""

from __future__ import annotations

from typing import Final

import msgspec

from signaling.bus import RoomListener
from signaling.seed import RoomSeed
from signaling.tape import Tape

# KEYS: stream, mark of a change. ARGV: token of that mark as the seed knows it, first entry or
# nothing, seconds, channel, greeting. Gives how many nodes hold the room and its entries, or the
# token when there is no log to open.
OPEN: Final = """
local entries = redis.call('XRANGE', KEYS[1], '-', '+')
if #entries == 0 then
  local token = redis.call('GET', KEYS[2]) or ''
  if ARGV[2] == '' or token ~= ARGV[1] then return token end
  redis.call('XADD', KEYS[1], '0-1', 'e', ARGV[2])
  entries = {{'0-1', {'e', ARGV[2]}}}
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {redis.call('PUBLISH', ARGV[4], ARGV[5]), entries}
"""


class Start(msgspec.Struct, frozen=True):
    """The first entry of a stream."""

    epoch: str
    seed: RoomSeed


class SharedRoom:
    """One room of this node and how far it has read."""

    __slots__ = (
        "channel", "epoch", "has_company", "is_filling", "key", "known_seq", "listener", "nudge",
        "room_id", "seen", "tape",
    )  # fmt: skip

    def __init__(self, room_id: str, listener: RoomListener) -> None:
        self.room_id = room_id
        self.listener = listener
        self.key = key_of(room_id)
        self.channel = channel_of(room_id)
        self.epoch = ""
        self.nudge = b""
        self.tape = Tape()
        self.known_seq = 0
        self.is_filling = False
        self.has_company = False
        """Another node holds the room, or did."""
        self.seen: dict[str, int] = {}
        """The last number of each node: what is sent again is taken once."""


def seq_of(entry_id: bytes) -> int:
    return int(entry_id[2:]) - 1


def id_of(seq: int) -> str:
    return f"0-{seq + 1}"


def key_of(room_id: str) -> str:
    return f"accanto:room:{room_id}"


def channel_of(room_id: str) -> str:
    return f"accanto:nudge:{room_id}"


def mark_of(room_id: str) -> str:
    return f"accanto:changed:{room_id}"


def presence_of(room_id: str) -> str:
    return f"accanto:presence:{room_id}"
