"""The workers of one machine: a socket goes to the worker that all of them choose for its room.

Connections come to any worker. When both people of a room are with the same one, their frames
need no second process. So the connection itself is handed over, with its ``hello``, to the worker
whose name weighs most for the room (rendezvous hashing); where that fails it stays where it is,
which costs a little time and changes nothing else. The folder is the workers' own: who may write
into it may hand in connections.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 1.0
MAX_HELLO_BYTES: Final = 8 * 1024
_AT_ONCE: Final = 64

OnHanded = Callable[[socket.socket, bytes], None]

logger = logging.getLogger(__name__)


class Siblings:
    """This worker among those of ``folder``. ``name`` is one of a kind."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._names = [name]
        self._on_handed: OnHanded
        self._looker: asyncio.Task[None] | None = None
        self._handle = -1
        self._inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def start(self, on_handed: OnHanded) -> None:
        """From here on connections are taken and given."""
        self._on_handed = on_handed
        self._folder.mkdir(mode=0o700, exist_ok=True)
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
        self._names = [self._name]
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
            self._names = sorted({self._name, *os.listdir(self._handle)})
            await asyncio.sleep(LOOK_SECONDS)

    def choose(self, room_id: str) -> str:
        """Whose room it is."""
        room = room_id.encode()
        return max(self._names, key=lambda name: zlib.crc32(name.encode() + room))

    def hand_over(self, room_id: str, connection: socket.socket, hello: bytes) -> bool:
        """True when the chosen worker has the connection now: this one only lets go of it."""
        name = self.choose(room_id)
        if name == self._name or len(hello) > MAX_HELLO_BYTES:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as way:
                way.connect(self._address(name))
                socket.send_fds(way, [hello], [connection.fileno()])
        except BlockingIOError:
            return False
        except OSError:
            self._names.remove(name)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._handle)
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
