"""A real coturn: the call works where there is no direct way, and before the admission neither
side learns an address of the other."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, WebSocket, async_playwright

from tests.browser.actors import open_person, open_waiting_visit, running_demo
from tests.chaos.hosts import Host, Network

PORT = 8481
TURN_PORT = 3478
SECRET = "a-secret-of-this-test-only"


@contextmanager
def running_coturn(host: Host, folder: Path) -> Iterator[None]:
    if shutil.which("turnserver") is None:
        raise RuntimeError("The chaos checks need the package coturn")
    process = subprocess.Popen(
        [
            *host.inside, "turnserver", "-n", f"--listening-ip={host.address}",
            f"--relay-ip={host.address}", f"--listening-port={TURN_PORT}", "--use-auth-secret",
            f"--static-auth-secret={SECRET}", "--realm=accanto.test", "--no-tls", "--no-dtls",
            "--no-cli", f"--log-file={folder / 'turn.log'}", f"--pidfile={folder / 'turn.pid'}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def collect_candidates(page: Page) -> list[str]:
    """Every ICE candidate and SDP line that the page sends from now on."""
    found: list[str] = []

    def keep(frame: str | bytes) -> None:
        text = frame if isinstance(frame, str) else frame.decode()
        if json.loads(text).get("type") in {"offer", "answer", "candidates"}:
            found.extend(part for part in text.split("candidate:")[1:])

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", keep)

    page.on("websocket", listen)
    return found


@pytest.mark.timeout(240)
async def test_relay_only_until_admitted_and_a_call_without_a_direct_way(tmp_path: Path) -> None:
    with Network(PORT) as network, running_coturn(network.server, tmp_path):
        network.patient.lose(network.clinician)
        network.clinician.lose(network.patient)
        settings = {
            "TURN_URLS": json.dumps([f"turn:{network.server.address}:{TURN_PORT}?transport=udp"]),
            "TURN_SECRET": SECRET,
        }
        async with (
            async_playwright() as playwright,
            running_demo(
                tmp_path / "data", port=PORT, inside=network.server.inside, settings=settings
            ) as demo,
        ):
            patient = await open_person(
                playwright, tmp_path, colour="red", tone_hz=440, inside=network.patient.inside
            )
            clinician = await open_person(
                playwright, tmp_path, colour="blue", tone_hz=1000, inside=network.clinician.inside
            )
            sent = [collect_candidates(person.page) for person in (patient, clinician)]
            await open_waiting_visit(demo, patient, clinician)
            await clinician.page.wait_for_timeout(3000)

            before = [candidate for candidates in sent for candidate in candidates]
            assert before
            assert all("typ relay" in candidate for candidate in before)

            await clinician("admit").click()
            for person in (patient, clinician):
                await person.sees_moving_picture()
            for person in (patient, clinician):
                await person.close()
