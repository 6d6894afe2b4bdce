"""A visit that was really recorded, handed out to a certificate: opened by openssl, played and
sought in by ffprobe, neither of which made it."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.conftest import Cast
from tests.test_cms import make_certificate, make_key, open_by_openssl
from tests.test_recording_keeper import Scene, scene, site, template
from tests.visitors import OWN_PAGE

__all__ = ["scene", "site", "template"]

SECONDS: Final = 9.0
WHOLE_PICTURE_SECONDS: Final = 1.0
"""The people of the test send one so often."""
PICTURE_SECONDS: Final = 0.04
WANTED: Final = 20
LENGTH, INDEX, CLUSTER = b"\x44\x89", b"\x1c\x53\xbb\x6b", b"\x1f\x43\xb6\x75"


@pytest.fixture(autouse=True)
def ffprobe() -> str:
    found = shutil.which("ffprobe")
    if found is None:
        pytest.fail("This check needs ffprobe: apt-get install ffmpeg")
    return found


@dataclass(frozen=True, slots=True)
class Probe:
    """``ffprobe`` and a file."""

    program: str
    path: Path

    def ask(self, *options: str) -> dict[str, Any]:
        done = subprocess.run(
            [self.program, "-v", "error", "-of", "json", *options, str(self.path)],
            check=True, capture_output=True,
        )  # fmt: skip
        assert done.stderr == b""
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def pictures(self, start: float) -> list[tuple[float, bool]]:
        """Those that it reads when it is sent there: their times, and whether each is whole."""
        found = self.ask(
            "-select_streams", "v", "-read_intervals", f"{start}%+#{WANTED}",
            "-show_entries", "frame=pts_time,key_frame",
        )  # fmt: skip
        return [(float(one["pts_time"]), one["key_frame"] == 1) for one in found["frames"]]


async def export(scene: Scene, cast: Cast, certificate: bytes) -> bytes:
    clinician = await scene.site.staff(cast.toscana.clinician)
    form = aiohttp.FormData({"purpose": "claim"})
    form.add_field("certificate", certificate, filename="tribunale.cer")
    cookies = "; ".join(f"{name}={value}" for name, value in clinician.cookies.items())
    async with scene.site.session.post(
        f"{scene.site.origin}/recordings/{scene.asked}/export",
        headers={**OWN_PAGE, "Cookie": cookies},
        data=form,
    ) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def test_a_recorded_visit_that_was_handed_out_plays_and_seeks_by_ffprobe(
    scene: Scene, cast: Cast, tmp_path: Path, ffprobe: str
) -> None:
    await scene.agree()
    await scene.send()
    await scene.wait_for_tracks(2)
    await asyncio.sleep(SECONDS)
    await scene.anna.stop(scene.asked)
    _, tracks = await scene.wait_for_store()
    key = make_key("p256")
    certificate = make_certificate(key, until=datetime.now(UTC) + timedelta(days=9))

    sealed = await export(scene, cast, certificate.public_bytes(Encoding.PEM))

    opened = open_by_openssl(tmp_path, key, certificate, sealed)
    with tarfile.open(fileobj=io.BytesIO(opened)) as archive:
        archive.extractall(tmp_path, filter="data")
    for track in tracks:
        path = tmp_path / f"{track.participant}-{track.part}.webm"
        check_file(Probe(ffprobe, path), track.duration_ms / 1000, track.frames, track.packets)


def check_file(probe: Probe, seconds: float, frames: int, packets: int) -> None:
    front = probe.path.read_bytes().partition(CLUSTER)[0]
    assert LENGTH in front
    assert INDEX in front
    found = probe.ask(
        "-count_packets", "-show_entries", "stream=codec_name,nb_read_packets:format=duration"
    )
    assert {one["codec_name"]: int(one["nb_read_packets"]) for one in found["streams"]} == {
        "vp8": frames,
        "opus": packets,
    }
    assert float(found["format"]["duration"]) == pytest.approx(seconds, abs=0.001)
    assert seconds > SECONDS - 1
    for wanted in (seconds / 4, seconds / 2, seconds - 2):
        (first, is_whole), *rest = probe.pictures(wanted)
        assert is_whole
        assert wanted - 2 * WHOLE_PICTURE_SECONDS < first <= wanted + 2 * PICTURE_SECONDS
        assert len(rest) == WANTED - 1
    assert len(probe.pictures(0)) == WANTED
