"""Synthetic patients: processes that come in by a link and are patients to a clinician's page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aioice.ice
import pytest

from recordings.bothost import BotHost
from recordings.botwords import Orders
from recordings.echowords import Endpoint
from recordings.script import Script, Step, StepAct, Trigger
from server.db import Database
from server.keyring import Keyring
from server.models import Visit, VisitState
from tests.botclinician import Clinician
from tests.conftest import Cast, MakeVisit
from tests.patients import acts_of, link_of, load_visit
from tests.visitors import Site, site

__all__ = ["site"]

HERE = Endpoint("127.0.0.1")


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """The records are not what is tested here."""
    return sqlite_template


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


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

    assert before == {}, "nothing is sent before she is let in"
    picture = clinician.frames["video"][-1]
    assert (picture.width, picture.height) == (320, 240)
    person = clinician.room.people["patient"]
    assert (person.microphone, person.camera) == (True, True)
    assert (await load_visit(database, visit)).state is VisitState.IN_VISIT
    assert (await acts_of(database, visit))[:1] == ["link.claimed"]
