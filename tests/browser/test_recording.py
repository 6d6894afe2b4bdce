"""A visit recorded from two real pages: the question, the indicator, the end, and what was kept."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import signal
import statistics
from itertools import chain, pairwise
from typing import Any, Final

import av
import psutil
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from tests.browser.actors import PATIENCE_MS, Person, open_call
from tests.browser.stage import Stage, stage
from tests.flashes import find_beeps, find_flashes

__all__ = ["stage"]

LONG_MS: Final = 60_000
LIP_SYNC_SECONDS: Final = 0.08
PACKET_SECONDS: Final = 0.02
ON_THE_WAY: Final = 25
"""Frames at the ends: sent before all have agreed or when the recorder has left, or after the
page has counted."""
ACCOUNT: Final = re.compile(r"recorder of recording \w+ ended: (.+)")
HEARD: Final = re.compile("^(voice|tones)$")

_FLASH_AND_BEEP: Final = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
  const context = canvas.getContext("2d");
  const audio = new AudioContext();
  const out = audio.createMediaStreamDestination();
  const gain = new GainNode(audio, { gain: 0 });
  const tone = new OscillatorNode(audio, { frequency: 1000 });
  tone.connect(gain).connect(out);
  tone.start();
  let count = 0;
  setInterval(() => {
    const isOn = performance.now() % 1000 < 200;
    gain.gain.value = isOn ? 0.5 : 0;
    context.fillStyle = isOn ? "#fff" : `rgb(0 0 ${(count += 1) % 32})`;
    context.fillRect(0, 0, 320, 240);
  }, 20);
  navigator.mediaDevices.getUserMedia = async ({ audio: sound, video }) =>
    new MediaStream([
      ...(sound ? [out.stream.getAudioTracks()[0].clone()] : []),
      ...(video ? canvas.captureStream(25).getVideoTracks() : []),
    ]);
}"""
"""A camera and a microphone that flash and beep together, once a second."""

_COUNT_SENT: Final = """() => {
  window.sent = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    close() {
      const isLeg = this.getTransceivers().every(({ direction }) => direction === "sendonly");
      const end = () => super.close();
      if (!isLeg) return end();
      const isStill = this.getSenders().map((sender) => sender.replaceTrack(null));
      const wait = () => new Promise((resolve) => setTimeout(resolve, 100));
      Promise.all(isStill).then(wait).then(() => this.getStats()).then((reports) => {
        for (const report of reports.values()) {
          if (report.type !== "outbound-rtp") continue;
          window.sent.push({ kind: report.kind, frames: report.framesSent ?? report.packetsSent });
        }
        end();
      });
    }
  };
}"""
"""Notes what the connection to the recorder has sent when it ends: nothing goes out any more, and
the counts are new (for 50 ms Chromium gives the ones of before)."""

_PLAYS: Final = """() => {
  const films = [...document.querySelectorAll("[data-pane] video")];
  return films.length >= 2 && films.every((film) => film.currentTime > 2 && film.videoWidth > 0);
}"""

_LOAD_TRACK: Final = """async (url) => {
  const answer = await fetch(url);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) {
    text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  }
  return btoa(text);
}"""


async def find_barriers(person: Person) -> list[str]:
    found = (await Axe().run(person.page)).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]


async def ask(stage: Stage, purpose: str = "care") -> None:
    """The clinician asks; the patient's question is open."""
    clinician, patient = stage.clinician, stage.patient
    await expect(clinician("recording-open")).to_be_enabled(timeout=PATIENCE_MS)
    await clinician("recording-open").click()
    await clinician("recording-purpose").select_option(purpose)
    assert await find_barriers(clinician) == []
    await clinician("recording-send").click()
    await expect(patient("recording-consent")).to_be_visible(timeout=PATIENCE_MS)


async def expect_state(state: str, *people: Person) -> None:
    for person in people:
        bar = person("recording-bar")
        await expect(bar).to_have_attribute("data-state", state, timeout=LONG_MS)
        if state == "off":
            await expect(bar).to_be_hidden()
        else:
            await expect(bar).to_be_visible()


async def expect_reaching(*people: Person) -> None:
    """Both are recorded, as their own pages know."""
    for person in people:
        bar = person("recording-bar")
        await expect(bar).to_have_attribute("data-state", "on", timeout=LONG_MS)
        await expect(bar).to_have_attribute("data-reaching", "", timeout=LONG_MS)
        words = person("recording-words")
        await expect(words).to_have_text("Registrazione in corso", timeout=LONG_MS)


async def wait_for_new_leg(person: Person, ended: int) -> None:
    """Until so many connections to the recorder have ended, each with a sound and a picture."""
    enough = f"() => window.sent.length >= {2 * ended}"
    await person.page.wait_for_function(enough, timeout=LONG_MS)


async def load_parts(clinician: Person, base_url: str) -> list[dict[str, Any]]:
    """The kept tracks with their files, as a clinician gets them after having said why."""
    page = clinician.page
    link = clinician("recording").locator("a")
    while not await link.count():
        await page.wait_for_timeout(500)
        await page.goto(f"{base_url}/recordings")
    await link.click()
    await page.locator('label[for="view-care"]').click()
    await clinician("begin-view").click()
    await page.wait_for_url("**/player")
    data: dict[str, Any] = await page.evaluate(
        "() => JSON.parse(document.getElementById('page-data').textContent)"
    )
    return [
        track | {"file": base64.b64decode(await page.evaluate(_LOAD_TRACK, track["url"]))}
        for track in data["tracks"]
    ]


async def read_account(stage: Stage) -> dict[str, int]:
    """What became of the frames of both people, as the only recorder of this demo says it."""
    log = stage.folder / "demo.log"
    while not (found := ACCOUNT.search(log.read_text())):
        await asyncio.sleep(0.2)
    words = (word.split("=") for word in found[1].split())
    return {name: int(figure) for name, figure in words}


def find_recorder(stage: Stage) -> int:
    """The recorder process of this demo."""
    children = psutil.Process(stage.demo.process.pid).children(recursive=True)
    [recorder] = [child for child in children if "recordings.recorder" in child.cmdline()]
    return recorder.pid


def check_account(account: dict[str, int], kept: int, sent: list[dict[str, Any]]) -> None:
    """Every frame that reached the recorder is in the files, came outside of consent, or is a
    picture from before the first whole one."""
    frames = account["begun"]
    assert account["kept"] == kept, account
    assert (account["absent"], account["lost"]) == (0, 0), account
    assert account["useless"] <= ON_THE_WAY, account
    assert frames == account["kept"] + account["unwanted"] + account["useless"], account
    assert abs(sum(one["frames"] for one in sent) - frames) <= ON_THE_WAY, (account, sent)
    print(f"\nof {sum(one['frames'] for one in sent)} frames sent: {account}")


def count_frames(file: bytes) -> dict[str, int]:
    """By kind, as they are in the file: nothing is decoded."""
    counts = {"audio": 0, "video": 0}
    with av.open(io.BytesIO(file)) as container:
        for packet in container.demux():
            counts[packet.stream.type] += packet.size > 0
    return counts


def longest_silence(file: bytes) -> float:
    """Between two packets of the sound, in seconds."""
    with av.open(io.BytesIO(file)) as container:
        times = [
            float(packet.pts * packet.time_base)
            for packet in container.demux(audio=0)
            if packet.size
        ]
    return max(after - before for before, after in pairwise(times))


def lip_sync(file: bytes) -> float:
    """How much later than the flash the beep is, in seconds."""
    flashes, beeps = find_flashes(file), find_beeps(file)
    assert min(len(flashes), len(beeps)) >= 3, (flashes, beeps)
    return statistics.median(
        min((beep - flash for beep in beeps), key=abs) for flash in flashes[1:]
    )


def find_colour(file: bytes) -> tuple[int, int]:
    """In the middle of the last picture: Cb and Cr, 128 is grey."""
    with av.open(io.BytesIO(file)) as container:
        *_, last = container.decode(video=0)
    blue, red = (
        bytes(plane)[plane.line_size * plane.height // 2 + plane.width // 2]
        for plane in last.planes[1:]
    )
    return blue, red


@pytest_asyncio.fixture(loop_scope="session")
async def flashing(stage: Stage) -> Stage:
    """The patient's camera and microphone flash and beep."""
    await stage.patient.page.add_init_script(f"({_FLASH_AND_BEEP})()")
    for person in (stage.patient, stage.clinician):
        await person.page.add_init_script(f"({_COUNT_SENT})()")
    return stage


@pytest.mark.timeout(300)
async def test_a_recorded_visit_is_kept_whole_and_in_sync(flashing: Stage) -> None:
    patient, clinician = flashing.patient, flashing.clinician
    await open_call(flashing.demo, patient, clinician)
    await expect_state("off", patient, clinician)

    await ask(flashing)
    await expect_state("asked", patient, clinician)
    await expect(patient.page.locator("#recording-sentence")).to_be_focused()
    assert await find_barriers(patient) == []
    yes, no = (patient(f"recording-{word}") for word in ("accept", "refuse"))
    assert (await yes.bounding_box())["width"] == (await no.bounding_box())["width"]
    for _ in range(3):
        await patient.page.keyboard.press("Escape")
    await expect(patient("recording-consent")).to_be_visible()
    await yes.click()

    await expect_state("on", patient, clinician)
    await expect_reaching(patient, clinician)
    for person in (patient, clinician):
        await expect(person("recording-bar")).to_have_attribute("data-notice", HEARD)
        await expect(person("recording-alert")).to_contain_text("viene registrata")
        assert await find_barriers(person) == []
    await patient.page.wait_for_timeout(8000)
    await patient("recording-stop").click()
    await expect_state("off", patient, clinician)
    await patient.sees_moving_picture()

    sent = {
        name: {one["kind"]: one for one in await person.page.evaluate("window.sent")}
        for name, person in (("patient", patient), ("clinician", clinician))
    }
    parts = await load_parts(clinician, flashing.demo["base_url"])
    tracks = {part["participant"]: part["file"] for part in parts}
    assert tracks.keys() == sent.keys()
    kept = 0
    for name, file in tracks.items():
        counts = count_frames(file)
        kept += sum(counts.values())
        for kind, count in counts.items():
            assert abs(sent[name][kind]["frames"] - count) <= ON_THE_WAY, (name, sent, counts)
        assert longest_silence(file) < 2 * PACKET_SECONDS
    check_account(await read_account(flashing), kept, list(chain(*map(dict.values, sent.values()))))
    assert abs(lip_sync(tracks["patient"])) <= LIP_SYNC_SECONDS
    blue, red = find_colour(tracks["clinician"])
    assert blue > 200 > 128 > red

    await clinician("play").click()
    await clinician.page.wait_for_function(_PLAYS, timeout=PATIENCE_MS)
    await expect(clinician("player-problem")).to_be_hidden()
    await clinician.page.screenshot(path=flashing.folder / "player.png")
    assert patient.faults + clinician.faults == []


@pytest.mark.timeout(240)
async def test_a_no_records_nothing_and_a_new_person_makes_it_pause(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)
    await ask(stage)
    await patient("recording-refuse").click()
    await expect_state("off", patient, clinician)
    await expect(patient("recording-consent")).to_be_hidden()
    await expect(clinician("recording-alert")).to_contain_text("non viene registrata")

    await ask(stage, "teaching")
    await patient("recording-accept").click()
    await expect_state("on", patient, clinician)
    await expect_reaching(patient, clinician)

    await patient("leave").click()
    await patient.page.locator('[data-hook="left"] [data-hook="rejoin"]').click()
    await expect_state("paused", clinician)
    await expect(patient("recording-consent")).to_be_visible(timeout=PATIENCE_MS)
    await patient("recording-accept").click()
    await expect_state("on", patient, clinician)

    await patient.page.reload()
    await expect_reaching(patient, clinician)
    await clinician("recording-stop").click()
    await expect_state("off", patient, clinician)
    assert patient.faults + clinician.faults == []


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_killed_recorder_and_a_new_network_cost_a_gap(flashing: Stage) -> None:
    patient, clinician = flashing.patient, flashing.clinician
    await open_call(flashing.demo, patient, clinician)
    await ask(flashing)
    await patient("recording-accept").click()
    await expect_reaching(patient, clinician)
    await patient.page.wait_for_timeout(6000)

    os.kill(find_recorder(flashing), signal.SIGKILL)
    await wait_for_new_leg(patient, 1)
    await patient.sees_moving_picture()
    await expect_reaching(patient, clinician)
    await patient.page.wait_for_timeout(6000)

    await patient.page.evaluate("() => void dispatchEvent(new Event('online'))")
    await wait_for_new_leg(patient, 2)
    await expect_reaching(patient, clinician)
    await patient.page.wait_for_timeout(6000)
    await clinician("recording-stop").click()
    await expect_state("off", patient, clinician)

    parts = await load_parts(clinician, flashing.demo["base_url"])
    assert [part["participant"] for part in parts].count("patient") == 3
    for part in parts:
        assert count_frames(part["file"])["video"] > 20
        if part["participant"] == "patient":
            assert abs(lip_sync(part["file"])) <= LIP_SYNC_SECONDS
    assert patient.faults + clinician.faults == []
