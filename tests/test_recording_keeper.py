"""A visit recorded by the running application: two people in a room, a recorder process of its own,
what it keeps in the store; and what everybody is told when it dies, or has no disk."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from recordings.roomclient import UNNUMBERED, RoomClient
from server.db import Database
from server.keyring import Keyring
from server.models import (
    Outcome,
    Recording,
    RecordingState,
    RecordingTrack,
    TrackState,
    Visit,
    VisitState,
)
from server.recording import KEEPER
from server.sealed import TAPE_FOLDER, open_track
from server.services import HUB, LISTENING, RECORDINGS
from signaling.messages import AnswerEvent, Closed, Offer, RoomEvent, Welcome
from signaling.recording import Recording as Fold
from signaling.recordingevents import RecordingState as State
from tests.conftest import Cast, MakeVisit
from tests.flashes import flash_and_beep
from tests.recordground import Sender
from tests.roomlogs import valkey
from tests.test_attachments import consent
from tests.test_recording import allow, ask, say, text_hash, told
from tests.valkeys import ValkeyServer
from tests.visitors import Site, Visitor, open_site

__all__ = ["valkey"]

WITHIN_SECONDS = 40.0
KEPT_SECONDS = 2.0
SENT_MEANWHILE = 20


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """The recorder knows no database."""
    return sqlite_template


@pytest.fixture
async def site(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring
) -> AsyncIterator[Site]:
    endpoint = {"media_address": "127.0.0.1"}
    async with open_site(database, database_url, data_dir, **endpoint) as site:
        yield site


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


class Person:
    """A page of one of the two: its seat, its own fold, its connection to the recorder."""

    def __init__(self, site: Site, visitor: Visitor, base: str) -> None:
        self._site = site
        self._visitor = visitor
        self.base = base
        self.fold = Fold()
        self.seen: list[State] = []
        self.pages: dict[str, int] = {}
        self.you = ""
        self._answer: asyncio.Future[str] | None = None
        self.sender = Sender.of(*flash_and_beep())
        url = site.app[LISTENING].socket_url
        self.client = RoomClient(url, site.origin, self._ticket, self._welcome, self._hear)
        self._life = asyncio.create_task(self.client.run())

    async def _ticket(self) -> str:
        answer = await self._visitor.send("POST", f"{self.base}/ticket", {})
        return str(json.loads(answer.text)["ticket"])

    def _welcome(self, welcome: Welcome) -> None:
        self.you, self.fold = welcome.you, Fold.of(welcome)
        self.pages = {one.participant: one.generation for one in welcome.participants}

    def _hear(self, event: RoomEvent) -> None:
        if event.__struct_config__.tag == "joined":
            self.pages[event.participant] = event.seq  # type: ignore[union-attr]
        if isinstance(event, AnswerEvent) and self._answer is not None:
            self._answer.set_result(msgspec.json.decode(event.payload)["sdp"])
        if self.fold.apply(event) and (not self.seen or self.seen[-1] is not self.fold.state):
            self.seen.append(self.fold.state)

    async def send_to_recorder(self) -> None:
        """A new connection, as after each new page of the recorder."""
        await until(lambda: "recorder" in self.pages)
        self._answer = asyncio.get_running_loop().create_future()
        payload = {"type": "offer", "sdp": await self.sender.offer(), "leg": 1}
        pair = max(self.pages["recorder"], self.pages[self.you])
        raw = msgspec.Raw(msgspec.json.encode(payload))
        self.client.send(Offer(cseq=UNNUMBERED, to="recorder", generation=pair, payload=raw))
        async with asyncio.timeout(WITHIN_SECONDS):
            await self.sender.take(await self._answer)

    async def renew(self) -> None:
        """The connection to the recorder that is there now."""
        await self.sender.close()
        self.sender = Sender.of(*flash_and_beep())
        await self.send_to_recorder()

    async def answer(self, asked: str, hash_: str) -> None:
        fields = {"is_accepted": True, "text_hash": hash_}
        answer = await say(self._visitor, self.base, "answer", asked, **fields)
        assert answer.status == 200

    async def stop(self, asked: str) -> None:
        assert (await say(self._visitor, self.base, "stop", asked)).status == 200

    async def close(self) -> None:
        await self.client.leave()
        await self.sender.close()
        await self._life


class Scene:
    """Both people in the room, and the clinician's ask."""

    def __init__(self, site: Site, visit: Visit, anna: Person, doctor: Person, asked: str) -> None:
        self.site, self.visit, self.asked = site, visit, asked
        self.anna, self.doctor = anna, doctor

    async def agree(self) -> None:
        await self.anna.answer(self.asked, await text_hash(self.site.database, self.visit))
        await until(lambda: self.doctor.fold.state is self.anna.fold.state is State.ON)

    async def send(self) -> None:
        for person in (self.anna, self.doctor):
            await person.send_to_recorder()

    async def load(self) -> tuple[Recording, list[RecordingTrack]]:
        async with self.site.database.read(self.visit.organisation_id) as session:
            row = await session.get_one(Recording, self.asked)
            tracks = await session.scalars(
                select(RecordingTrack).order_by(RecordingTrack.participant, RecordingTrack.part)
            )
            return row, list(tracks)

    async def wait_for_tracks(self, count: int) -> None:
        async with asyncio.timeout(WITHIN_SECONDS):
            while len((await self.load())[1]) < count:
                await asyncio.sleep(0.05)

    async def wait_for_store(self) -> tuple[Recording, list[RecordingTrack]]:
        async with asyncio.timeout(WITHIN_SECONDS):
            while not (found := await self.load())[0].is_copied:
                await asyncio.sleep(0.05)
        return found

    async def read(self, keyring: Keyring, track: RecordingTrack) -> bytes:
        async with self.site.database.read(self.visit.organisation_id) as session:
            row = await session.get_one(Recording, self.asked)
            content = await open_track(keyring, session, self.site.app[RECORDINGS], row, track)
        return b"".join(content.read(0, content.size))


@pytest.fixture
async def scene(site: Site, cast: Cast, make_visit: MakeVisit) -> AsyncIterator[Scene]:
    async with staged(site, cast, make_visit) as scene:
        yield scene


@asynccontextmanager
async def staged(site: Site, cast: Cast, make_visit: MakeVisit) -> AsyncIterator[Scene]:
    await allow(site.database, cast, ["care"])
    visit = await make_visit(cast.toscana, state=VisitState.IN_VISIT)
    await consent(site.database, visit)
    clinician = await site.staff(cast.toscana.clinician)
    anna = Person(site, await site.patient(visit), f"/v/{visit.locator}")
    doctor = Person(site, clinician, f"/visits/{visit.id}")
    await until(lambda: len(anna.pages) == len(doctor.pages) == 2)
    answer = await ask(clinician, visit, await text_hash(site.database, visit))
    yield Scene(site, visit, anna, doctor, json.loads(answer.text)["ask"])
    await anna.close()
    await doctor.close()


def tapes(data_dir: Path) -> list[Path]:
    return list((data_dir / TAPE_FOLDER).iterdir())


async def test_what_both_send_while_both_agree_is_in_the_store(
    scene: Scene, data_dir: Path, keyring: Keyring, database: Database
) -> None:
    await scene.agree()
    await scene.send()
    await scene.wait_for_tracks(2)
    await asyncio.sleep(KEPT_SECONDS)
    await scene.anna.stop(scene.asked)
    row, tracks = await scene.wait_for_store()

    assert (row.state, row.end_reason) == (RecordingState.ENDED, "stopped")
    assert [(one.participant, one.part, one.state) for one in tracks] == [
        ("clinician", 0, TrackState.KEPT),
        ("patient", 0, TrackState.KEPT),
    ]
    for track in tracks:
        assert track.frames > 0
        assert track.packets > 0
        content = await scene.read(keyring, track)
        assert content.startswith(b"\x1a\x45\xdf\xa3")
    assert tapes(data_dir) == []
    await until(lambda: scene.doctor.fold.state is State.OFF)


async def test_a_killed_recorder_is_followed_by_another_one(
    scene: Scene, keyring: Keyring, database: Database
) -> None:
    await scene.agree()
    await scene.send()
    await scene.wait_for_tracks(2)
    await asyncio.sleep(KEPT_SECONDS)
    pid = scene.site.app[KEEPER].find_pid(scene.asked)
    assert pid is not None
    before = scene.anna.pages["recorder"]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: State.FAILED in scene.anna.seen)
    await until(lambda: scene.anna.pages["recorder"] > before)
    await until(lambda: scene.anna.fold.state is State.ON)
    await scene.anna.renew()
    await scene.wait_for_tracks(3)
    await asyncio.sleep(KEPT_SECONDS)
    await scene.doctor.stop(scene.asked)
    _, tracks = await scene.wait_for_store()

    assert [(one.participant, one.part, one.state) for one in tracks] == [
        ("clinician", 0, TrackState.CUT),
        ("patient", 0, TrackState.CUT),
        ("patient", 1, TrackState.KEPT),
    ]
    assert tracks[2].offset_ms > tracks[1].offset_ms + tracks[1].duration_ms
    acts = [entry["action"] for entry in await told(database, scene.visit)]
    assert acts[-4:] == [
        "recording.failed", "recording.resumed", "recording.stopped", "recording.ended",
    ]  # fmt: skip


async def test_when_all_have_left_it_is_over(scene: Scene) -> None:
    await scene.agree()
    await until(lambda: "recorder" in scene.anna.pages)
    for person in (scene.anna, scene.doctor):
        await person.client.leave()
    row, tracks = await scene.wait_for_store()

    assert (row.state, row.end_reason, tracks) == (RecordingState.ENDED, "everybody_left", [])


async def test_a_disk_that_fails_is_told_and_so_is_its_recovery(
    scene: Scene, data_dir: Path
) -> None:
    await until(lambda: "recorder" in scene.anna.pages)
    folder = data_dir / TAPE_FOLDER
    folder.rename(data_dir / "gone")
    await scene.agree()
    await scene.send()
    await until(lambda: scene.anna.fold.state is State.FAILED)
    shown = scene.anna.fold.shown()
    (data_dir / "gone").rename(folder)
    await until(lambda: scene.anna.fold.state is State.ON)
    await scene.wait_for_tracks(1)

    assert shown is not None
    assert shown.reason == "disk_failed"


async def test_after_a_restart_of_the_server_nothing_goes_on_by_itself(
    database: Database,
    database_url: str,
    data_dir: Path,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
) -> None:
    place = (database, database_url, data_dir)
    async with (
        open_site(*place, media_address="127.0.0.1") as site,
        staged(site, cast, make_visit) as scene,
    ):
        await scene.agree()
        await scene.send()
        await scene.wait_for_tracks(2)
        await asyncio.sleep(KEPT_SECONDS)
        before, _ = await scene.load()
        await site.app[KEEPER].stop()
    async with open_site(*place, media_address="127.0.0.1") as site:
        scene.site = site
        row, tracks = await scene.wait_for_store()

    assert before.ended_at is None
    assert (row.state, row.end_reason) == (RecordingState.ENDED, "log_lost")
    assert [track.state for track in tracks] == [TrackState.KEPT] * 2
    assert tapes(data_dir) == []


async def test_a_tape_that_nobody_has_written_down_is_found_by_the_next_server(
    database: Database,
    database_url: str,
    data_dir: Path,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
) -> None:
    """The recorder stands still while both begin to send, so that it says so to nobody."""
    place = (database, database_url, data_dir)
    async with (
        open_site(*place, media_address="127.0.0.1") as site,
        staged(site, cast, make_visit) as scene,
    ):
        senders = (scene.anna.sender, scene.doctor.sender)
        for sender in senders:
            sender.hold()
        await scene.agree()
        await scene.send()
        await until(lambda: all(sender.is_up for sender in senders))
        pid = site.app[KEEPER].find_pid(scene.asked)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        for sender in senders:
            sender.hold(False)
        await until(lambda: all(sender.sent > SENT_MEANWHILE for sender in senders))
        stopping = asyncio.create_task(site.app[KEEPER].stop())
        await until(lambda: site.app[KEEPER].find_pid(scene.asked) is None)
        os.kill(pid, signal.SIGCONT)
        await stopping
        _, before = await scene.load()
        left = {path.stem for path in tapes(data_dir)}
    async with open_site(*place, media_address="127.0.0.1") as site:
        scene.site = site
        _, tracks = await scene.wait_for_store()

    assert before == []
    assert {track.id for track in tracks} == left
    assert [(one.participant, one.part, one.state) for one in tracks] == [
        ("clinician", 0, TrackState.KEPT),
        ("patient", 0, TrackState.KEPT),
    ]
    assert all(track.packets > 0 for track in tracks)
    assert tapes(data_dir) == []
    acts = [entry["action"] for entry in await told(database, scene.visit)]
    assert acts[-3:] == ["recording.ended", "recording.found", "recording.found"]


async def test_the_end_of_the_visit_is_the_end_of_the_recording(scene: Scene) -> None:
    await scene.agree()
    await until(lambda: "recorder" in scene.anna.pages)
    async with scene.site.database.begin(scene.visit.organisation_id) as session:
        visit = await session.get_one(Visit, scene.visit.id)
        visit.state, visit.outcome = VisitState.ENDED, Outcome.COMPLETED
    await scene.site.app[HUB].publish(scene.visit.id, Closed(outcome="completed"))
    row, _ = await scene.wait_for_store()

    assert (row.state, row.end_reason) == (RecordingState.ENDED, "closed")


async def test_another_process_goes_on_where_the_leading_one_ends(
    valkey: ValkeyServer,
    database: Database,
    database_url: str,
    data_dir: Path,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
) -> None:
    place = (database, database_url, data_dir)
    shared = {"valkey_url": valkey.url, "media_address": "127.0.0.1"}
    async with AsyncExitStack() as stack:
        north = await stack.enter_async_context(AsyncExitStack())
        await north.enter_async_context(open_site(*place, **shared))
        south = await stack.enter_async_context(open_site(*place, **shared))
        scene = await stack.enter_async_context(staged(south, cast, make_visit))
        await scene.agree()
        await scene.send()
        await scene.wait_for_tracks(2)
        before = scene.anna.pages["recorder"]
        await north.aclose()
        await until(lambda: scene.anna.pages["recorder"] > before)
        await until(lambda: scene.anna.fold.state is State.ON)
        await scene.anna.renew()
        await scene.wait_for_tracks(3)
        await scene.anna.stop(scene.asked)
        _, tracks = await scene.wait_for_store()

    assert [(one.participant, one.part) for one in tracks] == [
        ("clinician", 0),
        ("patient", 0),
        ("patient", 1),
    ]
    assert "recording.failed" in [entry["action"] for entry in await told(database, scene.visit)]
