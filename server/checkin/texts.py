"""The words of the two consents: plain, versioned, hashed as they were on the screen.

They are a base text with the seven points a person must know before a televisita (State-Regions
agreement of 17 December 2020). A change of a word is a new version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from server.i18n import Translator
from server.models import ConsentKind, Organisation

TEXT_VERSION: Final = "2"


@dataclass(frozen=True, slots=True)
class Paragraph:
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class ConsentText:
    """One consent in one language, filled in for one organisation."""

    kind: ConsentKind
    title: str
    sentence: str
    paragraphs: tuple[Paragraph, ...]
    language: str
    version: str

    @property
    def plain(self) -> str:
        """Everything that is on the card, one line each."""
        lines = [self.title, self.sentence]
        for paragraph in self.paragraphs:
            lines += [paragraph.title, paragraph.body]
        return "\n".join(lines)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.plain.encode()).hexdigest()


def _(message: str) -> str:
    """Mark a sentence for the catalogues; it is translated when it is shown."""
    return message


_VISIT: Final = (
    _("The visit in video"),
    _("I agree to have this visit in video, with the doctor who cares for me."),
    (
        (
            _("What it is, what it is for, what its limits are"),
            _(
                "You and the doctor see and hear each other from a distance, at the time of the "
                "booking. It saves you the journey. The doctor cannot touch you or examine you: "
                "if that is needed, or if the line is not good enough, the visit becomes a visit "
                "in person, without any further cost. A visit in video is not for emergencies: in"
                " an emergency call 112."
            ),
        ),
        (
            _("How your information is handled, and who sees it"),
            _(
                "The doctor writes a note and a report, as in every visit. Voice and picture are "
                "not recorded. The note is kept encrypted. Only the doctor who visits you opens "
                "it, and every opening is written down."
            ),
        ),
        (
            _("Who takes part"),
            _(
                "The visit is of {organisation}. The doctor takes part, and with you whoever you "
                "want near you. Nobody else hears or sees."
            ),
        ),
        (
            _("Who does what"),
            _(
                "The doctor visits you, answers for the visit and writes the report. The desk "
                "helps you with the telephone and the booking, and does not see your health "
                "information. You say where you are and who is with you."
            ),
        ),
        (
            _("Who is responsible for your data"),
            _(
                "The data controller is {organisation}. Whoever runs the computers of this "
                "service for it is a data processor, named in the privacy notice of "
                "{organisation}."
            ),
        ),
        (_("How to reach us"), _("Call the desk of {organisation}: {phone}.")),
        (
            _("Your rights"),
            _(
                "You can ask to see your data, to correct them, and to know who has opened them. "
                "You can say no, or change your mind at any moment: you will have the visit in "
                "person, and nothing changes in your care."
            ),
        ),
    ),
)
_TOOL: Final = (
    _("The tool"),
    _("I agree to use this page, with my camera and my microphone, for the visit."),
    (
        (
            _("What the page uses"),
            _(
                "The page uses camera, microphone and loudspeaker of your telephone or computer, "
                "only while it is open and only after you say yes. You can switch them off at any"
                " moment."
            ),
        ),
        (
            _("Where voice and picture go"),
            _(
                "They go encrypted from you to the doctor. They are not recorded. The messages "
                "you write during the visit are not kept."
            ),
        ),
        (
            _("What we keep"),
            _(
                "We keep what you write here (where you are, who is with you), the photos and "
                "documents that you send, the result of the test, and the times of the visit. We "
                "need them for your care, for your safety and for the documents of the visit."
            ),
        ),
        (
            _("What you need"),
            _(
                "A quiet place, a good internet line and a charged battery. The use of the "
                "internet follows your contract."
            ),
        ),
    ),
)
_TEXTS: Final[Mapping[ConsentKind, tuple[str, str, tuple[tuple[str, str], ...]]]] = (
    MappingProxyType({ConsentKind.VISIT: _VISIT, ConsentKind.TOOL: _TOOL})
)


def consent_text(kind: ConsentKind, words: Translator, organisation: Organisation) -> ConsentText:
    """The text of one consent as it is shown."""
    title, sentence, paragraphs = _TEXTS[kind]
    filled = {"organisation": organisation.name, "phone": organisation.desk_phone}
    return ConsentText(
        kind=kind,
        title=words.gettext(title),
        sentence=words.gettext(sentence),
        paragraphs=tuple(
            Paragraph(words.gettext(heading), words.gettext(body, **filled))
            for heading, body in paragraphs
        ),
        language=words.language,
        version=TEXT_VERSION,
    )
