"""Synthetic patients: processes that come in by a link and are patients to a clinician's page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aioice.ice
import av
import pytest
from sqlalchemy import select

from recordings.botfaces import Reel, make_reel
from recordings.bothost import BotHost
from recordings.botsas import PICTURES, PatientExchange, commitment_of, derive_figures
from recordings.botstage import Stage
from recordings.botvoice import speak
from recordings.botwords import Orders
from recordings.echowords import Endpoint
from recordings.script import Face, Line, Script, Step, StepAct, Trigger
from server.db import Database
from server.keyring import Keyring
from server.models import RecordingTrack, TrackState, Visit, VisitState
from server.services import HUB
from signaling.messages import Closed
from tests.botclinician import PATIENCE_SECONDS, Clinician
from tests.commands import ACCANTO, clean_environment, run_accanto
from tests.conftest import Cast, MakeVisit
from tests.patients import acts_of, link_of, load_visit
from tests.test_recording import allow, ask, text_hash
from tests.visitors import Site, open_site

HERE = Endpoint("127.0.0.1")


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """The records are not what is tested here."""
    return sqlite_template


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


@pytest.fixture
async def site(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring
) -> AsyncIterator[Site]:
    async with open_site(database, database_url, data_dir, media_address="127.0.0.1") as site:
        yield site


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


@pytest.fixture
async def host() -> AsyncIterator[BotHost]:
    host = BotHost(2)
    yield host
    await host.close()


@pytest.fixture
async def clinician(site: Site, cast: Cast, visit: Visit) -> AsyncIterator[Clinician]:
    clinician = Clinician(site, visit, await site.staff(cast.toscana.clinician))
    yield clinician
    await clinician.close()


async def orders_of(
    site: Site, database: Database, keyring: Keyring, visit: Visit, *steps: Step, **script: object
) -> Orders:
    link = await link_of(database, keyring, visit)
    return Orders(
        link=f"{site.origin}/v/{visit.locator}#{link.fragment}",
        birth_date="1948-03-12",
        script=Script(steps=steps, **script),  # type: ignore[arg-type]
        endpoint=HERE,
        address=site.origin,
        seconds=90,
    )


def when_admitted(act: StepAct, after: float = 0, **more: object) -> Step:
    return Step(when=Trigger.ADMITTED, after_seconds=after, act=act, **more)  # type: ignore[arg-type]


async def test_a_patient_comes_in_is_seen_and_heard_and_answers(
    site: Site, database: Database, keyring: Keyring, visit: Visit, host: BotHost,
    clinician: Clinician,
) -> None:  # fmt: skip
    pain = Step(when=Trigger.HEARD, words=("dolore",), act=StepAct.TYPE, text="No, nessuno.")
    hello = when_admitted(StepAct.SAY, text="Buongiorno dottore.")
    orders = await orders_of(
        site, database, keyring, visit, pain, hello, companions="La figlia Carla"
    )
    await host.start("anna", orders)
    await clinician.wait(lambda page: page.told)
    before = dict(clinician.frames)
    clinician.admit()
    await clinician.wait(lambda page: page.sees("video") > 20 and page.sees("audio") > 50)
    clinician.write("Ha dolore al petto?")
    await clinician.wait(lambda page: "No, nessuno." in page.heard and page.figures)
    clinician.verify()
    shown = " ".join(PICTURES[figure] for figure in clinician.figures)
    await clinician.wait(lambda page: shown in page.heard)
    await clinician.wait(lambda page: page.pulses[-1]["sees"])
    clinician.pulse(video=False)
    await clinician.wait(lambda page: page.pulses[-1]["sees"] is None)

    assert before == {}, "nothing is sent before she is let in"
    picture = clinician.frames["video"][-1]
    assert (picture.width, picture.height) == (320, 240)
    person = clinician.room.people["patient"]
    assert (person.microphone, person.camera) == (True, True)
    assert (await load_visit(database, visit)).state is VisitState.IN_VISIT
    assert (await acts_of(database, visit))[:1] == ["link.claimed"]


async def test_a_line_that_dies_and_comes_back_makes_a_new_connection(
    site: Site, database: Database, keyring: Keyring, visit: Visit, host: BotHost,
    clinician: Clinician,
) -> None:  # fmt: skip
    back = Step(when=Trigger.RETURNED, act=StepAct.TYPE, text="Eccomi.")
    steps = (
        when_admitted(StepAct.LEAVE, 1.5), when_admitted(StepAct.COME_BACK, 3), back,
    )  # fmt: skip
    await host.start("anna", await orders_of(site, database, keyring, visit, *steps))
    await clinician.wait(lambda page: page.told)
    clinician.admit()
    await clinician.wait(lambda page: page.room.people["patient"].is_away)
    await clinician.wait(lambda page: "Eccomi." in page.heard)
    frames = clinician.sees("video")
    await clinician.wait(lambda page: page.sees("video") > frames + 20)

    assert clinician.connections == 2
    assert not clinician.room.people["patient"].is_away


async def test_a_restart_of_ice_is_answered_by_a_new_page(
    site: Site, database: Database, keyring: Keyring, visit: Visit, host: BotHost,
    clinician: Clinician,
) -> None:  # fmt: skip
    """aiortc cannot restart: the patient joins afresh, and the other page offers anew."""
    await host.start("anna", await orders_of(site, database, keyring, visit))
    await clinician.wait(lambda page: page.told)
    clinician.admit()
    await clinician.wait(lambda page: page.sees("video") > 10 and page.figures)
    _, hers = clinician.fingerprints()
    clinician.restart()
    await clinician.wait(lambda page: page.connections == 2)
    clinician.figures = ()
    frames = clinician.sees("video")
    await clinician.wait(lambda page: page.sees("video") > frames + 10 and page.figures)

    assert clinician.fingerprints()[1] == hers, "she stays verified"


async def test_one_without_a_camera_on_a_bad_line_says_so_and_is_hardly_heard(
    site: Site, database: Database, keyring: Keyring, visit: Visit, host: BotHost,
    clinician: Clinician,
) -> None:  # fmt: skip
    orders = await orders_of(
        site, database, keyring, visit, has_camera=False, line=Line.BAD, face=Face.COUPLE
    )
    await host.start("anna", orders)
    await clinician.wait(lambda page: page.told)
    clinician.admit()
    await clinician.wait(lambda page: page.lost_packets > 60)

    person = clinician.room.people["patient"]
    assert (person.microphone, person.camera) == (True, False)
    assert clinician.sees("video") == 0
    assert clinician.pulses[-1]["video"] is False


async def test_a_patient_agrees_to_be_recorded_and_stops_it(
    site: Site, database: Database, keyring: Keyring, visit: Visit, cast: Cast, host: BotHost,
    clinician: Clinician,
) -> None:  # fmt: skip
    await allow(database, cast, ["care"])
    steps = (
        Step(when=Trigger.RECORDING_ASKED, act=StepAct.ACCEPT_RECORDING),
        Step(when=Trigger.RECORDING_ON, act=StepAct.TYPE, text="Ci penso."),
        Step(when=Trigger.HEARD, words=("registro",), act=StepAct.STOP_RECORDING),
    )
    await host.start("anna", await orders_of(site, database, keyring, visit, *steps))
    await clinician.wait(lambda page: page.told)
    clinician.admit()
    await clinician.wait(lambda page: page.sees("video"))
    answer = await ask(clinician.visitor, visit, await text_hash(database, visit))
    asked = json.loads(answer.text)["ask"]
    await clinician.wait(lambda page: "Ci penso." in page.heard)
    await wait_for_tracks(database, visit, asked, TrackState.GROWING)
    clinician.write("Sto registrando, ha visto? Registro tutto.")
    await clinician.wait(lambda page: not page.room.recording.ask)
    tracks = await wait_for_tracks(database, visit, asked, TrackState.KEPT)

    assert {track.participant for track in tracks} == {"patient"}
    assert all(track.frames > 0 for track in tracks)


async def wait_for_tracks(
    database: Database, visit: Visit, asked: str, state: TrackState
) -> list[RecordingTrack]:
    query = select(RecordingTrack).where(RecordingTrack.recording_id == asked)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with database.read(visit.organisation_id) as session:
                rows = list(await session.scalars(query.where(RecordingTrack.state == state)))
            if rows:
                return rows
            await asyncio.sleep(0.1)


# ---- the command -----------------------------------------------------------------------


async def test_the_command_lets_a_crowd_come_and_counts(
    site: Site, database: Database, keyring: Keyring, visit: Visit, clinician: Clinician,
    tmp_path: Path,
) -> None:  # fmt: skip
    link = (await orders_of(site, database, keyring, visit)).link
    links = tmp_path / "links"
    links.write_text(f"{link} 12/03/1948\n\n{link[:-1]} 1948-03-12\n")
    process = await asyncio.create_subprocess_exec(
        ACCANTO, "bot", "--link-file", links, "--seconds", "60", "--address", "127.0.0.1",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await clinician.wait(lambda page: page.told)
    clinician.admit()
    await clinician.wait(lambda page: page.sees("video") > 30 and page.sees("audio") > 30)
    await clinician.wait(lambda page: any(pulse["hears"] for pulse in page.pulses))
    await site.app[HUB].publish(visit.id, Closed(outcome="completed"))
    output, _ = await process.communicate()
    figures = json.loads(output)

    assert process.returncode == 0
    assert (figures["patients"], figures["lost"]) == (2, 0)
    assert (figures["joined"], figures["admitted"], figures["legs"]) == (1, 1, 1)
    assert figures["ends"] == {"incomplete": 1, "closed": 1}
    assert min(figures["voice_sent"], figures["pictures_sent"]) > 30
    assert figures["voice_heard"] > 0


def test_the_command_names_the_line_that_is_wrong_and_shows_nothing_of_it(tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.write_text("https://visite.asl.test/v/abc#secret\n")
    done = run_accanto(["bot", "--link-file", links], clean_environment())

    assert done.returncode == 1
    assert "Line 1" in done.stderr
    assert "secret" not in done.stderr


# ---- the verified call -----------------------------------------------------------------


def test_the_figures_are_those_of_the_protocol() -> None:
    nonces = bytes(range(16)), bytes(range(16, 32))

    assert derive_figures("v1s1t0room000001", nonces, (b"\xaa" * 32, b"\xbb" * 32)) == (
        31, 11, 14, 59,
    )  # fmt: skip


def test_the_pictures_of_the_figures_are_those_of_the_pages() -> None:
    source = Path("static/js/emoji.js").read_text(encoding="utf-8")

    assert re.findall(r'\["(\S+)", _\(', source) == list(PICTURES)


@pytest.mark.parametrize(
    "messages",
    [
        [("reveal", "00" * 16)],
        [("commit", "zz" * 32)],
        [("commit", "00" * 32), ("commit", "00" * 32), ("reveal", "00" * 16)],
        [("commit", "00" * 32), ("reveal", "00" * 16)],
        [("other", "")],
    ],
)
def test_an_exchange_that_no_honest_page_makes_has_no_figures(
    messages: list[tuple[str, str]],
) -> None:
    sent: list[dict[str, str]] = []
    exchange = PatientExchange("room", b"a" * 32, b"b" * 32, sent.append)
    exchange.begin()
    nonce = bytes(16)
    commitment = commitment_of("clinician", "room", b"b" * 32, nonce).hex()
    for step, value in messages:
        exchange.receive(step, value)
    exchange.receive("commit", commitment)
    exchange.receive("reveal", nonce.hex())

    assert exchange.figures == ()


# ---- face and voice --------------------------------------------------------------------


def test_the_loops_of_every_face_can_follow_each_other_at_any_frame() -> None:
    reel = make_reel(Face.COUPLE)
    for loop in (reel.idle, reel.talking):
        whole = [number for number, frame in enumerate(loop) if not frame[0] & 1]
        decoder = av.CodecContext.create("vp8", "r")
        pictures = [p for frame in loop for p in decoder.decode(av.Packet(frame))]

        assert whole == [0]
        assert len(pictures) == len(loop)


async def test_words_are_said_one_after_another_and_silence_is_between() -> None:
    stage = Stage(Reel((), ()), b"silence", has_camera=True)
    stage.say((b"1", b"2"))
    stage.say((b"3",))
    said = [stage.sound_at(number) for number in range(200)]

    assert [sound for sound in said if sound != b"silence"] == [b"1", b"2", b"3"]
    assert said.index(b"3") - said.index(b"2") > 1


def test_words_have_a_sound_of_a_fitting_length() -> None:
    short, long = speak("Buongiorno."), speak("Buongiorno dottore, oggi sto molto meglio di ieri.")

    assert 20 < len(short.packets) < len(long.packets)
    assert len(long.packets) < 500
