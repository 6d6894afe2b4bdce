"""What a browser says of itself, in one word each: nothing else of its name is kept."""

from __future__ import annotations

import re
from typing import Final

_FAMILIES: Final = (
    ("SamsungBrowser/", "samsung"),
    ("Edg", "edge"),
    ("OPR/", "opera"),
    ("Firefox/", "firefox"),
    ("FxiOS/", "firefox"),
    ("CriOS/", "chrome"),
    ("Chrome/", "chrome"),
    ("Safari/", "safari"),
)
_COMPUTERS: Final = re.compile(r"Windows NT|Macintosh|X11|CrOS")


def browser_family(user_agent: str) -> str:
    """The maker's word; ``other`` when it is none of the known."""
    return next((word for mark, word in _FAMILIES if mark in user_agent), "other")


def device_kind(user_agent: str) -> str:
    """``phone``, ``tablet`` or ``computer``; empty when it cannot be known. An iPad that asks for
    the pages of computers calls itself one."""
    if "iPad" in user_agent or ("Android" in user_agent and "Mobile" not in user_agent):
        return "tablet"
    if "Mobi" in user_agent:
        return "phone"
    return "computer" if _COMPUTERS.search(user_agent) else ""
