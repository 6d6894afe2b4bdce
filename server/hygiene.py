"""What a process that holds keys does first: no core dump, no look into its memory by others.

Linux only, as far as the system lets us; elsewhere core dumps alone go. Python cannot wipe memory,
so whoever is root on this machine can still read keys there.
"""

from __future__ import annotations

import ctypes
import logging
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""<linux/prctl.h>: also other processes of the same user may neither trace nor read this one."""

logger = logging.getLogger(__name__)


def close_memory() -> None:
    """For the rest of this process and those it forks; a program that it starts begins anew."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        logger.warning("memory stays open to others errno=%s", ctypes.get_errno())
