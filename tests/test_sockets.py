"""The hub over real sockets: entering, resuming, being cut, and what never crosses rooms."""

from __future__ import annotations

import asyncio
import json
import random
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from msgspec import structs

from signaling import sockets as sockets_module
from signaling.front import Front
from signaling.hub import Hub, Refused, RoomSeed
from signaling.ice import IceConfig
from signaling.messages import (
    Closed,
    FilesChanged,
    Late,
    Moved,
    ParticipantState,
    Role,
    RoomEvent,
    StillChanged,
    StillState,
)
from tests.roomlogs import MakeLog, make_log, valkey

__all__ = ["make_log", "valkey"]

ORIGIN = "https://visite.asl.test"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FRESH = RoomSeed(frozenset(), 0, None, relay_until_admitted=True, relay_always=False)


@dataclass
class Records:
    """The web application's side, kept in memory."""

    seeds: dict[str, RoomSeed] = field(default_factory=dict)
    admitted: list[tuple[str, str, str]] = field(default_factory=list)
    turned_away: list[tuple[str, str, str]] = field(default_factory=list)
    observed: list[tuple[str, RoomEvent]] = field(default_factory=list)
    open_rooms: set[str] = field(default_factory=set)
    refusal: str = ""
    loads: int = 0

    async def load(self, room_id: str) -> RoomSeed:
        self.loads += 1
        await asyncio.sleep(0)
        return self.seeds.get(room_id, FRESH)

    async def admit(self, room_id: str, by: str, participant: str) -> None:
        if self.refusal:
            raise Refused(self.refusal)
        await asyncio.sleep(0)
        self.admitted.append((room_id, by, participant))

    async def turn_away(self, room_id: str, by: str, participant: str) -> None:
        self.turned_away.append((room_id, by, participant))

    def observe(self, room_id: str, event: RoomEvent) -> None:
        self.observed.append((room_id, event))

    def opened(self, room_id: str, seed: RoomSeed) -> None:
        self.open_rooms.add(room_id)

    def closed(self, room_id: str) -> None:
        self.open_rooms.remove(room_id)

    def tags(self) -> list[str]:
        return [str(event.__struct_config__.tag) for _, event in self.observed]


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Page:
    """A browser page as the server sees it: sends frames, keeps what comes."""

    ws: ClientWebSocketResponse
    welcome: dict[str, Any] = field(default_factory=dict)
    cseq: int = 0
    seq: int = 0

    async def send(self, kind: str, **fields: object) -> None:
        await self.ws.send_str(json.dumps({"type": kind, **fields}))

    async def act(self, kind: str, **fields: object) -> None:
        self.cseq += 1
        await self.send(kind, cseq=self.cseq, **fields)

    async def receive(self) -> dict[str, Any]:
        message = await self.ws.receive(timeout=10)
        assert message.type is WSMsgType.TEXT, message
        frame: dict[str, Any] = json.loads(message.data)
        self.seq = max(self.seq, frame.get("seq", 0))
        return frame

    async def wait(self, kind: str) -> dict[str, Any]:
        while (frame := await self.receive())["type"] != kind:
            pass
        return frame

    async def settle(self) -> list[dict[str, Any]]:
        """Everything that was under way to this page, acknowledgements aside."""
        await self.send("ping")
        frames = []
        while (frame := await self.receive())["type"] != "pong":
            frames.append(frame)
        return [frame for frame in frames if frame["type"] != "ack"]

    async def end(self) -> tuple[str, str, int | None]:
        """Waits for ``bye`` and the close: (reason, action, close code)."""
        bye = await self.wait("bye")
        message = await self.ws.receive(timeout=10)
        assert message.type is WSMsgType.CLOSE
        return bye["reason"], bye["action"], self.ws.close_code

    def cut(self) -> None:
        """The line is gone, without goodbye."""
        connection = self.ws._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    @property
    def transport(self) -> Any:
        connection = self.ws._response.connection
        assert connection is not None
        return connection.transport

    async def signal(self, to: str, payload: object, kind: str = "offer") -> None:
        await self.act(kind, to=to, generation=self.pair, payload=payload)

    @property
    def pair(self) -> int:
        return max(one["generation"] for one in self.welcome["participants"])


@dataclass
class House:
    """One node with its web server."""

    hub: Hub
    records: Records
    clock: Clock
    client: ClientSession
    stop: Callable[[], Awaitable[None]]
    pages: list[Page] = field(default_factory=list)

    async def open(self, origin: str | None = ORIGIN, **more: Any) -> Page:
        headers = {"Origin": origin} if origin else {}
        page = Page(await self.client.ws_connect("/ws", headers=headers, **more))
        self.pages.append(page)
        return page

    async def join(self, room: str, who: str, role: Role = Role.PATIENT, **more: Any) -> Page:
        page = await self.open(**more)
        ticket = self.hub.issue_ticket(room, who, role, self.clock.now)
        await page.send("hello", versions=[1], ticket=ticket)
        page.welcome = await page.receive()
        assert page.welcome["type"] == "welcome", page.welcome
        return page

    async def resume(self, lost: Page) -> Page:
        page = await self.open()
        page.cseq, page.seq = lost.cseq, lost.seq
        token, epoch = lost.welcome["resume"], lost.welcome["epoch"]
        await page.send("hello", versions=[1], resume=token, epoch=epoch, seq=lost.seq)
        return page

    async def visit(self) -> tuple[Page, Page]:
        """Anna waits, Dr Bruno has come."""
        anna = await self.join("visit", "anna")
        bruno = await self.join("visit", "bruno", Role.CLINICIAN)
        joined = await anna.wait("joined")
        anna.welcome["participants"].append({**joined, "generation": joined["seq"]})
        return anna, bruno


Build = Callable[..., Awaitable[House]]


def usual_buffers() -> sockets.socket:
    return sockets.socket()


def small_buffers() -> sockets.socket:
    """A listening socket whose connections take little before a slow client is felt."""
    listener = sockets.socket()
    listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 16 * 1024)
    listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 16 * 1024)
    return listener


@pytest.fixture
async def build(make_log: MakeLog) -> AsyncIterator[Build]:
    houses: list[House] = []

    async def build_house(
        make_listener: Callable[[], sockets.socket] = usual_buffers,
    ) -> House:
        records, clock = Records(), Clock()
        ice = IceConfig(turn_urls=("turn:turn.asl.test",), turn_secret=b"secret")
        hub = Hub(
            log=make_log(),
            key=b"k" * 32,
            hooks=records,
            ice=ice,
            allowed_origins=frozenset({ORIGIN}),
            clock=clock,
        )
        app = web.Application()
        app.router.add_get("/ws", hub.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        assert runner.server is not None
        front = Front(hub, runner.server)
        listener = make_listener()
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.get_running_loop().create_server(front, sock=listener)
        port = listener.getsockname()[1]
        client = ClientSession(f"http://127.0.0.1:{port}")

        async def stop() -> None:
            await client.close()
            server.close()
            front.close()
            await runner.cleanup()

        houses.append(House(hub, records, clock, client, stop))
        return houses[-1]

    yield build_house
    for house in houses:
        for page in house.pages:
            page.cut()
        await house.hub.close()
        await house.stop()


@pytest.fixture
async def house(build: Build) -> House:
    return await build()


# ---- the door ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        "http://visite.asl.test",
        "https://visite.asl.test:444",
        "https://visite.asl.test.evil.test",
        "https://evil.test/https://visite.asl.test",
        "https://VISITE.asl.test",
        "https://visite.asl.test/",
        "https://sub.visite.asl.test",
    ],
)
async def test_only_the_exact_origin_may_open_a_socket(house: House, origin: str | None) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await house.open(origin)

    assert refused.value.status == 403


async def test_welcome_shows_the_room_and_the_way_to_connect(house: House) -> None:
    anna, bruno = await house.visit()

    assert (anna.welcome["you"], anna.welcome["polite"]) == ("anna", True)
    assert (bruno.welcome["polite"], bruno.welcome["resumed"]) == (False, False)
    assert [one["state"] for one in bruno.welcome["participants"]] == ["waiting", "admitted"]
    assert bruno.welcome["seq"] == 2
    assert anna.welcome["relay_until_admitted"]
    turn = anna.welcome["ice_servers"][0]
    assert turn["urls"] == ["turn:turn.asl.test"]
    assert ":visit.anna" in turn["username"]


async def refused_hello(house: House, **fields: object) -> tuple[str, str, int | None]:
    page = await house.open()
    await page.send("hello", **{"versions": [1], **fields})
    return await page.end()


async def test_a_ticket_works_once(house: House) -> None:
    ticket = house.hub.issue_ticket("visit", "anna", Role.PATIENT, NOW)
    page = await house.open()
    await page.send("hello", versions=[1], ticket=ticket)
    await page.wait("welcome")

    assert await refused_hello(house, ticket=ticket) == ("ticket_refused", "reconnect", 1008)


async def test_a_late_a_forged_and_a_missing_ticket_are_refused(house: House) -> None:
    ticket = house.hub.issue_ticket("visit", "anna", Role.PATIENT, NOW)
    house.clock.now += timedelta(seconds=30)

    assert await refused_hello(house, ticket=ticket) == ("ticket_refused", "reconnect", 1008)
    assert (await refused_hello(house, ticket="junk"))[0] == "ticket_refused"
    assert (await refused_hello(house, ticket=ticket, resume=ticket))[0] == "bad_hello"
    assert (await refused_hello(house))[0] == "bad_hello"
    assert house.records.loads == 0


async def test_nothing_but_hello_is_heard_before_the_seat(house: House) -> None:
    page = await house.open()
    await page.act("admit", participant="anna")

    assert await page.end() == ("bad_hello", "stop", 1008)


async def test_an_old_page_is_told_that_its_version_is_gone(house: House) -> None:
    assert await refused_hello(house, versions=[99], ticket="any") == ("bad_version", "stop", 1000)


async def test_who_says_nothing_is_cut(house: House) -> None:
    page = await house.open()

    house.hub.beat(asyncio.get_running_loop().time() + 10)

    assert (await page.end())[0] == "bad_hello"


async def test_a_closed_visit_is_not_entered(house: House) -> None:
    house.records.seeds["visit"] = RoomSeed(
        frozenset({"anna"}), 0, "completed", relay_until_admitted=False, relay_always=False
    )
    ticket = house.hub.issue_ticket("visit", "anna", Role.PATIENT, NOW)

    assert await refused_hello(house, ticket=ticket) == ("closed", "stop", 1000)


async def test_two_who_come_at_once_open_one_room(house: House) -> None:
    await asyncio.gather(house.join("visit", "anna"), house.join("visit", "bruno", Role.CLINICIAN))

    assert house.records.loads == 1
    assert len((await house.hub.presence(["visit"]))["visit"]) == 2


# ---- in the room -------------------------------------------------------------------------------


async def test_signals_reach_the_other_one_with_their_payload_untouched(house: House) -> None:
    anna, bruno = await house.visit()

    await bruno.ws.send_str(
        '{"type":"offer","cseq":1,"to":"anna","generation":2,"payload":{"sdp" : "v=0 àè","n":1.50}}'
    )
    message = await anna.ws.receive()

    assert '"payload":{"sdp" : "v=0 àè","n":1.50}' in message.data
    assert json.loads(message.data)["sender"] == "bruno"


async def test_admitting_is_kept_before_the_room_hears_of_it(house: House) -> None:
    anna, bruno = await house.visit()

    await bruno.act("admit", participant="anna")
    await anna.wait("admitted")

    assert house.records.admitted == [("visit", "bruno", "anna")]
    assert house.records.tags() == ["joined", "joined", "admitted"]


async def test_what_cannot_be_kept_does_not_happen(house: House) -> None:
    _, bruno = await house.visit()
    house.records.refusal = "consent_missing"

    await bruno.act("admit", participant="anna")

    assert await bruno.wait("error") == {"type": "error", "code": "consent_missing", "cseq": 1}
    assert (await house.hub.presence(["visit"]))["visit"][0].state is ParticipantState.WAITING


async def test_a_patient_cannot_admit_herself(house: House) -> None:
    anna, _ = await house.visit()

    await anna.act("admit", participant="anna")

    assert (await anna.wait("error"))["code"] == "not_allowed"
    assert house.records.admitted == []


async def test_who_is_turned_away_is_told_and_disconnected(house: House) -> None:
    anna, bruno = await house.visit()

    await bruno.act("turn_away", participant="anna")

    assert (await anna.wait("turned_away"))["participant"] == "anna"
    assert await anna.end() == ("turned_away", "stop", 1000)
    assert house.records.turned_away == [("visit", "bruno", "anna")]


async def test_leaving_is_answered_and_seen_by_the_other(house: House) -> None:
    anna, bruno = await house.visit()

    await anna.act("leave")

    assert await anna.end() == ("left", "stop", 1000)
    assert (await bruno.wait("gone"))["participant"] == "anna"
    assert await bruno.settle() == []
    assert house.records.tags() == ["joined", "joined", "gone"]


async def test_frames_are_acknowledged_also_when_nothing_else_is_sent(house: House) -> None:
    anna, _ = await house.visit()

    for number in range(3):
        await anna.signal("bruno", number, "candidates")

    assert (await anna.wait("ack"))["cseq"] == 3


async def test_acts_over_http_are_published_to_an_open_room(house: House) -> None:
    anna, _ = await house.visit()

    await house.hub.publish("visit", Late(minutes=10))
    await house.hub.publish("visit", Moved(start="2026-03-02T09:15:00+00:00"))
    await house.hub.publish("nowhere", Late(minutes=10))

    assert (await anna.wait("late"))["minutes"] == 10
    assert (await anna.wait("moved"))["start"] == "2026-03-02T09:15:00+00:00"
    assert await house.hub.presence(["nowhere"]) == {}


async def test_a_visit_is_closed_once_however_often_it_is_said(house: House) -> None:
    anna, bruno = await house.visit()

    for event in (Closed(outcome="cancelled"), Closed(outcome="completed"), Moved()):
        await house.hub.publish("visit", event)

    for page in (anna, bruno):
        assert (await page.wait("closed"))["outcome"] == "cancelled"
        assert (await page.receive())["type"] == "bye"
    await house.hub.publish("visit", Closed(outcome="cancelled"))
    late = await house.open()
    ticket = house.hub.issue_ticket("visit", "anna", Role.PATIENT, house.clock.now)
    await late.send("hello", versions=[1], ticket=ticket)
    assert await late.end() == ("closed", "stop", 1000)
    assert house.records.tags().count("closed") == 1
    assert "moved" not in house.records.tags()


async def test_an_ask_for_a_photo_reaches_both_and_whoever_joins_before_the_answer(
    house: House,
) -> None:
    anna, bruno = await house.visit()

    await house.hub.publish("visit", StillChanged(ask="ask", state=StillState.ASKED))
    await house.hub.publish("visit", FilesChanged())
    heard = [await page.wait("still_changed") for page in (anna, bruno)]
    files = [await page.wait("files_changed") for page in (anna, bruno)]
    during = await house.join("visit", "anna")
    await house.hub.publish("visit", StillChanged(ask="ask", state=StillState.REFUSED))
    await bruno.wait("still_changed")
    after = await house.join("visit", "anna")

    assert [(frame["ask"], frame["state"]) for frame in heard] == [("ask", "asked")] * 2
    assert {frame["seq"] for frame in files} == {heard[0]["seq"] + 1}
    assert (anna.welcome["still"], during.welcome["still"]) == ("", "ask")
    assert after.welcome["still"] == ""


async def test_closing_the_visit_ends_everybody(house: House) -> None:
    pages = await house.visit()

    await house.hub.publish("visit", Closed(outcome="completed"))

    for page in pages:
        assert (await page.wait("closed"))["outcome"] == "completed"
        assert await page.end() == ("closed", "stop", 1000)


async def test_a_revoked_link_ends_its_socket_and_its_resume(house: House) -> None:
    anna, bruno = await house.visit()

    await house.hub.disconnect("visit", "anna")

    assert await anna.end() == ("revoked", "stop", 1000)
    await bruno.wait("gone")
    assert (await (await house.resume(anna)).end())[0] == "resume_refused"


async def test_a_newer_page_evicts_the_older_one(house: House) -> None:
    older, bruno = await house.visit()

    newer = await house.join("visit", "anna")

    assert await older.end() == ("replaced", "stop", 1000)
    assert [frame["type"] for frame in await bruno.settle()] == ["joined"]
    assert await newer.settle() == []
    assert (await house.hub.presence(["visit"]))["visit"][0].state is ParticipantState.WAITING


# ---- coming back -------------------------------------------------------------------------------


async def test_a_lost_page_resumes_and_gets_exactly_what_it_missed(house: House) -> None:
    anna, bruno = await house.visit()
    await bruno.signal("anna", "before")
    await anna.wait("offer")
    anna.cut()
    await bruno.wait("away")

    await bruno.signal("anna", "during")
    await bruno.settle()
    await house.hub.publish("visit", Late(minutes=5))
    await bruno.wait("late")
    again = await house.resume(anna)
    welcome = await again.wait("welcome")
    missed = await again.settle()

    assert welcome["resumed"]
    assert [frame["type"] for frame in missed] == ["away", "offer", "late", "returned"]
    assert missed[1]["payload"] == "during"
    assert (await bruno.wait("returned"))["participant"] == "anna"
    assert house.records.tags() == ["joined", "joined", "away", "late", "returned"]


async def test_a_page_may_resume_before_the_server_knows_of_its_loss(house: House) -> None:
    anna, bruno = await house.visit()

    again = await house.resume(anna)
    assert (await again.wait("welcome"))["resumed"]
    message = await anna.ws.receive(timeout=10)

    assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR, WSMsgType.CLOSE)
    assert [frame["type"] for frame in await bruno.settle()] == ["returned"]


async def test_frames_sent_again_after_a_resume_are_taken_once(house: House) -> None:
    anna, bruno = await house.visit()
    await anna.signal("bruno", "one")
    await bruno.wait("offer")
    anna.cut()
    await bruno.wait("away")

    again = await house.resume(anna)
    welcome = await again.wait("welcome")
    for cseq, payload in ((1, "one"), (2, "two")):
        fields = {"cseq": cseq, "to": "bruno", "generation": anna.pair, "payload": payload}
        await again.send("offer", **fields)

    assert welcome["cseq"] == 1
    assert (await bruno.wait("offer"))["payload"] == "two"


async def test_after_two_minutes_the_page_joins_afresh(house: House) -> None:
    anna, bruno = await house.visit()
    anna.cut()
    await bruno.wait("away")
    house.clock.now += timedelta(seconds=121)

    assert await (await house.resume(anna)).end() == ("resume_refused", "reconnect", 1000)
    afresh = await house.join("visit", "anna")

    assert (await bruno.wait("joined"))["participant"] == "anna"
    assert afresh.welcome["seq"] > anna.welcome["seq"]


@pytest.mark.parametrize("make_log", ["local"], indirect=True)
async def test_a_restarted_server_asks_to_join_afresh_and_knows_who_was_admitted(
    build: Build,
) -> None:
    before = await build()
    anna, bruno = await before.visit()
    await bruno.act("admit", participant="anna")
    await anna.wait("admitted")
    _, goodbye, _ = await asyncio.gather(before.hub.close(), anna.end(), bruno.end())
    assert goodbye == ("restarting", "reconnect", 1012)

    after = await build()
    after.records.seeds["visit"] = RoomSeed(
        frozenset({"anna"}), 0, None, relay_until_admitted=False, relay_always=False
    )
    assert (await (await after.resume(anna)).end())[:2] == ("resume_refused", "reconnect")
    again = await after.join("visit", "anna")

    assert again.welcome["epoch"] != anna.welcome["epoch"]
    assert again.welcome["participants"][0]["state"] == "admitted"


async def test_another_node_on_the_same_log_takes_a_page_over(build: Build) -> None:
    north, south = await build(), await build()
    anna = await north.join("visit", "anna")
    bruno = await south.join("visit", "bruno", Role.CLINICIAN)
    bruno_joined = await anna.wait("joined")
    anna.cut()
    await bruno.wait("away")
    bruno.welcome["participants"].append({"generation": bruno_joined["seq"]})
    await bruno.signal("anna", "across")
    await bruno.settle()

    again = await south.resume(anna)
    welcome = await again.wait("welcome")
    missed = await again.settle()

    assert welcome["resumed"]
    assert [frame["type"] for frame in missed] == ["away", "offer", "returned"]
    async with asyncio.timeout(10):
        while await south.hub.presence(["visit"]) != await north.hub.presence(["visit"]):
            await asyncio.sleep(0.01)
    assert north.records.tags() == ["joined", "away"]
    assert south.records.tags() == ["joined", "returned"]


@pytest.mark.parametrize("make_log", ["valkey"], indirect=True)
async def test_a_draining_node_sends_its_people_to_the_same_seats_elsewhere(build: Build) -> None:
    north, south = await build(), await build()
    anna = await north.join("visit", "anna")
    bruno = await south.join("visit", "bruno", Role.CLINICIAN)
    await anna.wait("joined")

    _, goodbye = await asyncio.gather(north.hub.drain(seconds=0.1), anna.end())
    again = await south.resume(anna)
    welcome = await again.wait("welcome")

    assert goodbye == ("restarting", "resume", 1012)
    assert welcome["resumed"]
    assert [frame["type"] for frame in await bruno.settle()] == ["returned"]


@pytest.mark.parametrize("make_log", ["valkey"], indirect=True)
async def test_a_ticket_opens_one_seat_whatever_node_it_is_shown_to(build: Build) -> None:
    north, south = await build(), await build()
    ticket = north.hub.issue_ticket("visit", "anna", Role.PATIENT, NOW)
    first, second = await north.open(), await south.open()
    await first.send("hello", versions=[1], ticket=ticket)
    await first.wait("welcome")

    await second.send("hello", versions=[1], ticket=ticket)

    assert (await second.end())[:2] == ("ticket_refused", "reconnect")
    assert await first.settle() == []


@pytest.mark.parametrize("make_log", ["valkey"], indirect=True)
async def test_who_was_on_a_dead_node_is_away(build: Build) -> None:
    north, south = await build(), await build()
    await north.join("visit", "anna")
    bruno = await south.join("visit", "bruno", Role.CLINICIAN)

    dead = str(north.hub._node)
    south.hub._rooms.give_up(dead)

    away, returned = await bruno.wait("away"), await bruno.wait("returned")
    assert away["participant"] == returned["participant"] == "anna"


async def test_who_is_away_for_too_long_is_gone_and_comes_in_anew(house: House) -> None:
    anna, bruno = await house.visit()
    anna.cut()
    await bruno.wait("away")

    house.clock.now += timedelta(minutes=3)
    house.hub._rooms.expire()

    assert (await bruno.wait("gone"))["participant"] == "anna"
    assert "gone" not in house.records.tags()
    await house.join("visit", "anna")
    assert (await bruno.wait("joined"))["participant"] == "anna"


# ---- abuse and weather -------------------------------------------------------------------------


async def test_a_bad_message_is_answered_and_the_ninth_ends_the_socket(house: House) -> None:
    anna, bruno = await house.visit()
    bad = ["{", "[]", '{"type":"dance"}', '{"type":"offer"}', '{"type":"ping","x":' + "[" * 9999]

    for text in bad:
        await anna.ws.send_str(text)
    codes = [(await anna.wait("error"))["code"] for _ in bad]
    for _ in range(4):
        await anna.ws.send_str("{")

    assert codes == ["bad_message"] * 2 + ["unknown_type"] + ["bad_message"] * 2
    assert await anna.end() == ("bad_messages", "stop", 1008)
    assert (await bruno.wait("away"))["participant"] == "anna"


async def test_an_unknown_field_is_ignored(house: House) -> None:
    anna, bruno = await house.visit()

    await anna.act("set_media", microphone=True, camera=False, mood="calm")

    assert (await bruno.wait("media_changed"))["microphone"]


async def test_bytes_that_are_no_text_never_reach_the_other(house: House) -> None:
    anna, bruno = await house.visit()
    frame = b'{"type":"offer","cseq":1,"to":"bruno","generation":2,"payload":"\xff\xfe"}'

    await anna.ws.send_frame(frame, WSMsgType.TEXT)

    assert await anna.end() == ("bad_messages", "stop", 1007)
    assert (await bruno.receive())["type"] == "away"


async def test_binary_frames_are_not_spoken_here(house: House) -> None:
    anna, _ = await house.visit()

    await anna.ws.send_bytes(b"{}")

    assert await anna.end() == ("bad_messages", "stop", 1003)


@pytest.mark.parametrize(("size", "is_taken"), [(64 * 1024, True), (70 * 1024, False)])
async def test_a_frame_has_64_kib_at_most(house: House, size: int, is_taken: bool) -> None:
    anna, _ = await house.visit()
    frame = '{"type":"ping","padding":"' + "x" * size

    await anna.ws.send_str(frame[: size - 2] + '"}')

    message = await anna.ws.receive(timeout=10)
    if is_taken:
        assert message.data == '{"type":"pong"}'
    else:
        assert (message.type, anna.ws.close_code) == (WSMsgType.CLOSE, 1009)


async def test_a_flood_ends_the_flooder_and_nobody_else(house: House) -> None:
    anna, bruno = await house.visit()

    for _ in range(200):
        await anna.send("ping")

    assert await anna.end() == ("too_many_messages", "stop", 1008)
    assert (await bruno.wait("away"))["participant"] == "anna"
    assert await bruno.settle() == []


async def test_a_flood_of_protocol_pings_is_a_flood(house: House) -> None:
    anna, _ = await house.visit()

    for _ in range(200):
        await anna.ws.ping()

    assert (await anna.end())[0] == "too_many_messages"


async def stuff(bruno: Page, count: int, size: int) -> list[str]:
    """Fills the line to Anna, who does not read; the types of what Bruno got meanwhile."""
    heard = []
    for number in range(1, count + 1):
        await bruno.signal("anna", "x" * size, "candidates")
        if number % 10 == 0:
            heard += [frame["type"] for frame in await bruno.settle()]
    return heard


async def a_visit_with_a_sleeping_reader(build: Build) -> tuple[House, Page, Page]:
    house = await build(make_listener=small_buffers)
    anna, bruno = await house.visit()
    anna.transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    anna.transport.pause_reading()
    return house, anna, bruno


async def test_a_client_that_does_not_read_is_cut_when_its_queue_is_full(
    build: Build,
) -> None:
    _, anna, bruno = await a_visit_with_a_sleeping_reader(build)

    heard = await stuff(bruno, 50, 60_000)

    assert heard == ["away"]
    anna.cut()


async def test_a_client_that_does_not_read_is_cut_after_a_while(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets_module, "SEND_DEADLINE_SECONDS", 0.05)
    house, anna, bruno = await a_visit_with_a_sleeping_reader(build)

    if "away" not in await stuff(bruno, 10, 24_000):
        await bruno.wait("away")
    monkeypatch.undo()
    anna.cut()
    again = await house.resume(anna)

    assert (await again.wait("welcome"))["resumed"]
    missed = await again.settle()
    kinds = [one["type"] for one in missed]
    assert sorted(kinds) == ["away", *["candidates"] * 10, "returned"]
    assert kinds[-1] == "returned"


async def test_a_silent_socket_is_asked_and_then_cut(house: House) -> None:
    anna = await house.join("visit", "anna", autoping=False)
    await anna.settle()
    now = asyncio.get_running_loop().time()

    house.hub.beat(now + 20)
    asked = await anna.ws.receive(timeout=10)
    house.hub.beat(now + 31)
    ended = await anna.ws.receive(timeout=10)

    assert asked.type is WSMsgType.PING
    assert ended.type in (WSMsgType.CLOSED, WSMsgType.ERROR)


@pytest.mark.parametrize("make_log", ["local"], indirect=True)
async def test_a_room_that_everybody_has_left_is_forgotten_at_once(house: House) -> None:
    anna = await house.join("visit", "anna")
    await anna.act("leave")
    await anna.end()

    await house.join("visit", "anna")

    assert house.records.loads == 2


@pytest.mark.parametrize("make_log", ["local"], indirect=True)
async def test_a_room_where_everybody_was_lost_is_forgotten_after_a_while(house: House) -> None:
    anna, bruno = await house.visit()
    await bruno.act("leave")
    await bruno.end()
    anna.cut()
    await house.join("other", "carla")
    now = asyncio.get_running_loop().time()

    house.hub.beat(now + 60)
    assert await house.hub.presence(["visit"]) != {}
    house.hub.beat(now + 200)

    assert await house.hub.presence(["visit"]) == {}


@pytest.mark.parametrize("make_log", ["local"], indirect=True)
async def test_a_closing_server_takes_nobody_in(house: House) -> None:
    anna, bruno = await house.visit()

    _, *goodbyes = await asyncio.gather(house.hub.close(), anna.end(), bruno.end())

    assert goodbyes == [("restarting", "reconnect", 1012)] * 2
    with pytest.raises(WSServerHandshakeError) as refused:
        await house.open()
    assert refused.value.status == 503


async def test_a_room_that_cannot_be_loaded_asks_to_try_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(room_id: str) -> RoomSeed:
        raise OSError(room_id)

    monkeypatch.setattr(house.records, "load", fail)
    ticket = house.hub.issue_ticket("visit", "anna", Role.PATIENT, NOW)

    assert await refused_hello(house, ticket=ticket) == ("failed", "resume", 1011)


async def test_a_ticket_to_a_visit_that_is_no_more_ends_there(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(room_id: str) -> RoomSeed:
        raise Refused("no_visit")

    monkeypatch.setattr(house.records, "load", refuse)
    ticket = house.hub.issue_ticket("visit", "anna", Role.PATIENT, NOW)

    assert await refused_hello(house, ticket=ticket) == ("closed", "stop", 1000)


# ---- two visits at once ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_crosses_from_one_visit_to_another(
    house: House, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random acts in two visits of the same clinician: every frame names its own visit only."""
    monkeypatch.setattr("signaling.limits.BURST_MESSAGES", 1e9)
    dice = random.Random(seed)
    pages: dict[tuple[str, str], Page] = {}
    for room, patient in (("morning", "anna"), ("noon", "carla")):
        pages[room, patient] = await house.join(room, patient)
        pages[room, "bruno"] = await house.join(room, "bruno", Role.CLINICIAN)
    strangers = {"morning": "carla", "noon": "anna"}
    heard: list[tuple[str, dict[str, Any]]] = []

    for _ in range(150):
        room, who = dice.choice(list(pages))
        page = pages[room, who]
        other = dice.choice(["anna", "bruno", "carla"])
        match dice.choice(["signal", "signal", "admit", "rejoin", "media", "settle"]):
            case "signal":
                for generation in range(2, 9):
                    payload = {"visit": room}
                    await page.act("offer", to=other, generation=generation, payload=payload)
            case "admit":
                await page.act("admit", participant=other)
            case "rejoin":
                role = Role.CLINICIAN if who == "bruno" else Role.PATIENT
                pages[room, who] = await house.join(room, who, role)
            case "media":
                await page.act("set_media", microphone=dice.random() < 0.5, camera=True)
            case _:
                pass
        heard += [(room, frame) for frame in await pages[room, who].settle()]

    assert any(frame["type"] == "offer" for _, frame in heard)
    for room, frame in heard:
        assert frame.get("payload", {}).get("visit", room) == room
        assert strangers[room] not in json.dumps(frame)


# ---- the seed of a ticket --------------------------------------------------------------


async def join_with_seed(house: House, who: str, seed: RoomSeed) -> dict[str, Any]:
    page = await house.open()
    ticket = house.hub.issue_ticket("visit", who, Role.PATIENT, house.clock.now, seed)
    await page.send("hello", versions=[1], ticket=ticket)
    return await page.receive()


async def test_a_ticket_with_a_seed_spares_the_records_a_question(build: Build) -> None:
    house = await build()

    welcome = await join_with_seed(house, "anna", structs.replace(FRESH, late_minutes=7))

    assert (welcome["late_minutes"], house.records.loads) == (7, 0)
    assert house.records.open_rooms == {"visit"}


async def test_a_seed_that_may_be_old_is_not_believed(build: Build) -> None:
    house = await build()
    house.records.seeds["visit"] = structs.replace(FRESH, outcome="completed")

    await house.hub.publish("visit", Closed(outcome="completed"))
    frame = await join_with_seed(house, "anna", FRESH)

    assert (frame["type"], frame["reason"]) == ("bye", "closed")
    assert house.records.loads >= 1


@pytest.mark.parametrize("make_log", ["local"], indirect=True)
async def test_a_room_that_was_open_is_read_again(build: Build) -> None:
    house = await build()
    await join_with_seed(house, "anna", FRESH)
    await house.pages[-1].act("leave")
    await house.pages[-1].end()
    house.records.seeds["visit"] = structs.replace(FRESH, late_minutes=5)

    welcome = await join_with_seed(house, "anna", FRESH)

    assert (welcome["late_minutes"], house.records.loads) == (5, 1)
