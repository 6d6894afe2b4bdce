"""The summary of a proof in words, in the language of whoever asked for it. Pure.

The result is what ``layout.typ`` sets. One page: what is too much is counted and in the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from server.audit import Act, ActorRole
from server.i18n import ROME, Translator
from server.line.history import Break
from server.line.presence import Line
from server.models import Visit
from server.report.glyphs import FONT_FAMILIES, readable
from server.report.texts import clock, day_and_time
from server.sessionexport.proof.told import Story

Say = Callable[[str, str], str]
"""A kind of word (``act``, ``role``, ``cause``…) and one of them: what people read for it."""

_OF_CONSENT: Final = (Act.CONSENT_GIVEN, Act.CONSENT_REFUSED, Act.CONSENT_WITHDRAWN)
_MOST_MOMENTS: Final = 14
_MOST_BREAKS: Final = 4
_MOST_OPENINGS: Final = 6


def describe_proof(story: Story, words: Translator, say: Say) -> dict[str, Any]:
    """Everything that stands on the page."""
    return _Page(story, words, say).content()


class _Page:
    def __init__(self, story: Story, words: Translator, say: Say) -> None:
        self.story = story
        self._ = words.gettext
        self.ngettext = words.ngettext
        self.language = words.language
        self.say = say

    def content(self) -> dict[str, Any]:
        _, story = self._, self.story
        parts = [self._presence(), self._line(), self._moments(), self._openings(), self._check()]
        return {
            "language": self.language,
            "fonts": list(FONT_FAMILIES),
            "body": readable(story.organisation.name),
            "title": _("What happened in a video visit"),
            "lead": _(
                "Summary for people. The proof is in the other files of this archive: anybody can"
                " check it, without us and without a network."
            ),
            "facts": self._facts(),
            "parts": [part for part in parts if part["paragraphs"] or part["rows"]],
            "foot": _("Made on {moment}. Times of Europe/Rome.", moment=_now(story)),
            "page": _("page"),
        }

    def _facts(self) -> list[list[str]]:
        _, visit = self._, self.story.visit
        booked = visit.appointment
        facts = [
            (_("Appointment"), day_and_time(booked.start)),
            (_("Clinic"), booked.clinic.name if booked.clinic else ""),
            (_("Clinician"), booked.clinician.display_name if booked.clinician else ""),
            (_("Patient"), _("code {code}", code=self.story.pseudonym)),
            (_("Visit"), visit.id),
            (_("Outcome"), self._result(visit)),
        ]
        return [[label, readable(value)] for label, value in facts if value]

    def _result(self, visit: Visit) -> str:
        told = self.say("result", (visit.outcome or visit.state).value)
        reason = visit.outcome_reason
        return f"{told} ({self.say('reason', reason)})" if reason else told

    def _presence(self) -> dict[str, Any]:
        people = []
        for role in (ActorRole.PATIENT, ActorRole.CLINICIAN):
            bars = [
                f"{self.say('bar', bar.kind.value).lower()} {clock(bar.start)}–{clock(bar.end)}"
                for bar in self.story.bars(role)
            ]
            if bars:
                people.append(f"{self.say('role', role.value)}: {', '.join(bars)}.")
        nobody = [self._("Nobody has been in the room.")]
        return _part(self._("Who was in the room, and when"), people or nobody)

    def _line(self) -> dict[str, Any]:
        _, verdict = self._, self.story.verdict
        measured = verdict.suitability
        told = self.say("verdict", measured.value if measured else "none")
        sentences = [f"{_('Measured')}: {told}." if measured else f"{told.capitalize()}."]
        for gap in verdict.breaks[:_MOST_BREAKS]:
            sentences.append(self._break(gap))
        self._count_rest(sentences, verdict.breaks, _MOST_BREAKS)
        return _part(_("The line"), sentences)

    def _break(self, gap: Break) -> str:
        return self._(
            "{start}–{end} without a line, on {side}: {cause}.",
            start=clock(gap.start),
            end=clock(gap.end),
            side=self.say("side", gap.side.value if gap.side else "none"),
            cause=self.say("cause", gap.cause.value),
        )

    def _moments(self) -> dict[str, Any]:
        moments = self.story.moments
        kept = moments[: _MOST_MOMENTS - 4] + moments[max(_MOST_MOMENTS - 4, len(moments) - 4) :]
        rows = [[self._when(line), self._who(line), self._what(line)] for line in kept]
        rest: list[str] = []
        self._count_rest(rest, moments, len(kept))
        return _part(self._("What happened, in order"), rest, rows)

    def _when(self, line: Line) -> str:
        """With its day, where that is not the appointment's."""
        start = self.story.visit.appointment.start.astimezone(ROME)
        moment = line.at.astimezone(ROME)
        same_day = moment.date() == start.date()
        return clock(moment) if same_day else f"{moment:%d/%m/%Y} {clock(moment)}"

    def _who(self, line: Line) -> str:
        return readable(self.story.names.get(line.actor) or self.say("role", line.role.value))

    def _what(self, line: Line) -> str:
        told = self.say("act", line.act.value)
        if outcome := line.facts.get("outcome"):
            return f"{told}: {self.say('result', str(outcome)).lower()}"
        if line.act in _OF_CONSENT and (kind := line.facts.get("kind")):
            return f"{told}: {self.say('word_of', str(kind))}"
        return told

    def _openings(self) -> dict[str, Any]:
        openings = self.story.openings
        sentences = []
        for act, role, count in openings[:_MOST_OPENINGS]:
            who, what = self.say("role", role.value), self.say("act", act.value).lower()
            times = self.ngettext("{count} time", "{count} times", count)
            sentences.append(f"{who}: {what}, {times}.")
        self._count_rest(sentences, openings, _MOST_OPENINGS)
        return _part(self._("Who has looked at data of the patient"), sentences)

    def _check(self) -> dict[str, Any]:
        _, story = self._, self.story
        count = len(story.lines) + story.unread
        sentences = [
            _(
                "Each line of the log has a fingerprint, and all fingerprints together have one"
                " that is signed: whoever changes, adds or takes away a line later is found out."
            ),
            self.ngettext(
                "{count} line of this visit is in the file entries.jsonl, with its proof.",
                "{count} lines of this visit are in the file entries.jsonl, each with its proof.",
                count,
            ),
            _("To check, with Python 3.9 or newer: python3 verify.py FILE.zip"),
            _(
                "Signed log: {origin}, {size} lines, fingerprint {root}",
                origin=story.checkpoint.origin,
                size=story.checkpoint.size,
                root=story.checkpoint.text().splitlines()[2],
            ),
        ]
        if story.unread:
            sentences.append(
                self.ngettext(
                    "{count} line cannot be read here: it was erased at the end of its term, or"
                    " altered. The check says which.",
                    "{count} lines cannot be read here: they were erased at the end of their term,"
                    " or altered. The check says which.",
                    story.unread,
                )
            )
        return _part(_("How to check it"), sentences)

    def _count_rest(self, sentences: list[str], of: Sequence[object], most: int) -> None:
        if len(of) > most:
            more = self.ngettext(
                "{count} more is in the file entries.jsonl.",
                "{count} more are in the file entries.jsonl.",
                len(of) - most,
            )
            sentences.append(more)


def _part(title: str, paragraphs: list[str], rows: Sequence[Sequence[str]] = ()) -> dict[str, Any]:
    return {"title": title, "paragraphs": paragraphs, "rows": [list(row) for row in rows]}


def _now(story: Story) -> str:
    return day_and_time(story.made_at)
