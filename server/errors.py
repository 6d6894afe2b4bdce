"""The tree of errors that a request or a command can end in.

AccantoError
├── NotFound          404  not there, or not yours: the two look alike
├── Forbidden         403  the act is not for this role
├── LoginNeeded       401  no session, or it has ended
├── Conflict          409  somebody else was first; nothing was overwritten
├── TooManyAttempts   429  slowed down, never locked out
├── InvalidInput      400  a field is wrong; the field is named
├── Erased            410  its term is over: the key was destroyed, nobody can open it
├── Unreadable        500  a sealed record does not open: an alarm stands in the log
├── Unavailable       503  the database is away; nothing was changed, the same works in a while
└── CommandFailed     (command line) a sentence that a person understands

``code`` is stable and for machines, people read the catalogue's sentence for it, details go
only to the log.
"""

from __future__ import annotations


class AccantoError(Exception):
    """Base of all; ``code`` is stable, ``status`` is HTTP."""

    code = "internal"
    status = 500


class NotFound(AccantoError):
    code = "not_found"
    status = 404


class Forbidden(AccantoError):
    code = "forbidden"
    status = 403


class LoginNeeded(AccantoError):
    code = "login_needed"
    status = 401
    way_in = "/login"
    """Where a person is sent to get in."""


class Conflict(AccantoError):
    code = "conflict"
    status = 409


class TooManyAttempts(AccantoError):
    """``wait_seconds`` says when the next attempt is looked at."""

    code = "too_many_attempts"
    status = 429

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"retry in {wait_seconds} s")
        self.wait_seconds = wait_seconds


class InvalidInput(AccantoError):
    """``field`` names the input that is wrong; ``reason`` is a stable word."""

    code = "invalid_input"
    status = 400

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Erased(AccantoError):
    code = "erased"
    status = 410


class Unreadable(AccantoError):
    code = "unreadable"


class Unavailable(AccantoError):
    """``wait_seconds`` says when to ask again."""

    code = "unavailable"
    status = 503
    wait_seconds = 5


class CommandFailed(AccantoError):
    """A command cannot go on; the message is shown to the person as it is."""

    code = "command_failed"
