"""Recordings are seen by the clinician of the visit alone, with a purpose, piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import os
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import av
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from server.audit import Act
from server.db import Database
from server.keyring import Keyring
from server.models import LogEntry, Recording, RecordingPurpose, RecordingTrack, TrackState, Visit
from server.sealed import RECORDINGS_FOLDER
from server.services import KEYRING, RECORDINGS
from tests.bucket import run_s3
from tests.conftest import Cast, MakeVisit
from tests.test_cms import make_certificate, make_key, open_by_openssl, usage
from tests.tracks import SEATS, add_recording, make_film, make_recording, make_track
from tests.visitors import OWN_PAGE, Site, Visitor, open_site, site

__all__ = ["site"]

CONTENT = {seat: os.urandom(200_000 + number) for number, seat in enumerate(SEATS)}


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    headers: Mapping[str, str]
    content: bytes


async def fetch(visitor: Visitor, path: str, **headers: str) -> Got:
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    given = {**headers, "Cookie": cookies}
    async with visitor.session.get(
        visitor.origin + path, headers=given, allow_redirects=False
    ) as answer:
        return Got(answer.status, answer.headers.copy(), await answer.read())


@dataclass(frozen=True, slots=True)
class Shelf:
    """A visit with a recording, and its clinician."""

    site: Site
    visit: Visit
    recording: Recording
    tracks: Mapping[str, RecordingTrack]
    clinician: Visitor
    colleague: Visitor

    @property
    def path(self) -> str:
        return f"/recordings/{self.recording.id}"

    def track_path(self, seat: str = "patient") -> str:
        return f"{self.path}/tracks/{self.tracks[seat].id}"

    async def open(self, purpose: str = "care") -> int:
        """Say why; the pass goes among the cookies of the clinician."""
        answer = await self.clinician.post(f"{self.path}/view", purpose=purpose)
        if "Set-Cookie" in answer.headers:
            name, _, value = answer.headers["Set-Cookie"].split(";")[0].partition("=")
            self.clinician.cookies[name] = value
        return answer.status

    async def entries(self, act: Act) -> list[dict[str, object]]:
        async with self.site.database.read(self.visit.organisation_id) as session:
            texts = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
            found = [json.loads(text) for text in texts]
        return [entry for entry in found if entry["action"] == act]


@pytest.fixture
async def shelf(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> Shelf:
    return await make_shelf(site, cast, make_visit, database, keyring)


async def make_shelf(
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    *,
    purpose: RecordingPurpose = RecordingPurpose.CARE,
    state: TrackState = TrackState.KEPT,
) -> Shelf:
    visit = await make_visit(cast.toscana)
    store = site.app[RECORDINGS]
    recording = await add_recording(
        database, keyring, store, visit, CONTENT,
        at=datetime.now(UTC), purpose=purpose, state=state,
    )  # fmt: skip
    async with database.read(visit.organisation_id) as session:
        rows = select(RecordingTrack).where(RecordingTrack.recording_id == recording.id)
        tracks = {track.participant: track for track in await session.scalars(rows)}
    return Shelf(
        site, visit, recording, tracks,
        await site.staff(cast.toscana.clinician), await site.staff(cast.toscana.colleague),
    )  # fmt: skip


# ---- who sees what -----------------------------------------------------------------------


async def test_only_the_clinician_of_the_visit_finds_a_recording(shelf: Shelf) -> None:
    own, other = await shelf.clinician.get("/recordings"), await shelf.colleague.get("/recordings")

    assert shelf.path in own.text
    assert "Bertolucci" in own.text
    assert "12" in own.text
    assert shelf.path not in other.text
    for path in (shelf.path, f"{shelf.path}/player", shelf.track_path()):
        assert (await shelf.colleague.get(path)).status == 404
    for act in ("view", "export"):
        answer = await shelf.colleague.post(f"{shelf.path}/{act}", purpose="care")
        assert answer.status == 404
    assert await shelf.entries(Act.RECORDING_OPENED) == []


async def test_each_view_is_written_down_with_its_purpose(shelf: Shelf) -> None:
    assert (await fetch(shelf.clinician, shelf.track_path())).status == 409
    assert (await shelf.clinician.get(f"{shelf.path}/player")).location == shelf.path

    for purpose in ("care", "claim"):
        assert await shelf.open(purpose) == 303
    assert (await shelf.clinician.get(f"{shelf.path}/player")).status == 200

    entries = await shelf.entries(Act.RECORDING_OPENED)
    assert [entry["reason"] for entry in entries] == ["care", "claim"]
    assert {entry["visit"] for entry in entries} == {shelf.visit.id}
    assert entries[0]["facts"] == {"recording": shelf.recording.id, "purpose": "care"}


@pytest.mark.parametrize(
    ("recorded", "refused"),
    [
        (RecordingPurpose.CARE, ["teaching", "second_opinion", "", "curiosity"]),
        (RecordingPurpose.SECOND_OPINION, ["teaching"]),
        (RecordingPurpose.TEACHING, ["care", "second_opinion"]),
    ],
)
async def test_a_purpose_nobody_agreed_to_opens_nothing(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring,
    recorded: RecordingPurpose, refused: list[str],
) -> None:  # fmt: skip
    shelf = await make_shelf(site, cast, make_visit, database, keyring, purpose=recorded)

    for purpose in refused:
        assert await shelf.open(purpose) == 400
    assert (await fetch(shelf.clinician, shelf.track_path())).status == 409
    assert await shelf.entries(Act.RECORDING_OPENED) == []
    assert await shelf.open(recorded.value) == 303
    assert (await fetch(shelf.clinician, shelf.track_path())).status == 200


async def test_a_pass_is_good_for_one_recording_one_person_and_some_hours(
    shelf: Shelf, site: Site, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring,
) -> None:  # fmt: skip
    other = await make_shelf(site, cast, make_visit, database, keyring)
    await shelf.open()
    given = shelf.clinician.cookies["recording-view"]
    key = site.app[KEYRING].derive("recording-views")

    def sign(recording_id: str, user_id: str, until: datetime) -> str:
        moment = str(int(until.timestamp()))
        words = f"{recording_id}|{user_id}|{moment}".encode()
        return f"{moment}.{hmac.digest(key, words, hashlib.sha256).hex()}"

    clinician, now = cast.toscana.clinician.id, datetime.now(UTC)
    soon, past = now + timedelta(hours=1), now - timedelta(seconds=1)
    passes = {
        sign(shelf.recording.id, clinician, soon): 200,
        given: 200,
        sign(other.recording.id, clinician, soon): 409,
        sign(shelf.recording.id, cast.toscana.colleague.id, soon): 409,
        sign(shelf.recording.id, clinician, past): 409,
        f"9{given}": 409,
        "": 409,
        ".": 409,
        "x": 409,
        "è.è": 409,
    }

    found = {}
    for text in passes:
        shelf.clinician.cookies["recording-view"] = text
        found[text] = (await fetch(shelf.clinician, shelf.track_path())).status

    assert found == passes


async def test_a_track_of_another_recording_is_not_found(
    shelf: Shelf, site: Site, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring,
) -> None:  # fmt: skip
    other = await make_shelf(site, cast, make_visit, database, keyring)
    await shelf.open()

    path = f"{shelf.path}/tracks/{other.tracks['patient'].id}"

    assert (await fetch(shelf.clinician, path)).status == 404


async def test_a_recording_that_is_not_stored_yet_is_shown_as_such(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    shelf = await make_shelf(site, cast, make_visit, database, keyring, state=TrackState.GROWING)

    assert await shelf.open() == 409
    page = await shelf.clinician.get(shelf.path)
    assert page.status == 200
    assert "begin-view" not in page.text


async def test_the_patient_reads_that_it_was_opened(shelf: Shelf, site: Site) -> None:
    patient = await site.patient(shelf.visit)
    await shelf.open()

    page = await patient.get(f"/v/{shelf.visit.locator}/who-opened")

    assert 'data-what="recording"' in page.text


# ---- playback ----------------------------------------------------------------------------


async def test_ranges_are_those_that_were_asked_for(shelf: Shelf) -> None:
    await shelf.open()
    content, size = CONTENT["patient"], len(CONTENT["patient"])
    chance = random.Random(7)
    spans = [sorted(chance.sample(range(size), 2)) for _ in range(40)]
    asked = {f"bytes={first}-{last}": content[first : last + 1] for first, last in spans} | {
        "bytes=0-": content,
        "bytes=0-8": content[:9],
        f"bytes={size - 9}-": content[-9:],
        "bytes=150000-": content[150_000:],
        "bytes=-1000": content[-1000:],
        f"bytes=-{size + 5}": content,
        f"bytes=5-{size + 5}": content[5:],
    }

    for words, expected in asked.items():
        got = await fetch(shelf.clinician, shelf.track_path(), Range=words)
        assert (got.status, got.content) == (206, expected), words
        first = content.find(expected)
        span = f"bytes {first}-{first + len(expected) - 1}/{size}"
        assert got.headers["Content-Range"] == span
        assert got.headers["Content-Length"] == str(len(expected))


async def test_a_track_is_never_kept_and_runs_nothing(shelf: Shelf) -> None:
    await shelf.open()

    got = await fetch(shelf.clinician, shelf.track_path("clinician"))

    assert (got.status, got.content) == (200, CONTENT["clinician"])
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["Accept-Ranges"] == "bytes"
    assert got.headers["Content-Type"] == "video/webm"
    assert got.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize("words", ["bytes=200000000-", "bytes=5-1", "nonsense"])
async def test_a_range_that_is_not_there_is_refused(shelf: Shelf, words: str) -> None:
    await shelf.open()

    got = await fetch(shelf.clinician, shelf.track_path(), Range=words)

    assert (got.status, got.content) == (416, b"")
    assert got.headers["Content-Range"] == f"bytes */{len(CONTENT['patient'])}"


async def test_a_player_that_goes_away_in_the_middle_leaves_the_server_well(shelf: Shelf) -> None:
    await shelf.open()
    cookies = "; ".join(f"{name}={value}" for name, value in shelf.clinician.cookies.items())
    async with shelf.site.session.get(
        shelf.site.origin + shelf.track_path(), headers={"Cookie": cookies}
    ) as answer:
        await answer.content.read(1000)
        answer.close()

    assert (await fetch(shelf.clinician, shelf.track_path())).content == CONTENT["patient"]


async def test_an_altered_track_is_refused_and_the_alarm_is_in_the_log(
    shelf: Shelf, data_dir: Path
) -> None:
    await shelf.open()
    stored = data_dir / RECORDINGS_FOLDER / shelf.tracks["patient"].id
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)

    assert (await fetch(shelf.clinician, shelf.track_path(), Range="bytes=0-9")).status == 500

    stored.unlink()
    assert (await fetch(shelf.clinician, shelf.track_path())).status == 500
    assert len(await shelf.entries(Act.SEAL_BROKEN)) >= 1


async def test_a_track_that_breaks_in_the_middle_is_cut_off(shelf: Shelf, data_dir: Path) -> None:
    await shelf.open()
    stored = data_dir / RECORDINGS_FOLDER / shelf.tracks["patient"].id
    content = bytearray(stored.read_bytes())
    content[150_000] ^= 1
    stored.write_bytes(content)

    with pytest.raises(aiohttp.ClientPayloadError):
        await fetch(shelf.clinician, shelf.track_path(), Range="bytes=1-")


async def test_the_track_of_one_place_does_not_open_in_another(
    shelf: Shelf, data_dir: Path
) -> None:
    await shelf.open()
    folder = data_dir / RECORDINGS_FOLDER
    one, other = (folder / shelf.tracks[seat].id for seat in SEATS)
    one.write_bytes(other.read_bytes())

    assert (await fetch(shelf.clinician, shelf.track_path(SEATS[0]))).status == 500


# ---- export ------------------------------------------------------------------------------


async def export(shelf: Shelf, certificate: bytes, purpose: str = "claim") -> Got:
    form = aiohttp.FormData({"purpose": purpose})
    form.add_field("certificate", certificate, filename="tribunale.cer")
    cookies = "; ".join(f"{name}={value}" for name, value in shelf.clinician.cookies.items())
    async with shelf.site.session.post(
        f"{shelf.site.origin}{shelf.path}/export",
        headers={**OWN_PAGE, "Cookie": cookies},
        data=form,
    ) as answer:
        return Got(answer.status, answer.headers.copy(), await answer.read())


@pytest.mark.parametrize("kind", ["rsa", "p256"])
async def test_a_copy_is_opened_by_its_recipient_alone(
    shelf: Shelf, tmp_path: Path, kind: str
) -> None:
    key, now = make_key(kind), datetime.now(UTC)
    certificate = make_certificate(key, until=now + timedelta(days=9))

    got = await export(shelf, certificate.public_bytes(Encoding.PEM))

    assert got.status == 200
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["Content-Length"] == str(len(got.content))
    opened = open_by_openssl(tmp_path, key, certificate, got.content)
    with tarfile.open(fileobj=io.BytesIO(opened)) as archive:
        files = {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
    facts = json.loads(files.pop("recording.json"))
    assert files == {f"{seat}-0.webm": content for seat, content in CONTENT.items()}
    assert facts["recording"] == shelf.recording.id
    assert [track["offset_ms"] for track in facts["tracks"]] == [2000, 0]
    (entry,) = await shelf.entries(Act.RECORDING_EXPORTED)
    assert entry["reason"] == "claim"
    assert entry["facts"] == {
        "recording": shelf.recording.id,
        "purpose": "claim",
        "certificate": certificate.fingerprint(SHA256()).hex(),
    }


async def test_a_certificate_that_cannot_receive_is_told_and_nothing_leaves(shelf: Shelf) -> None:
    key, now = make_key("rsa"), datetime.now(UTC)
    old = make_certificate(key, until=now - timedelta(days=1))
    other = make_certificate(
        key, until=now + timedelta(days=1), usage=usage(digital_signature=True)
    )
    for content, word in (
        (b"no certificate", "non è un certificato"),
        (old.public_bytes(Encoding.DER), "è scaduto"),
        (other.public_bytes(Encoding.DER), "non si può cifrare"),
    ):
        got = await export(shelf, content)
        assert got.status == 400
        assert word in got.content.decode()
    assert await shelf.entries(Act.RECORDING_EXPORTED) == []


async def test_a_copy_needs_a_purpose_that_was_agreed_to(shelf: Shelf) -> None:
    certificate = make_certificate(make_key("p256"), until=datetime.now(UTC) + timedelta(days=9))

    got = await export(shelf, certificate.public_bytes(Encoding.PEM), "teaching")

    assert got.status == 400
    assert await shelf.entries(Act.RECORDING_EXPORTED) == []


async def test_what_was_handed_out_plays_and_seeks(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring,
    tmp_path: Path,
) -> None:  # fmt: skip
    """By libavformat, which is what ffprobe and most players use."""
    visit = await make_visit(cast.toscana)
    film = {"patient": await asyncio.to_thread(make_film, 12.0)}
    recording = await add_recording(
        database, keyring, site.app[RECORDINGS], visit, film, at=datetime.now(UTC)
    )
    shelf = Shelf(site, visit, recording, {}, *[await site.staff(cast.toscana.clinician)] * 2)
    key = make_key("p256")
    certificate = make_certificate(key, until=datetime.now(UTC) + timedelta(days=9))

    got = await export(shelf, certificate.public_bytes(Encoding.PEM))

    opened = open_by_openssl(tmp_path, key, certificate, got.content)
    with tarfile.open(fileobj=io.BytesIO(opened)) as archive:
        archive.extract("patient-0.webm", tmp_path, filter="data")
    with av.open(str(tmp_path / "patient-0.webm")) as container:
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(12, abs=0.2)
        assert [stream.codec.name for stream in container.streams] == ["vp8", "opus"]
        container.seek(int(9.7 * av.time_base))
        assert next(container.decode(video=0)).time == pytest.approx(5)
        assert sum(1 for _ in container.decode(video=0)) > 60


# ---- an S3-compatible store --------------------------------------------------------------


async def test_recordings_in_a_bucket_are_played_and_handed_out(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring, cast: Cast,
    make_visit: MakeVisit, tmp_path: Path,
) -> None:  # fmt: skip
    with run_s3() as server:
        bucket = server.make_bucket()
        async with open_site(
            database, database_url, data_dir, has_workers=False,
            store_url=f"s3://{bucket.name}/{bucket.prefix}", store_endpoint=bucket.endpoint,
            store_region=bucket.region, store_access_key=bucket.access_key,
            store_secret_key=bucket.secret_key,
        ) as site:  # fmt: skip
            shelf = await make_shelf(site, cast, make_visit, database, keyring)
            await shelf.open()
            ranges = {f"bytes={at}-{at + 70_000}" for at in (0, 16_383, 100_000)}
            played = {
                words: await fetch(shelf.clinician, shelf.track_path(), Range=words)
                for words in ranges
            }
            key = make_key("p256")
            certificate = make_certificate(key, until=datetime.now(UTC) + timedelta(days=9))
            copy = await export(shelf, certificate.public_bytes(Encoding.PEM))
            names = {track.id for track in shelf.tracks.values()}

        assert not (data_dir / RECORDINGS_FOLDER).exists()
        stored = server.client().list_objects_v2(Bucket=bucket.name)["Contents"]
        assert {each["Key"] for each in stored} == {f"{bucket.prefix}/{name}" for name in names}
    for words, got in played.items():
        start = int(words.removeprefix("bytes=").split("-")[0])
        assert got.content == CONTENT["patient"][start : start + 70_001]
    opened = open_by_openssl(tmp_path, key, certificate, copy.content)
    assert CONTENT["clinician"] in opened


async def test_a_store_that_does_not_answer_is_an_error_that_names_nothing(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring, cast: Cast,
    make_visit: MakeVisit, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with open_site(
        database, database_url, data_dir, has_workers=False, store_url="s3://registrazioni",
        store_endpoint="http://127.0.0.1:9", store_secret_key="segretissimo",
    ) as site:  # fmt: skip
        visit, at = await make_visit(cast.toscana), datetime.now(UTC)
        recording = make_recording(visit, at)
        track = make_track(recording, "patient")
        async with database.begin(visit.organisation_id) as session:
            session.add(recording)
            await session.flush()
            session.add(track)
        shelf = Shelf(
            site, visit, recording, {"patient": track},
            *[await site.staff(cast.toscana.clinician)] * 2,
        )  # fmt: skip
        await shelf.open()

        got = await fetch(shelf.clinician, shelf.track_path())

    assert got.status == 503
    for text in (got.content.decode(), caplog.text):
        assert "segretissimo" not in text
        assert "127.0.0.1:9" not in text
