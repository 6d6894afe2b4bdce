"""The stable words of refusals and goodbyes. ``PROTOCOL.md`` explains each to client authors."""

from __future__ import annotations

from enum import StrEnum


class RefusalCode(StrEnum):
    """``code`` of an ``error`` frame: this frame was not taken, the socket stays open."""

    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    ALREADY_HERE = "already_here"
    NOT_ALLOWED = "not_allowed"
    NOT_PRESENT = "not_present"
    NOT_WAITING = "not_waiting"
    NOT_ADMITTED = "not_admitted"
    CLOSED = "closed"


class ByeReason(StrEnum):
    """``reason`` of a ``bye`` frame: why the server ends this socket."""

    LEFT = "left"
    TURNED_AWAY = "turned_away"
    CLOSED = "closed"
    REPLACED = "replaced"
    REVOKED = "revoked"
    EXPIRED = "expired"
    LOG_LOST = "log_lost"
    RESTARTING = "restarting"
    FAILED = "failed"
    BAD_HELLO = "bad_hello"
    BAD_VERSION = "bad_version"
    TICKET_REFUSED = "ticket_refused"
    RESUME_REFUSED = "resume_refused"
    TOO_MANY_MESSAGES = "too_many_messages"
    BAD_MESSAGES = "bad_messages"


class Refused(Exception):
    """The act is not possible now; ``code`` goes into the ``error`` frame.

    The web application raises it too, from its hooks, with codes of its own.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
