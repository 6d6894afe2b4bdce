"""What a patient reads about files: why one is not taken, and what she agrees to before a photo.

The words of the consent are plain, versioned, and hashed as they were on the screen. A change of
a word is a new version.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from server.attachments.contents import Problem
from server.i18n import Translator

TEXT_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class StillText:
    """The consent in one language, for one doctor."""

    sentence: str
    paragraphs: tuple[str, ...]
    language: str
    version: str = TEXT_VERSION

    @property
    def hash(self) -> str:
        """SHA-256 of what is on the screen, one paragraph a line."""
        return hashlib.sha256("\n".join((self.sentence, *self.paragraphs)).encode()).hexdigest()


def still_text(words: Translator, doctor: str) -> StillText:
    """The text as it is shown."""
    _ = words.gettext
    who = words.with_article(doctor)
    return StillText(
        sentence=_("{doctor} asks you for a photo.", doctor=who[:1].upper() + who[1:]),
        paragraphs=(
            _(
                "It serves to see better than in the video what you are talking about. The doctor "
                "can put it into the report of this visit."
            ),
            _(
                "This page takes one photo with the camera on the back. You look at it first and "
                "then decide whether to send it. It is kept encrypted with the visit."
            ),
            _("You can say no: the visit goes on in the same way."),
        ),
        language=words.language,
    )


def problem_words(words: Translator, most_mb: int) -> dict[str, str]:
    """Why a file is not taken and what to do, by its :class:`Problem`."""
    _ = words.gettext
    return {
        Problem.MISSING: _("Choose a photo or a document first."),
        Problem.TOO_LARGE: _("This file is too big: at most {most} MB.", most=most_mb),
        Problem.TOO_MANY_FILES: _(
            "There are already as many files as a visit can have. Delete one first."
        ),
        Problem.TOO_MANY_PIXELS: _(
            "This photo is too big. Take it again with a lower resolution, "
            "or send a screenshot of it."
        ),
        Problem.HEIC: _(
            "This photo is in the HEIC format, which the doctor cannot open. On the iPhone: "
            "Settings, Camera, Formats, “Most compatible”, then take it again. "
            "Or send a screenshot of it."
        ),
        Problem.UNKNOWN_TYPE: _("We can take photos (JPEG or PNG) and PDF documents only."),
        Problem.DAMAGED: _(
            "This file is damaged: we could not open it. Try to take or save it again."
        ),
        Problem.TOO_SLOW: _("The line was too slow. Try again, please."),
    }
