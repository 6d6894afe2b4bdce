"""The workers of one machine: a socket goes to the worker that has its room.

Connections come to any worker. When both people of a room are with the same one, their frames
need no second process. The worker to which the first of them came takes the room
(``roomtable.py``); of everybody after, the connection itself is handed over to that one, with its
``hello``. Where that fails it stays where it is, which costs a little time and changes nothing
else. The folder is the workers' own: who may write into it may hand in connections.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from signaling.roomtable import FREE, RoomTable, mark_of

LOOK_SECONDS: Final = 1.0
MAX_HELLO_BYTES: Final = 8 * 1024
_AT_ONCE: Final = 64
_TABLE: Final = ".rooms"
_HANDLE: Final = struct.Struct("i").pack

OnHanded = Callable[[socket.socket, bytes], None]


class Siblings:
    """This worker among those of ``folder``. ``name`` is one of a kind."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._mark = mark_of(name)
        self._names = {self._mark: name}
        self._taken: set[str] = set()
        self._table: RoomTable
        self._on_handed: OnHanded
        self._looker: asyncio.Task[None] | None = None
        self._handle = -1
        self._inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def start(self, on_handed: OnHanded) -> None:
        """From here on connections are taken and given."""
        self._on_handed = on_handed
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._table = RoomTable(self._folder / _TABLE)
        self._handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        self._inbox.bind(self._address(self._name))
        asyncio.get_running_loop().add_reader(self._inbox, self._receive)
        self._looker = asyncio.create_task(self._look())

    def stop(self) -> None:
        """Takes nothing more; the others notice at their next try. May be called twice."""
        if self._looker is None:
            return
        self._looker.cancel()
        self._looker = None
        self._names = {self._mark: self._name}
        asyncio.get_running_loop().remove_reader(self._inbox)
        self._receive()
        self._inbox.close()
        (self._folder / self._name).unlink(missing_ok=True)
        os.close(self._handle)

    def _address(self, name: str) -> str:
        """Short, however long the path of the folder is (``sun_path`` has 108 bytes)."""
        return f"/proc/self/fd/{self._handle}/{name}"

    async def _look(self) -> None:
        while True:
            names = {self._name, *os.listdir(self._handle)} - {_TABLE}
            self._names = {mark_of(name): name for name in names}
            await asyncio.sleep(LOOK_SECONDS)

    def choose(self, room_id: str) -> str:
        """Whose room it is: this worker takes it when it is nobody's."""
        name = self._names.get(self._table[room_id])
        if name is None:
            self._take(room_id)
        return name or self._name

    def _take(self, room_id: str) -> None:
        self._table[room_id] = self._mark
        self._taken.add(room_id)

    def release(self, is_open: Callable[[str], object]) -> None:
        """Gives back what was taken of rooms that are open no more."""
        gone = {room_id for room_id in self._taken if not is_open(room_id)}
        for room_id in gone:
            if self._table[room_id] == self._mark:
                self._table[room_id] = FREE
        self._taken -= gone

    def hand_over(self, room_id: str, connection: socket.socket, hello: bytes) -> bool:
        """True when the worker that has the room has the connection now: this one only lets go
        of it."""
        name = self.choose(room_id)
        if name == self._name or len(hello) > MAX_HELLO_BYTES:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _HANDLE(connection.fileno()))]
        try:
            self._inbox.sendmsg([hello], rights, 0, self._address(name))
        except BlockingIOError:
            return False
        except OSError:
            del self._names[mark_of(name)]
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._handle)
            self._take(room_id)
            return False
        return True

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                hello, handles, _, _ = socket.recv_fds(self._inbox, MAX_HELLO_BYTES, 1)
            except BlockingIOError:
                return
            for handle in handles:
                self._on_handed(socket.socket(fileno=handle), hello)
