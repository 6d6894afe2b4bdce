"""What is inside each sealed column, and how it is opened and sealed.

The only place that names sealed fields: a page asks here for an identity or a card and never
builds a :class:`~server.keyring.Place` itself.
"""

from server.sealed.booking import (
    open_answers,
    open_details,
    open_eligibility,
    open_identity,
    open_justification,
    seal_answers,
    seal_details,
    seal_eligibility,
    seal_identity,
    seal_justification,
    warm_keys,
)
from server.sealed.cup import (
    open_message,
    open_outgoing_token,
    open_resource,
    seal_message,
    seal_outgoing_token,
    seal_resource,
)
from server.sealed.record import (
    attachment_place,
    load_last_note,
    note_place,
    open_attachment_words,
    open_note,
    seal_attachment_words,
    seal_note,
)
from server.sealed.words import (
    NATIONAL_SECTIONS,
    Answers,
    AttachmentWords,
    Coding,
    Details,
    Eligibility,
    Identity,
    NoteContent,
    Section,
)

__all__ = [
    "NATIONAL_SECTIONS",
    "Answers",
    "AttachmentWords",
    "Coding",
    "Details",
    "Eligibility",
    "Identity",
    "NoteContent",
    "Section",
    "attachment_place",
    "load_last_note",
    "note_place",
    "open_answers",
    "open_attachment_words",
    "open_details",
    "open_eligibility",
    "open_identity",
    "open_justification",
    "open_message",
    "open_note",
    "open_outgoing_token",
    "open_resource",
    "seal_answers",
    "seal_attachment_words",
    "seal_details",
    "seal_eligibility",
    "seal_identity",
    "seal_justification",
    "seal_message",
    "seal_note",
    "seal_outgoing_token",
    "seal_resource",
    "warm_keys",
]
