"""What lets others keep an eye on the session log: the log as a zip and its head on paper for
people, checkpoints and consistency proofs for witnesses, and the witness itself."""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, leaves_none
from server.auth import LOG_READERS, PUBLIC, Access, Route
from server.models import UserRole
from server.witness.checking import show_check
from server.witness.pages import download_log, prepare, show_head
from server.witness.public import send_checkpoint, send_consistency, send_key

__all__ = ["ROUTES", "prepare"]

_HEAD_READERS: Final = Access(
    frozenset({UserRole.MANAGER, UserRole.AUDITOR, UserRole.ADMINISTRATOR})
)
_HASHES_ONLY: Final = leaves_none("hashes and signatures: nothing of any entry")
_NOTHING_YET: Final = leaves_none("a page without content: the log comes by its own route")

ROUTES: Final = (
    Route("GET", "/sessions/head", show_head, _HEAD_READERS, _HASHES_ONLY),
    Route("GET", "/sessions/verify", show_check, LOG_READERS, _NOTHING_YET),
    Route("GET", "/sessions/log.zip", download_log, LOG_READERS, leaves(Act.LOG_EXPORTED)),
    Route("GET", "/log/{code}/key", send_key, PUBLIC, _HASHES_ONLY),
    Route("GET", "/log/{code}/checkpoint", send_checkpoint, PUBLIC, _HASHES_ONLY),
    Route(
        "GET", "/log/{code}/consistency/{first}/{second}", send_consistency, PUBLIC, _HASHES_ONLY
    ),
)
