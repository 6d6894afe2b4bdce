"""What breaks inside a call, and how it heals: one dead direction, a lost device, a second tab, a
draft that the server never saw. Nobody clicks unless the page asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.browser.actors import PATIENCE_MS, Person, open_call, start_accanto, stop
from tests.browser.stage import Stage, stage

__all__ = ["stage"]

LONG_MS: Final = 60_000
DRAFT: Final = "Scritto mentre il server non c'era: pressione 130/80."

_COLLECT: Final = """() => {
  const Native = window.RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = class extends Native {
    constructor(configuration) {
      super(configuration);
      window.connections.push(this);
    }
  };
}"""

_LOSE_TRACK: Final = """(kind) => {
  const senders = window.connections.at(-1).getSenders();
  const sender = senders.find(({ track }) => track?.kind === kind);
  window.robbed = sender;
  return sender.replaceTrack(null);
}"""

_LOSE_DIRECTION: Final = """() => {
  const [sound] = window.connections.at(-1).getTransceivers();
  sound.stop();
  return window.connections.length;
}"""

_UNPLUG: Final = """(kind) => {
  const { mediaDevices } = navigator;
  const native = mediaDevices.getUserMedia;
  mediaDevices.getUserMedia = async (wanted) => {
    if (wanted[kind]) throw new DOMException("unplugged", "NotFoundError");
    return native.call(mediaDevices, wanted);
  };
  window.plugBack = () => {
    mediaDevices.getUserMedia = native;
    mediaDevices.dispatchEvent(new Event("devicechange"));
  };
  const senders = window.connections.at(-1).getSenders();
  const sender = senders.find(({ track }) => track?.kind === kind);
  sender.track.stop();
  sender.track.dispatchEvent(new Event("ended"));
}"""

_TAKE_MICROPHONE: Final = """() => {
  const { mediaDevices } = navigator;
  const native = mediaDevices.getUserMedia;
  mediaDevices.getUserMedia = async () => {
    throw new DOMException("a telephone call", "NotAllowedError");
  };
  window.giveBack = () => {
    mediaDevices.getUserMedia = native;
  };
  const senders = window.connections.at(-1).getSenders();
  const sender = senders.find(({ track }) => track?.kind === "audio");
  Object.defineProperty(sender.track, "muted", { value: true });
  sender.track.dispatchEvent(new Event("mute"));
}"""

_KEPT: Final = """async () => {
  const open = indexedDB.open("accanto-drafts", 1);
  await new Promise((resolve) => (open.onsuccess = open.onerror = resolve));
  if (![...open.result.objectStoreNames].includes("drafts")) return [];
  const all = open.result.transaction("drafts").objectStore("drafts").getAll();
  await new Promise((resolve) => (all.onsuccess = resolve));
  open.result.close();
  return all.result.map(({ key, sealed }) => ({
    isExtractable: key.extractable,
    text: new TextDecoder().decode(sealed),
  }));
}"""


@asynccontextmanager
async def watched_call(stage: Stage) -> AsyncIterator[tuple[Person, Person]]:
    """A call whose pages keep their peer connections where the test finds them."""
    patient, clinician = stage.patient, stage.clinician
    for person in (patient, clinician):
        await person.page.add_init_script(f"({_COLLECT})()")
    await open_call(stage.demo, patient, clinician)
    yield patient, clinician


async def wait_for_tone(person: Person, hertz: int) -> None:
    """Wait until this tone is what the person hears."""
    for _ in range(20):
        if abs(await person.tone() - hertz) < 60:
            return
    raise AssertionError(f"{hertz} Hz are not heard")


async def wait_for_drafts(person: Person, count: int) -> None:
    await person.page.wait_for_function(
        f"(count) => ({_KEPT})().then((kept) => kept.length === count)", arg=count
    )


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_sender_that_lost_its_track_gets_it_back(stage: Stage) -> None:
    async with watched_call(stage) as (patient, clinician):
        for kind in ("audio", "video"):
            await patient.page.evaluate(_LOSE_TRACK, kind)
            await patient.page.wait_for_function("() => window.robbed.track !== null")

        await clinician.sees_moving_picture()
        await wait_for_tone(clinician, 440)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_dead_direction_is_said_in_words_and_gets_a_new_connection(stage: Stage) -> None:
    async with watched_call(stage) as (patient, clinician):
        before = await clinician.page.evaluate(_LOSE_DIRECTION)

        words = patient.page.locator('[data-hook="peer-state"]')
        await expect(words).to_contain_text("Non sentiamo", timeout=PATIENCE_MS)
        for person in (patient, clinician):
            await person.page.wait_for_function(
                "(before) => window.connections.length > before", arg=before, timeout=LONG_MS
            )
        await expect(words).to_have_text("", timeout=LONG_MS)
        await wait_for_tone(patient, 1000)
        await wait_for_tone(clinician, 440)
        for person in (patient, clinician):
            await person.sees_moving_picture()


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_unplugged_camera_leaves_the_voice_and_comes_back(stage: Stage) -> None:
    async with watched_call(stage) as (patient, clinician):
        await patient.page.evaluate(_UNPLUG, "video")

        problem = patient.page.locator('[data-hook="device-problem"]')
        await expect(problem).to_contain_text("Non troviamo la telecamera", timeout=PATIENCE_MS)
        await expect(clinician.page.locator('[data-hook="peer-state"]')).to_contain_text(
            "ha spento la telecamera", timeout=PATIENCE_MS
        )
        await wait_for_tone(clinician, 440)

        await patient.page.evaluate("window.plugBack()")
        await expect(problem).to_be_hidden(timeout=PATIENCE_MS)
        await clinician.sees_moving_picture()


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_microphone_that_a_telephone_call_took_is_back_with_one_touch(stage: Stage) -> None:
    async with watched_call(stage) as (patient, clinician):
        await patient.page.evaluate(_TAKE_MICROPHONE)

        button = patient.page.locator('[data-hook="sound-resume"]')
        await expect(button).to_be_visible(timeout=PATIENCE_MS)
        await expect(button).to_have_text("Tocchi qui per riprendere l'audio")
        await expect(clinician.page.locator('[data-hook="peer-state"]')).to_contain_text(
            "ha spento il microfono", timeout=PATIENCE_MS
        )

        await patient.page.evaluate("window.giveBack()")
        await button.click()
        await expect(button).to_be_hidden(timeout=PATIENCE_MS)
        await wait_for_tone(clinician, 440)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_the_newest_tab_wins_and_the_older_one_can_take_it_back(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)
    newer = Person(patient.own, await patient.page.context.new_page(), [])
    await newer.page.goto(patient.page.url)

    await newer.sees_moving_picture()
    replaced = patient.page.locator('[data-hook="replaced"]')
    await expect(replaced).to_be_visible(timeout=PATIENCE_MS)
    await clinician.sees_moving_picture()

    await replaced.get_by_role("button", name="Continua qui").click()
    await patient.sees_moving_picture()
    await expect(newer.page.locator('[data-hook="replaced"]')).to_be_visible(timeout=PATIENCE_MS)
    await clinician.sees_moving_picture()


@pytest.mark.timeout(300)
async def test_a_draft_outlives_its_page_sealed_and_is_saved_on_return(stage: Stage) -> None:
    clinician = stage.clinician
    await open_call(stage.demo, stage.patient, clinician)
    visit_url = clinician.page.url

    stage.demo.process.kill()
    await stage.demo.process.wait()
    await clinician("note-editor").fill(DRAFT)
    await expect(clinician("note-status")).to_contain_text("interrotta", timeout=PATIENCE_MS)
    kept = await clinician.page.evaluate(_KEPT)
    assert [draft["isExtractable"] for draft in kept] == [False]
    assert "pressione" not in kept[0]["text"]
    await clinician.page.close(run_before_unload=False)

    port = str(urlsplit(stage.demo["base_url"]).port)
    data = str(Path(stage.demo["data_dir"]))
    server, _ = await start_accanto(
        "demo", "--json", "--data", data, "--port", port, log=stage.folder / "demo.log"
    )
    try:
        clinician.page = await clinician.page.context.new_page()
        await clinician.page.goto(visit_url)
        await expect(clinician("note-editor")).to_have_value(DRAFT, timeout=PATIENCE_MS)
        await expect(clinician("note-status")).to_contain_text("Salvato", timeout=PATIENCE_MS)
        await wait_for_drafts(clinician, 0)
    finally:
        assert await stop(server) == 0


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_logging_out_wipes_what_the_browser_kept(stage: Stage) -> None:
    clinician = stage.clinician
    await open_call(stage.demo, stage.patient, clinician)
    await clinician.page.route("**/note", lambda route: route.abort())
    await clinician("note-editor").fill(DRAFT)
    await wait_for_drafts(clinician, 1)

    clinician.page.on("dialog", lambda dialog: dialog.accept())
    await clinician.page.get_by_role("button", name="Esci", exact=True).first.click()
    await expect(clinician("login-username")).to_be_visible(timeout=PATIENCE_MS)

    assert await clinician.page.evaluate(_KEPT) == []
