"""Pages of two doctors over one note, in any order: the real model of the page (node) against the
real save of the server.

A step types, sends, delivers, answers, loses, reloads, chooses or hands the visit over. In the end
every page is opened by its doctor, its open sections are joined, and it saves. Then each word that
was typed and not deleted by somebody who saw it is in the last version, and each that somebody
chose against is in one of the versions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from server.audit import ActorRole
from server.auth import Actor
from server.caseload import load_visit_of
from server.db import Database
from server.errors import NotFound
from server.keyring import Keyring
from server.models import Appointment, Note, User, Visit
from server.notes.content import NoteForm, cleaned
from server.notes.store import Basis, Saved, Stale, open_last, save_version
from server.sealed import NoteContent, open_note
from tests.conftest import Team
from tests.notepages import Pages

TABS: Final = 3
"""Two of the first doctor, one of the second."""
SECTIONS: Final = ("findings", "therapy")

_tab = st.integers(0, TABS - 1)
_section = st.sampled_from(SECTIONS)
_step = st.one_of(
    st.tuples(st.just("append"), _tab, _section),
    st.tuples(st.just("insert"), _tab, _section),
    st.tuples(st.just("replace"), _tab, _section),
    st.tuples(st.just("code"), _tab),
    st.tuples(st.just("uncode"), _tab),
    st.tuples(st.just("send"), _tab),
    st.tuples(st.just("save"), _tab),
    st.tuples(st.just("deliver"), _tab),
    st.tuples(st.just("answer"), _tab),
    st.tuples(st.just("lose"), _tab),
    st.tuples(st.just("late"), _tab),
    st.tuples(st.just("reload"), _tab, st.sampled_from(("draft", "sent", "late"))),
    st.tuples(st.just("resolve"), _tab, st.sampled_from(("both", "mine", "theirs"))),
    st.tuples(st.just("hand_over"), st.sampled_from((0, 2))),
)
STEPS: Final = st.lists(_step, min_size=4, max_size=20)


@dataclass
class Sent:
    """One request on its way; ``answer`` once the server has worked on it."""

    content: dict[str, Any]
    based_on: Basis
    digest: str
    answer: tuple[int, Saved] | None = None


@dataclass
class World:
    """One note, its pages, and what was typed into them."""

    database: Database
    keyring: Keyring
    pages: Pages
    visit: Visit
    doctors: tuple[User, User]
    assigned: str = ""
    way: dict[int, Sent] = field(default_factory=dict)
    """The request of each page that waits for its answer."""
    late: list[tuple[int, Sent]] = field(default_factory=list)
    """Requests that their page has given up and that may still arrive."""
    closed: dict[int, Any] = field(default_factory=dict)
    """Drafts of pages that could not be opened again yet."""
    typed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    unchosen: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    uncoded: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def doctor_of(self, tab: int) -> User:
        return self.doctors[0 if tab < TABS - 1 else 1]

    async def begin(self) -> None:
        """An empty note, open in every page; the second doctor had the visit before."""
        self.pages.ask("forget")
        async with self.database.begin(self.visit.organisation_id) as session:
            await session.execute(delete(Note).where(Note.visit_id == self.visit.id))
        await self.assign(0)
        empty = as_json(await self.load(0))
        for tab in range(TABS):
            self.pages.ask("open", tab, saved=empty, draft=None)

    async def assign(self, tab: int) -> None:
        """The visit is that page's doctor's."""
        doctor = self.doctor_of(tab).id
        if doctor == self.assigned:
            return
        self.assigned = doctor
        async with self.database.begin(self.visit.organisation_id) as session:
            await session.execute(
                update(Appointment)
                .where(Appointment.id == self.visit.appointment_id)
                .values(clinician_id=doctor)
            )

    # ---- the server ----------------------------------------------------------------------

    async def load(self, tab: int) -> Saved:
        async with self.database.read(self.visit.organisation_id) as session:
            visit = await load_visit_of(session, self.doctor_of(tab).id, self.visit.id)
            return await open_last(self.keyring, session, visit)

    async def work_on(self, tab: int, sent: Sent) -> None:
        """What ``server.notes.views.save_note`` does with a request."""
        user = self.doctor_of(tab)
        author = Actor(user.id, ActorRole.CLINICIAN, user.organisation_id)
        content = cleaned(msgspec.convert(sent.content, NoteForm))
        try:
            saved = await save_version(
                self.database,
                self.keyring,
                author,
                self.visit.id,
                content,
                based_on=sent.based_on,
                now=datetime.now(UTC),
            )
            sent.answer = (200, saved)
        except Stale:
            sent.answer = (412, await self.load(tab))
        except NotFound:
            sent.answer = None

    # ---- steps ---------------------------------------------------------------------------

    async def step(self, name: str, tab: int, *more: str) -> None:
        if name != "hand_over" and tab in self.closed:
            return
        match name:
            case "append" | "insert" | "replace":
                self.write(name, tab, more[0])
            case "code" | "uncode":
                self.change_codes(name, tab)
            case "send":
                self.send(tab)
            case "save":
                self.send(tab)
                await self.deliver(tab)
                self.answer(tab)
            case "deliver":
                await self.deliver(tab)
            case "answer":
                self.answer(tab)
            case "lose":
                self.lose(tab)
            case "late":
                if self.late:
                    await self.work_on(*self.late.pop(0))
            case "reload":
                await self.reload(tab, more[0])
            case "resolve":
                self.resolve(tab, more[0])
            case "hand_over":
                await self.assign(tab)

    def state(self, tab: int) -> Any:
        return self.pages.ask("state", tab)["state"]

    def write(self, how: str, tab: int, section: str) -> None:
        text: str = self.state(tab)["texts"][section]
        word = f"<{next(self.numbers)}>"
        self.typed.add(word)
        if how == "replace":
            self.deleted |= words_in(text)
            text = word
        elif how == "append":
            text += word
        else:
            middle = text.find(">") + 1
            text = text[:middle] + word + text[middle:]
        self.pages.ask("write", tab, section=section, text=text)

    def change_codes(self, how: str, tab: int) -> None:
        codes = self.state(tab)["content"]["diagnosis_codes"]
        if how == "code" and len(codes) < 15:
            code = f"{next(self.numbers)}"
            self.codes.add(code)
            codes.append({"system": "icd9_cm", "code": code, "display": "x"})
        elif how == "uncode" and codes:
            self.uncoded.add(codes.pop(0)["code"])
        self.pages.ask("choose", tab, codes=codes)

    def send(self, tab: int) -> None:
        if tab in self.way:
            return
        save = self.pages.ask("nextSave", tab)["result"]
        if save:
            self.way[tab] = Sent(save["content"], Basis(save["version"]), save["digest"])

    async def deliver(self, tab: int) -> None:
        sent = self.way.get(tab)
        if sent is not None and sent.answer is None:
            await self.work_on(tab, sent)

    def answer(self, tab: int) -> None:
        sent = self.way.get(tab)
        if sent is None or sent.answer is None:
            return
        del self.way[tab]
        status, saved = sent.answer
        self.pages.ask("onSaved" if status == 200 else "onStale", tab, saved=as_json(saved))

    def lose(self, tab: int) -> None:
        sent = self.way.pop(tab, None)
        if sent is not None and sent.answer is None:
            self.late.append((tab, sent))

    async def reload(self, tab: int, how: str) -> None:
        """The page goes away, with a last save that arrives at once, late or never."""
        waiting = self.way.pop(tab, None)
        if waiting is not None and waiting.answer is None:
            self.late.append((tab, waiting))
        last = self.pages.ask("lastSave", tab)["result"] if how != "draft" else None
        if last:
            after = waiting.digest if waiting else ""
            sent = Sent(last["content"], Basis(last["version"], after), last["digest"])
            if how == "sent":
                await self.work_on(tab, sent)
            else:
                self.late.append((tab, sent))
        draft = self.pages.ask("draft", tab)
        await self.open(tab, draft["result"] if draft["state"]["isUnsaved"] else None)

    async def open(self, tab: int, draft: Any) -> None:
        """A page of a doctor who does not have the visit stays closed; its draft stays."""
        try:
            saved = await self.load(tab)
        except NotFound:
            self.closed[tab] = draft
            return
        self.pages.ask("open", tab, saved=as_json(saved), draft=draft)

    def resolve(self, tab: int, choice: str) -> None:
        """The person sees both texts and gives up what is only in the one not chosen."""
        conflicts = self.state(tab)["conflicts"]
        if not conflicts:
            return
        conflict = conflicts[0]
        mine, theirs = words_in(conflict["mine"]), words_in(conflict["theirs"])
        if choice == "mine":
            self.deleted |= theirs - mine
            self.unchosen |= theirs - mine
        elif choice == "theirs":
            self.deleted |= mine - theirs
            self.unchosen |= mine - theirs
        self.pages.ask("resolve", tab, section=conflict["section"], choice=choice)

    # ---- the end -------------------------------------------------------------------------

    async def finish(self) -> None:
        """Every page comes back, joins what is open, and saves."""
        for tab in range(TABS):
            await self.assign(tab)
            if tab in self.closed:
                await self.open(tab, self.closed.pop(tab))
            self.lose(tab)
            await self.flush(tab)
        while self.late:
            await self.work_on(*self.late.pop(0))

    async def flush(self, tab: int) -> None:
        for _ in range(20):
            state = self.state(tab)
            if not state["isUnsaved"]:
                return
            if state["conflicts"]:
                self.resolve(tab, "both")
            await self.step("save", tab)
        raise AssertionError("a page does not come to rest")

    async def check(self) -> None:
        async with self.database.read(self.visit.organisation_id) as session:
            rows = await session.scalars(
                select(Note).where(Note.visit_id == self.visit.id).order_by(Note.version)
            )
            notes = rows.all()
            contents = [await open_note(self.keyring, session, note) for note in notes]
        assert [note.version for note in notes] == list(range(1, len(notes) + 1))
        last = contents[-1] if contents else NoteContent()
        assert self.typed - self.deleted - words_of(last) == set(), "lost words"
        kept = set[str]().union(*map(words_of, contents))
        assert self.unchosen - kept == set(), "no version has what was not chosen"
        codes = {coding.code for coding in last.diagnosis_codes}
        assert self.codes - self.uncoded - codes == set(), "lost codes"


async def run(
    database: Database,
    keyring: Keyring,
    pages: Pages,
    visit: Visit,
    team: Team,
    steps: list[tuple[Any, ...]],
) -> None:
    """One interleaving from an empty note to its check."""
    world = World(database, keyring, pages, visit, (team.clinician, team.colleague))
    await world.begin()
    for name, tab, *more in steps:
        await world.step(name, tab, *more)
    await world.finish()
    await world.check()


def words_in(text: str) -> set[str]:
    return {f"<{part.split('>')[0]}>" for part in text.split("<")[1:]}


def words_of(content: NoteContent) -> set[str]:
    return set[str]().union(*map(words_in, content.sections.values()))


def as_json(saved: Saved) -> dict[str, Any]:
    return {
        "content": msgspec.to_builtins(saved.content),
        "version": saved.version,
        "saved_at": saved.saved_at.isoformat() if saved.saved_at else None,
    }
