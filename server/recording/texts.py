"""What people read before they agree to a recording. The words are plain, versioned, and hashed as
they were on the screen; a change of a word is a new version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from server.i18n import Translator
from server.models import RecordingPurpose

TEXT_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class RecordingText:
    """The consent in one language, for one purpose of one organisation."""

    sentence: str
    paragraphs: tuple[str, ...]
    language: str
    version: str = TEXT_VERSION

    @property
    def hash(self) -> str:
        """SHA-256 of what is on the screen, one paragraph a line."""
        return hashlib.sha256("\n".join((self.sentence, *self.paragraphs)).encode()).hexdigest()


def recording_text(
    words: Translator, purpose: RecordingPurpose, organisation: str, days: int
) -> RecordingText:
    """The text as it is shown; ``days``: how long the organisation keeps a recording."""
    _ = words.gettext
    return RecordingText(
        sentence=_("May this video visit be recorded?"),
        paragraphs=(
            _purpose_words(words, purpose),
            _(
                "Picture and sound of everybody in the visit are recorded, from the moment in "
                "which all have agreed. While it records, the server of {organisation} receives "
                "them too.",
                organisation=organisation,
            ),
            words.ngettext(
                "The recording is kept encrypted for {count} day, then it is destroyed. Each "
                "time somebody opens it is written down.",
                "The recording is kept encrypted for {count} days, then it is destroyed. Each "
                "time somebody opens it is written down.",
                days,
            ),
            _(
                "You can say no, and you can stop the recording at any moment: the visit goes on "
                "in the same way."
            ),
        ),
        language=words.language,
    )


def find_text(
    translators: Iterable[Translator],
    purpose: RecordingPurpose,
    organisation: str,
    days: int,
    text_hash: str,
) -> RecordingText | None:
    """The text of ours that was on the screen; None: it was none of them."""
    texts = (recording_text(words, purpose, organisation, days) for words in translators)
    return next((text for text in texts if text.hash == text_hash), None)


def purpose_label(words: Translator, purpose: RecordingPurpose) -> str:
    """As the clinician and the administrator choose it."""
    _ = words.gettext
    return {
        RecordingPurpose.CARE: _("To look at the visit again"),
        RecordingPurpose.SECOND_OPINION: _("To ask another doctor"),
        RecordingPurpose.TEACHING: _("To teach"),
    }[purpose]


def _purpose_words(words: Translator, purpose: RecordingPurpose) -> str:
    _ = words.gettext
    return {
        RecordingPurpose.CARE: _(
            "It serves the doctor to look again, after the visit, at what was seen and said."
        ),
        RecordingPurpose.SECOND_OPINION: _(
            "It serves the doctor to ask another doctor for an opinion on your case."
        ),
        RecordingPurpose.TEACHING: _("It serves to teach doctors and nurses."),
    }[purpose]
