"""A real coturn with our own configuration: forbidden peers, credentials, quota; the call that is
relayed only; and before the admission neither side learns an address of the other. Rooted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, async_playwright

from tests.browser.actors import Demo, Person, open_person, open_waiting_visit, running_demo
from tests.chaos.hosts import Host, Network
from tests.chaos.relaycases import ATTEMPTS, FORMER_SECRET
from tests.chaos.turnhost import (
    RELAY_V4,
    SECRET,
    TURN_PORT,
    URLS,
    VALKEY_URL,
    accanto,
    environment,
    give_public_addresses,
    issue_certificate,
    running_coturn,
    running_valkey,
)

PORT = 8481
ROOT = Path(__file__).parents[2]
REALM = "accanto.test"
STATIC = {"TURN_REALM": REALM, "TURN_SECRET": SECRET}
Keep = Callable[[str | bytes], None]
SEATS = {"TURN_REALM": REALM, "TURN_VALKEY_URL": VALKEY_URL}


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(PORT) as network:
        give_public_addresses(network.server)
        yield network


def count_cases(
    host: Host, settings: Mapping[str, str], credential: Sequence[str] = ()
) -> dict[str, int]:
    """Allocations by case; with a credential, of that one alone."""
    done = subprocess.run(
        [*host.inside, *environment(settings), sys.executable, "-m", "tests.chaos.relaycases",
         RELAY_V4, str(TURN_PORT), *credential],
        cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    for case, allocations in found.items():
        print(f"  {case:<40} {allocations} allocations")
    return found


def test_peers_by_every_way(network: Network, tmp_path: Path) -> None:
    certificate = issue_certificate(tmp_path)
    settings = STATIC | {"TURN_URLS": json.dumps(list(URLS.values()))}
    with running_coturn(network.server, tmp_path, settings, certificate):
        trusting = ("env", f"SSL_CERT_FILE={certificate.authority}")
        inside = network.patient.inside
        network.patient.inside = (*inside, *trusting)
        said = accanto(network.patient, settings, "check", "--data", str(tmp_path))
        network.patient.inside = inside

    for url in URLS.values():
        line = next(line for line in said.splitlines() if url in line)
        print(f"  {line.strip()}")
        assert line.strip().startswith("ok"), line
        assert "relays, refuses forged credentials" in line
        assert "denies 41 of 41 forbidden peers, allows 4 of 4 public ones" in line


def test_a_server_as_it_comes_is_found_out(network: Network, tmp_path: Path) -> None:
    settings = STATIC | {"TURN_URLS": json.dumps([URLS["udp"]])}
    process = subprocess.Popen(
        [*network.server.inside, "turnserver", "-n", f"--listening-ip={RELAY_V4}",
         f"--relay-ip={RELAY_V4}", "--use-auth-secret", f"--static-auth-secret={SECRET}",
         f"--realm={REALM}", "--no-tls", "--no-dtls", "--no-cli", "--log-file=/dev/null",
         f"--pidfile={tmp_path / 'turn.pid'}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said = ""
        while f"{URLS['udp']} cannot be reached" in said or not said:
            said = accanto(network.server, settings, "check", "--data", str(tmp_path))
    finally:
        process.terminate()
        process.wait()

    line = next(line for line in said.splitlines() if URLS["udp"] in line)
    print(f"  {line.strip()}")
    assert line.strip().startswith("FAILS")
    assert "169.254.169.254" in line


@pytest.mark.parametrize("former", ["", FORMER_SECRET])
def test_credentials_of_one_secret(network: Network, tmp_path: Path, former: str) -> None:
    settings = STATIC | {"TURN_FORMER_SECRET": former}
    with running_coturn(network.server, tmp_path, settings):
        found = count_cases(network.server, settings)

    assert found == {
        "fresh": 1, "expired": 0, "forged": 0, "of the former secret": 1 if former else 0,
    }  # fmt: skip


def test_credentials_of_seats(network: Network, tmp_path: Path) -> None:
    with running_valkey(network.server, tmp_path), running_coturn(network.server, tmp_path, SEATS):
        found = count_cases(network.server, SEATS)

    quota = found.pop(f"one credential, {ATTEMPTS} attempts")
    good = {"fresh", "the newer one", "of the other seat", "fresh again"}
    assert {case for case, allocations in found.items() if allocations} == good
    assert 1 <= quota <= 4


# ---- calls -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A demo, two people on hosts of their own, and what their pages said and were told."""

    demo: Demo
    data_dir: Path
    patient: Person
    clinician: Person
    candidates: list[str]
    """Every one that a page sent, SDP included."""
    credentials: list[tuple[str, str]]
    """Of the patient, one for each ``welcome``."""

    @property
    def people(self) -> tuple[Person, Person]:
        return self.patient, self.clinician


@asynccontextmanager
async def open_call(
    network: Network, folder: Path, settings: Mapping[str, str]
) -> AsyncIterator[Call]:
    data_dir = folder / "data"
    async with (
        async_playwright() as playwright,
        running_demo(data_dir, port=PORT, inside=network.server.inside, settings=settings) as demo,
    ):
        patient = await open_person(
            playwright, folder, colour="red", tone_hz=440, inside=network.patient.inside
        )
        clinician = await open_person(
            playwright, folder, colour="blue", tone_hz=1000, inside=network.clinician.inside
        )
        call = Call(demo, data_dir, patient, clinician, [], [])
        for person in call.people:
            _listen(person.page, "framesent", partial(_keep_candidates, call.candidates))
        _listen(patient.page, "framereceived", partial(_keep_credentials, call.credentials))
        try:
            yield call
        finally:
            for person in call.people:
                await person.close()


def _listen(page: Page, event: Literal["framesent", "framereceived"], keep: Keep) -> None:
    page.on("websocket", lambda socket: socket.on(event, keep))


def _keep_candidates(found: list[str], frame: str | bytes) -> None:
    text = frame if isinstance(frame, str) else frame.decode()
    if json.loads(text).get("type") in {"offer", "answer", "candidates"}:
        found.extend(text.split("candidate:")[1:])


def _keep_credentials(found: list[tuple[str, str]], frame: str | bytes) -> None:
    message = json.loads(frame)
    if message.get("type") == "welcome":
        server = message["ice_servers"][-1]
        found.append((server["username"], server["credential"]))


@pytest.mark.timeout(400)
async def test_relay_only_until_admitted_and_a_call_without_a_direct_way(
    network: Network, tmp_path: Path
) -> None:
    network.patient.lose(network.clinician)
    network.clinician.lose(network.patient)
    settings = STATIC | {"TURN_URLS": json.dumps([URLS["udp"]])}
    with running_coturn(network.server, tmp_path, settings):
        async with open_call(network, tmp_path, settings) as call:
            await open_waiting_visit(call.demo, *call.people)
            await call.clinician.page.wait_for_timeout(3000)

            assert call.candidates
            assert all("typ relay" in candidate for candidate in call.candidates)

            await call.clinician("admit").click()
            for person in call.people:
                await person.sees_moving_picture()
            await call.clinician.page.wait_for_timeout(3000)

    assert any("typ host" in candidate for candidate in call.candidates)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", ["udp", "tcp"])
async def test_an_organisation_whose_calls_are_always_relayed(
    network: Network, tmp_path: Path, way: str
) -> None:
    settings = STATIC | {"TURN_URLS": json.dumps([URLS[way]])}
    with running_coturn(network.server, tmp_path, settings):
        async with open_call(network, tmp_path, settings) as call:
            data = ("--data", str(call.data_dir))
            listed = accanto(network.server, settings, "appointments", "--json", *data)
            code = json.loads(listed.splitlines()[0])["organisation"]
            change = ("organisation", "set", code, "--relay-only")
            said = accanto(network.server, settings, *change, *data)
            assert f"Changed the organisation {code}" in said

            await open_waiting_visit(call.demo, *call.people)
            await call.clinician("admit").click()
            for person in call.people:
                await person.sees_moving_picture()
            heard = [await person.tone() for person in call.people]
            await call.clinician.page.wait_for_timeout(3000)

    print(f"  relayed over {way}: {len(call.candidates)} candidates, sound of {heard} Hz")
    assert all(heard)
    assert call.candidates
    # Neither a host or reflexive candidate, nor the own address beside the relayed one.
    assert all("typ relay raddr 0.0.0.0" in candidate for candidate in call.candidates)


@pytest.mark.timeout(400)
async def test_a_revoked_link_loses_the_relay(network: Network, tmp_path: Path) -> None:
    settings = SEATS | {"TURN_URLS": json.dumps([URLS["udp"]])}
    host = network.server
    with running_valkey(host, tmp_path), running_coturn(host, tmp_path, settings):
        async with open_call(network, tmp_path, settings) as call:
            await open_waiting_visit(call.demo, *call.people)
            credential = call.credentials[-1]
            before = count_cases(host, settings, credential)

            desk = call.clinician
            await desk.page.context.clear_cookies()
            await desk.log_in(call.demo, "desk")
            visit_id = credential[0].partition(":")[2].partition(".")[0]
            await desk.page.goto(f"{call.demo['base_url']}/desk/visits/{visit_id}")
            await desk("desk-revoke-open").click()
            await desk("desk-revoke").click()
            await desk.page.wait_for_url("**#code")
            after = count_cases(host, settings, credential)

    assert (before, after) == ({"given": 1}, {"given": 0})
