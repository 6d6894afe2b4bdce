"""``RoomLog`` over a Valkey (or Redis ≥ 7): one stream for each room, shared by all nodes.

``XADD room 0-*`` numbers without gaps. ``0-1`` is ours: the epoch and the seed that the room starts
from, the same for every node; ``0-2`` is the event with ``seq`` 1, and so on. A node that appends
applies its own entry on the answer, when nothing is missing before it. When several nodes hold a
room a nudge follows on the room's channel, once for all that a turn of the loop appends, and the
others read on; a lost nudge costs time until the next one, never data. Whoever opens a room greets
the others, so that a node alone with its room need not nudge. Nothing here is meant to outlast
the visit: no persistence, expiry after three hours.

The stream may vanish (a restart without data). Who notices says so to the room's listener: the
room then starts again from the records.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

import hiredis
import msgspec

from signaling.bus import RoomListener
from signaling.entries import Entry
from signaling.messages import Participant
from signaling.seed import RoomSeed
from signaling.streams import (
    OPEN,
    SharedRoom,
    Start,
    channel_of,
    id_of,
    key_of,
    mark_of,
    presence_of,
    seq_of,
)
from signaling.valkey import Overloaded, Valkey

KEPT_SECONDS: Final = 3 * 3600
CHANGED_SECONDS: Final = 60
PRESENCE_SECONDS: Final = 0.25
NODE_MILLISECONDS: Final = 9_000
MAX_STREAM: Final = 5_000
MISSES_OF_A_DEAD_NODE: Final = 2

logger = logging.getLogger(__name__)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Entry).decode
_decode_start: Final = msgspec.json.Decoder(Start).decode
_decode_people: Final = msgspec.json.Decoder(list[Participant]).decode


class ValkeyRoomLog:
    """See the module. ``start`` before the first room, ``stop`` after the last."""

    is_shared = True

    def __init__(self, url: str) -> None:
        self._valkey = Valkey(url, self)
        self._name = secrets.token_hex(4)
        self._rooms: dict[str, SharedRoom] = {}
        self._number = 0
        self._misses: dict[str, int] = {}
        self._to_nudge: set[SharedRoom] = set()
        self._present: dict[str, list[Participant]] = {}

    def start(self) -> None:
        self._valkey.start()

    async def stop(self) -> None:
        await self._valkey.stop()

    async def check(self) -> None:
        """Raises ``TimeoutError`` when no Valkey answers."""
        await self._valkey.ask("PING")

    # ---- opening ---------------------------------------------------------------------------

    def open(
        self, room_id: str, listener: RoomListener, seed: RoomSeed | None, token: str = ""
    ) -> None:
        shared = self._rooms.get(room_id)
        if shared is None:
            shared = self._rooms[room_id] = SharedRoom(room_id, listener)
            self._valkey.subscribe(shared.channel)
        start = b"" if seed is None else _encode(Start(secrets.token_hex(8), seed))
        self._valkey.send(
            "EVAL", OPEN, 2, shared.key, mark_of(room_id), token, start, KEPT_SECONDS,
            shared.channel, f"{self._name} ",
            on_reply=lambda reply: self._on_opened(shared, reply),
        )  # fmt: skip

    def _on_opened(self, shared: SharedRoom, reply: Any) -> None:
        if self._rooms.get(shared.room_id) is not shared or shared.epoch:
            return
        if not isinstance(reply, list):
            shared.listener.on_absent(reply.decode() if isinstance(reply, bytes) else "")
            return
        holders, rows = reply
        shared.has_company = holders > 1
        first_id, first_fields = rows[0]
        if first_id != b"0-1":  # its start was dropped: nobody can fold it any more
            self._valkey.send("DEL", shared.key)
            self._lose(shared)
            return
        start = _decode_start(first_fields[1])
        shared.epoch = start.epoch
        shared.nudge = f"{self._name} {start.epoch}".encode()
        shared.listener.on_open(start.epoch, start.seed)
        self._take_all(shared, rows[1:])

    # ---- appending -------------------------------------------------------------------------

    def append(self, room_id: str, entry: Entry) -> None:
        shared = self._rooms[room_id]
        self._number += 1
        entry.number, entry.epoch = self._number, shared.epoch
        self._valkey.send(
            "XADD", shared.key, "NOMKSTREAM", "MAXLEN", "~", MAX_STREAM, "0-*", "e", _encode(entry),
            on_reply=lambda reply: self._on_appended(shared, entry, reply),
        )  # fmt: skip
        if shared.has_company:
            self._nudge_soon(shared)

    def _nudge_soon(self, shared: SharedRoom) -> None:
        if not self._to_nudge:
            asyncio.get_running_loop().call_soon(self._nudge)
        self._to_nudge.add(shared)

    def _nudge(self) -> None:
        for shared in self._to_nudge:
            self._valkey.send("PUBLISH", shared.channel, shared.nudge)
        self._to_nudge.clear()

    def _on_appended(self, shared: SharedRoom, entry: Entry, reply: Any) -> None:
        if self._rooms.get(shared.room_id) is not shared:
            return
        if reply is None or isinstance(reply, hiredis.ReplyError):
            self._lose(shared)
            return
        seq = seq_of(reply)
        if seq == shared.tape.last_seq + 1 and not shared.is_filling:
            msgspec.structs.force_setattr(entry.event, "seq", seq)
            self._take(shared, entry)
        elif seq > shared.tape.last_seq:
            self._fill(shared, seq)

    def post(self, room_id: str, entry: Entry) -> None:
        """Marks the room as changed when there is no log of it: an older seed is not believed."""
        self._number += 1
        entry.number = self._number

        def mark_and_add_again(reply: Any) -> None:
            if reply is None:
                token = secrets.token_hex(4)
                self._valkey.send("SET", mark_of(room_id), token, "EX", CHANGED_SECONDS)
                self._add(room_id, entry, partial(self._on_posted, room_id))
            else:
                self._on_posted(room_id, reply)

        self._add(room_id, entry, mark_and_add_again)

    def _add(self, room_id: str, entry: Entry, on_reply: Callable[[Any], None]) -> None:
        key, payload = key_of(room_id), _encode(entry)
        self._valkey.send("XADD", key, "NOMKSTREAM", "0-*", "e", payload, on_reply=on_reply)
        self._valkey.send("PUBLISH", channel_of(room_id), f"{self._name} ")

    def _on_posted(self, room_id: str, reply: Any) -> None:
        """This node may have opened the room meanwhile, and does not hear its own nudge."""
        shared = self._rooms.get(room_id)
        if shared is not None and shared.epoch and isinstance(reply, bytes):
            self._fill(shared, seq_of(reply))

    # ---- reading on ------------------------------------------------------------------------

    def on_push(self, channel: bytes, payload: bytes) -> None:
        shared = self._rooms.get(channel.decode().rpartition(":")[2])
        if shared is None or not shared.epoch or payload == shared.nudge:
            return
        name, _, epoch = payload.decode().partition(" ")
        if epoch and epoch != shared.epoch:
            self._lose(shared)
        elif name != self._name:
            if not shared.has_company:
                shared.has_company = True
                self._nudge_soon(shared)
            self._fill(shared, shared.tape.last_seq + 1)

    def _fill(self, shared: SharedRoom, known_seq: int) -> None:
        """Something is missing before ``known_seq``, or that entry itself."""
        shared.known_seq = max(shared.known_seq, known_seq)
        if not shared.is_filling:
            shared.is_filling = True
            self._valkey.send(
                "XRANGE", shared.key, id_of(shared.tape.last_seq + 1), "+",
                on_reply=lambda reply: self._on_filled(shared, reply),
            )  # fmt: skip

    def _on_filled(self, shared: SharedRoom, reply: Any) -> None:
        if self._rooms.get(shared.room_id) is not shared:
            return
        shared.is_filling = False
        wanted = shared.known_seq
        if isinstance(reply, list):
            self._take_all(shared, reply)
        if reply and wanted > shared.tape.last_seq:
            self._fill(shared, wanted)

    def _take_all(self, shared: SharedRoom, rows: Sequence[Any]) -> None:
        for row_id, fields in rows:
            seq = seq_of(row_id)
            if seq <= shared.tape.last_seq:
                continue
            entry = _decode(fields[1])
            msgspec.structs.force_setattr(entry.event, "seq", seq)
            self._take(shared, entry)
            if self._rooms.get(shared.room_id) is not shared:
                return

    def _take(self, shared: SharedRoom, entry: Entry) -> None:
        is_new = entry.number > shared.seen.get(entry.node, 0)
        if not is_new or entry.epoch not in ("", shared.epoch):
            shared.tape.last_seq = entry.event.seq
            return
        shared.seen[entry.node] = entry.number
        shared.tape.add(entry)
        shared.listener.on_entry(entry)

    def read(self, room_id: str, after: int) -> Sequence[Entry]:
        return self._rooms[room_id].tape.read(after)

    def trim(self, room_id: str, one: str, other: str | None, before: int, *, is_own: bool) -> None:
        shared = self._rooms[room_id]
        gone = shared.tape.trim(one, other, before)
        if is_own and gone:
            self._valkey.send("XDEL", shared.key, *map(id_of, gone))

    # ---- loss ------------------------------------------------------------------------------

    def on_connected(self) -> None:
        """Hear of the rooms again and read what was missed meanwhile, before anything else."""
        self._misses.clear()
        for shared in self._rooms.values():
            self._valkey.subscribe(shared.channel)
            if shared.epoch:
                self._look_again(shared)

    def _look_again(self, shared: SharedRoom) -> None:
        def check(reply: Any) -> None:
            is_ours = isinstance(reply, list) and reply
            if not is_ours or _decode_start(reply[0][1][1]).epoch != shared.epoch:
                self._lose(shared)

        def read_on(reply: Any) -> None:
            if self._rooms.get(shared.room_id) is shared and isinstance(reply, list):
                shared.is_filling = False
                self._take_all(shared, reply)

        self._valkey.send_first("XRANGE", shared.key, "0-1", "0-1", on_reply=check)
        after = id_of(shared.tape.last_seq + 1)
        self._valkey.send_first("XRANGE", shared.key, after, "+", on_reply=read_on)

    def _lose(self, shared: SharedRoom) -> None:
        if self._rooms.get(shared.room_id) is shared:
            del self._rooms[shared.room_id]
            self._valkey.unsubscribe(shared.channel)
            shared.listener.on_lost()

    def close(self, room_id: str, listener: RoomListener) -> None:
        shared = self._rooms.get(room_id)
        if shared is not None and shared.listener is listener:
            del self._rooms[room_id]
            self._valkey.unsubscribe(shared.channel)

    # ---- nodes and lists -------------------------------------------------------------------

    def beat(self, node: str, others: Collection[str], on_dead: Callable[[str], None]) -> None:
        if not self._valkey.is_ready:
            self._misses.clear()
            return
        self._valkey.send("SET", f"accanto:node:{node}", "1", "PX", NODE_MILLISECONDS)
        self._misses = {other: self._misses.get(other, 0) for other in others}
        for other in others:
            self._valkey.send(
                "EXISTS",
                f"accanto:node:{other}",
                on_reply=partial(self._on_sign, other, on_dead),
            )

    def _on_sign(self, node: str, on_dead: Callable[[str], None], reply: Any) -> None:
        if reply != 0:
            self._misses.pop(node, None)
            return
        self._misses[node] = self._misses.get(node, 0) + 1
        if self._misses[node] >= MISSES_OF_A_DEAD_NODE:
            on_dead(node)

    def note_presence(self, room_id: str, participants: list[Participant]) -> None:
        if not self._present:
            asyncio.get_running_loop().call_later(PRESENCE_SECONDS, self._write_presence)
        self._present[room_id] = participants

    def _write_presence(self) -> None:
        present, self._present = self._present, {}
        for room_id, people in present.items():
            self._valkey.send("SET", presence_of(room_id), _encode(people), "EX", KEPT_SECONDS)

    async def load_presence(self, room_ids: Sequence[str]) -> dict[str, list[Participant]]:
        if not room_ids:
            return {}
        try:
            found = await self._valkey.ask("MGET", *map(presence_of, room_ids))
        except (TimeoutError, Overloaded):
            return {}
        return {
            room_id: _decode_people(payload)
            for room_id, payload in zip(room_ids, found, strict=True)
            if payload
        }
