"""Walls around a process that holds plaintext of a visit: an attack on it ends it, and what it
holds reaches no disk by itself. Linux; elsewhere as far as the system goes."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4


def raise_walls(memory_bytes: int) -> None:
    """At most so much memory, no core dump, no look into it by others of the same user, and no
    page of it in the swap space where the system allows so much to be held."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (memory_bytes, memory_bytes))
    except ValueError:
        return  # less would end the process where it takes more
    libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
