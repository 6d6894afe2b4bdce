"""A Firefox with a page, for the checks that two kinds of browser meet. Needs firefox-esr."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.browser.actors import Demo

_DRIVER: Final = Path(__file__).with_name("firefox.mjs")
_METER: Final = Path(__file__).with_name("meter.js")
_NAMES: Final = ("firefox-esr", "firefox")
_LONGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024


def require_firefox() -> str:
    """The path of Firefox.

    :raises RuntimeError: says what to install.
    """
    path = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if path is None or shutil.which("node") is None:
        raise RuntimeError("The chaos checks need the packages firefox-esr and nodejs")
    return path


class FirefoxPage:
    """The part of a page that the meters use."""

    def __init__(self, driver: asyncio.subprocess.Process) -> None:
        self._driver = driver
        self._order = asyncio.Lock()

    async def evaluate(self, expression: str, arg: Any = None) -> Any:
        return await self.obey("evaluate", code=expression, argument=arg)

    async def obey(self, order: str, **fields: Any) -> Any:
        """:raises RuntimeError: the page did not do so; says what it showed."""
        assert self._driver.stdin is not None
        async with self._order:
            self._driver.stdin.write(json.dumps({"do": order, **fields}).encode() + b"\n")
            return await self.answer()

    async def answer(self) -> Any:
        assert self._driver.stdout is not None
        line = await self._driver.stdout.readline()
        answer = json.loads(line) if line else {"problem": "the driver has ended"}
        if "problem" in answer:
            raise RuntimeError(answer["problem"])
        return answer["value"]


class FirefoxPerson:
    """One Firefox with fake camera and microphone; metered from its first page on."""

    def __init__(self, driver: asyncio.subprocess.Process) -> None:
        self._driver = driver
        self.page = FirefoxPage(driver)

    @classmethod
    async def open(cls, inside: Sequence[str]) -> Self:
        """``inside`` as in :func:`tests.browser.actors.start_accanto`."""
        driver = await asyncio.create_subprocess_exec(
            *inside,
            "node",
            str(_DRIVER),
            require_firefox(),
            str(_METER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=_LONGEST_ANSWER_BYTES,
        )
        person = cls(driver)
        await person.page.answer()
        return person

    async def check_in(self, demo: Demo) -> None:
        """From the link to the waiting room."""
        await self.page.obey(
            "check_in", url=demo["patient_url"], birth_date=demo["patient_birth_date"]
        )

    async def open_visit_and_admit(self, demo: Demo) -> None:
        """As the clinician, of who waits."""
        await self.page.obey(
            "open_visit",
            url=demo["base_url"] + "/login",
            username=demo["clinician_username"],
            password=demo["clinician_password"],
        )

    async def close(self) -> None:
        await self.page.obey("close")
        await self._driver.wait()
