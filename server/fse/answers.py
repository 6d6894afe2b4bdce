"""What an answer of the gateway means for the document. Pure.

Types and causes: ``doc/integrazione-gateway`` chapter 14 (RFC 7807).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

_LONGEST_WAIT: Final = timedelta(hours=1)
TOKEN_TYPES: Final = frozenset(
    {"/msg/missing-token", "/msg/mandatory-element-token", "/msg/jwt-validation"}
)
_PASSING_TYPES: Final = frozenset({"/msg/generic-timeout", "/msg/generic-error"})
_OF_EVERYBODY: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""A 500 may be of one document alone: the others go on."""
_TYPE_CHARACTERS: Final = 64


class Meaning(StrEnum):
    TAKEN = "taken"
    REFUSED = "refused"
    """A person must look at the document: a repeat would change nothing."""
    NOT_VALIDATED = "not_validated"
    """The gateway does not know of a validation of this CDA: validate (again)."""
    KNOWN = "known"
    """It already has a document of this id: what became of it must be asked."""
    NOT_FOUND = "not_found"
    TOKEN = "token"  # noqa: S105 - a word, no secret
    """Our certificates or claims are not accepted: the administrator must look."""
    BUSY = "busy"
    """Later, in the same words; ``wait`` says when, if the gateway does."""
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Answer:
    """``problem`` is the ``type`` (shortened), or a word of ours; ``content`` is the whole JSON,
    which may quote the document."""

    meaning: Meaning
    problem: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    wait: timedelta | None = None
    is_everybodys: bool = False
    """It would be the same for any other document now: the line rests."""

    @property
    def trace_id(self) -> str:
        return str(self.content.get("traceID") or self.content.get("govway_id") or "")[:64]

    @property
    def workflow_instance_id(self) -> str:
        return str(self.content.get("workflowInstanceId") or "")[:255]

    @property
    def words(self) -> str:
        """Title, detail and warning, as the gateway wrote them."""
        names = ("title", "detail", "warning")
        found = [str(self.content[name]) for name in names if self.content.get(name)]
        return "\n".join(dict.fromkeys(found))


def read_answer(status: int, content: Mapping[str, Any], retry_after: str, now: datetime) -> Answer:
    """Sort one HTTP answer."""
    problem = shorten_type(str(content.get("type") or ""), status)
    if status in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
        return Answer(Meaning.TAKEN, "", content)
    meaning = _sort(status, problem)
    wait = parse_wait(retry_after, now) if meaning is Meaning.BUSY else None
    return Answer(meaning, problem, content, wait, is_everybodys=status in _OF_EVERYBODY)


def _sort(status: int, problem: str) -> Meaning:
    if problem in TOKEN_TYPES or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Meaning.TOKEN
    passing = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
    is_server_fault = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if problem in _PASSING_TYPES or status in passing or is_server_fault:
        return Meaning.BUSY
    if problem == "/msg/cda-match":
        return Meaning.NOT_VALIDATED
    if status == HTTPStatus.CONFLICT:
        return Meaning.KNOWN
    if status == HTTPStatus.NOT_FOUND:
        return Meaning.NOT_FOUND
    return Meaning.REFUSED


def shorten_type(type_: str, status: int) -> str:
    """``/msg/semantic`` as it is; of another URI its last part; without one ``http-502``."""
    if not type_ or type_ == "about:blank":
        return f"http-{status}"
    short = type_ if type_.startswith("/msg/") else type_.rstrip("/").rsplit("/", 1)[-1]
    plain = "".join(char for char in short if char.isascii() and (char.isalnum() or char in "/-_."))
    return plain[:_TYPE_CHARACTERS] or f"http-{status}"


def parse_wait(text: str, now: datetime) -> timedelta | None:
    """``Retry-After``: seconds or a date; never longer than an hour."""
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:6])), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta()), _LONGEST_WAIT)


class Fate(StrEnum):
    """What the status of a transaction says of a publication."""

    UNKNOWN = "unknown"
    """Nothing of it arrived."""
    IN_PROGRESS = "in_progress"
    DONE = "done"
    FAILED = "failed"


_OF_PUBLICATION: Final = frozenset({"PUBLICATION", "REPLACE", "SEND_TO_INI", "SEND_TO_UAR"})


def read_fate(content: Mapping[str, Any]) -> tuple[Fate, str]:
    """From the events of ``GET /status``: how far it is, and what was said of a failure.

    The index (INI) makes a document findable: its success is the publication (chapter 12.2). The
    newest event of a kind counts.
    """
    newest: dict[str, Mapping[str, Any]] = {}
    events = content.get("transactionData")
    for event in events if isinstance(events, list) else []:
        if isinstance(event, dict) and event.get("eventType") in _OF_PUBLICATION:
            newest[str(event["eventType"])] = event
    for event in newest.values():
        if event.get("eventStatus") == "BLOCKING_ERROR":
            return Fate.FAILED, str(event.get("message") or "")
    if newest.get("SEND_TO_INI", {}).get("eventStatus") == "SUCCESS":
        return Fate.DONE, ""
    return (Fate.IN_PROGRESS if newest else Fate.UNKNOWN), ""
