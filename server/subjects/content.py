"""What a copy of a person's data holds, as types: ``dati.json`` is these, field by field."""

from __future__ import annotations

from datetime import datetime

import msgspec

from server.sealed import Answers, AttachmentWords, Details, Eligibility, Identity, NoteContent


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to a consent."""

    kind: str
    is_given: bool
    text_version: str
    text_sha256: str
    language: str
    answered_at: datetime


class SavedNote(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    saved_at: datetime
    author: str
    content: NoteContent


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a report or addendum; ``files`` are names in the zip."""

    kind: str
    version: int
    is_signed: bool
    is_obscured: bool
    created_at: datetime
    signed_at: datetime | None
    delivered_at: datetime | None
    first_read_at: datetime | None
    author: str
    files: list[str]
    pdf_sha256: str
    sent_to_fse: str
    """State of its way to the national record; empty: not sent."""


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the patient sent, or a photograph taken with her consent."""

    kind: str
    media_type: str
    received_at: datetime
    consented_at: datetime | None
    words: AttachmentWords
    file: str
    """Its name in the zip; empty when the content is lost."""


class RecordedPart(msgspec.Struct, frozen=True, kw_only=True):
    """The patient's own voice and picture over one connection."""

    begins_ms: int
    """From the beginning of the recording."""
    lasts_ms: int
    file: str
    """Its name in the zip; empty when the content is lost."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that was asked for, and what is kept of the patient."""

    purpose: str
    state: str
    asked_at: datetime
    began_at: datetime | None
    ended_at: datetime | None
    parts: list[RecordedPart]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A message to the patient; its words are not kept."""

    kind: str
    state: str
    channel: str
    queued_at: datetime
    sent_at: datetime | None


class Browser(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that opened the link."""

    opened_at: datetime
    ended_at: datetime | None


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    taken_at: datetime
    browser: str
    steps: msgspec.Raw
    problems: msgspec.Raw


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the call: how many intervals, and the breaks in seconds with their cause."""

    intervals: int
    outages: list[tuple[datetime, float, str]]


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """The patient's own rating."""

    visit: str
    line: str
    words: str
    rated_at: datetime


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A message from CUP about this booking."""

    event: str
    state: str
    received_at: datetime
    file: str


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the session log: who did what and when, as role and unit. Names of staff are
    theirs (Court of Justice C-579/21)."""

    at: datetime
    action: str
    role: str
    reason: str


class VisitCopy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one visit. ``is_erased``: its term is over and what was sealed is gone."""

    id: str
    booking_code: str
    start: datetime
    end: datetime
    clinic: str
    clinician: str
    state: str
    outcome: str
    outcome_reason: str
    priority: str
    is_erased: bool
    details: Details = Details()
    answers: Answers = Answers()
    eligibility: Eligibility | None = None
    justification: str = ""
    suitability: str = ""
    consents: list[Answered] = []
    notes: list[SavedNote] = []
    documents: list[Document] = []
    files: list[KeptFile] = []
    recordings: list[Recorded] = []
    messages: list[Told] = []
    browsers: list[Browser] = []
    tests: list[Tested] = []
    measured: Measured | None = None
    ratings: list[Rated] = []
    received: list[Received] = []
    log: list[Done] = []


class PersonCopy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole copy. ``terms``: days by kind of data (:class:`server.models.Kept`)."""

    format: str
    made_at: datetime
    organisation: str
    organisation_phone: str
    identity: Identity
    has_known_numbers: int
    """Numbers of CUP that lead to this person: kept as keyed hashes only."""
    terms: dict[str, int]
    visits: list[VisitCopy]
