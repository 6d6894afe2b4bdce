"""Recordings for the tests: their rows, and tracks in the store as a recorder leaves them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction

import av
from PIL import Image, ImageDraw

from recordings.store import SealedStore
from server.db import Database
from server.keyring import Keyring
from server.models import (
    Recording,
    RecordingPurpose,
    RecordingState,
    RecordingTrack,
    TrackState,
    Visit,
    new_id,
)
from server.sealed import track_place

SEATS = ("clinician", "patient")
_RATE, _SAMPLES, _FRAMES_PER_SECOND = 48_000, 960, 10


def make_film(
    seconds: float,
    *,
    colour: str = "#1a6",
    size: tuple[int, int] = (160, 120),
    bit_rate: int = 0,
) -> bytes:
    """A WebM of VP8 and Opus with an index: the seconds as a bar that grows, and silence. With a
    bit rate there is noise instead, so that the picture has that rate."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        picture = container.add_stream("libvpx", rate=_FRAMES_PER_SECOND)
        picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
        picture.options = {"deadline": "realtime", "cpu-used": "8"}
        picture.bit_rate = bit_rate or 100_000
        picture.gop_size = 5 * _FRAMES_PER_SECOND
        sound = container.add_stream("libopus", rate=_RATE, layout="mono")
        for number in range(int(seconds * _FRAMES_PER_SECOND)):
            image = Image.new("RGB", size, colour)
            if bit_rate:
                image = Image.effect_noise(size, 12).convert("RGB")
            width = size[0] * number / (seconds * _FRAMES_PER_SECOND)
            ImageDraw.Draw(image).rectangle((0, size[1] // 2, width, size[1]), fill="#fff")
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = number, Fraction(1, _FRAMES_PER_SECOND)
            container.mux(picture.encode(frame))
            for part in range(_RATE // _SAMPLES // _FRAMES_PER_SECOND):
                silence = av.AudioFrame(format="s16", layout="mono", samples=_SAMPLES)
                silence.planes[0].update(bytes(2 * _SAMPLES))
                silence.sample_rate = _RATE
                silence.pts = (number * 5 + part) * _SAMPLES
                silence.time_base = Fraction(1, _RATE)
                container.mux(sound.encode(silence))
        container.mux(picture.encode())
        container.mux(sound.encode())
    return file.getvalue()


async def add_recording(
    database: Database,
    keyring: Keyring,
    store: SealedStore,
    visit: Visit,
    contents: Mapping[str, bytes],
    *,
    at: datetime,
    purpose: RecordingPurpose = RecordingPurpose.CARE,
    state: TrackState = TrackState.KEPT,
    duration_ms: int = 10_000,
) -> Recording:
    """One that is over; ``contents`` by seat, each one part, the clinician's 2 s later."""
    recording = make_recording(visit, at, purpose)
    async with database.begin(visit.organisation_id) as session:
        session.add(recording)
        await session.flush()
        for seat, content in contents.items():
            track = make_track(recording, seat)
            track.duration_ms, track.state = duration_ms, state
            place = track_place(recording, track.id, "content", 1)
            key_id, key = await keyring.data_key(session, place)
            sha256 = await asyncio.to_thread(
                store.write, track.id, key_id, key, place.context(key_id), [content]
            )
            track.sealed_sha256 = sha256
            session.add(track)
    return recording


def make_recording(
    visit: Visit, at: datetime, purpose: RecordingPurpose = RecordingPurpose.CARE
) -> Recording:
    """A row of one that was asked for then, and is over."""
    return Recording(
        id=new_id(),
        organisation_id=visit.organisation_id,
        visit_id=visit.id,
        purpose=purpose,
        text_version="1",
        text_hash="0" * 64,
        asked_by=visit.appointment.clinician_id,
        asked_at=at,
        state=RecordingState.ENDED,
        began_at=at + timedelta(seconds=9),
        ended_at=at + timedelta(minutes=1),
        end_reason="stopped",
        is_copied=True,
    )


def make_track(recording: Recording, seat: str) -> RecordingTrack:
    """A row of its first part."""
    return RecordingTrack(
        id=new_id(),
        organisation_id=recording.organisation_id,
        recording_id=recording.id,
        participant=seat,
        part=0,
        offset_ms=2_000 if seat == "clinician" else 0,
        duration_ms=10_000,
        gaps=[],
        state=TrackState.KEPT,
    )
