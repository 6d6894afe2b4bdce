"""The content of the tracks of a recording: one key for each recording, one file for each track."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from recordings.objects import FolderObjects
from recordings.s3 import S3Objects
from recordings.store import SealedStore
from recordings.vault import SealBroken
from server.errors import Unavailable
from server.footprint import note_opened
from server.keyring import Keyring, Place, Shredded
from server.models import Recording, RecordingTrack
from server.settings import Settings

RECORDINGS_FOLDER: Final = Path("store") / "recordings"
"""In the data folder; each file is named by the id of its track."""
TAPE_FOLDER: Final = "recordings-tape"
"""In the data folder; what is recorded until it is in the store (``recordings.tapes``)."""


@dataclass(frozen=True, slots=True)
class OpenTrack:
    """A track that can be read; ``size`` of the content in bytes. ``read(start, size)`` blocks: it
    belongs into a thread, and raises ``SealBroken`` where the file was altered."""

    size: int
    read: Callable[[int, int], Iterator[bytes]]


def open_recordings(settings: Settings) -> SealedStore:
    """The store that the settings name."""
    bucket = settings.bucket
    if bucket:
        return SealedStore(S3Objects(bucket))
    return SealedStore(FolderObjects(settings.data_dir / RECORDINGS_FOLDER))


def recording_owner(recording_id: str) -> str:
    """The owner of the data key of a recording."""
    return f"recording:{recording_id}"


def track_place(recording: Recording, track_id: str, field: str, version: int) -> Place:
    """Where the file of a track stands (``content``, 1), or a piece of its tape (``cluster``)."""
    return Place(
        organisation=recording.organisation_id,
        object_type="recording_track",
        object_id=track_id,
        field=field,
        version=version,
        visit=recording.visit_id,
        key_owner=recording_owner(recording.id),
    )


async def open_track(
    keyring: Keyring,
    session: AsyncSession,
    store: SealedStore,
    recording: Recording,
    track: RecordingTrack,
) -> OpenTrack:
    """What is needed to read a track, of which nothing is opened yet.

    :raises Shredded: its term is over.
    :raises SealBroken: not sealed, of another organisation, or not there; the alarm is told.
    :raises Unavailable: the store does not answer.
    """
    place = track_place(recording, track.id, "content", 1)
    note_opened(place.object_type, place.field)
    try:
        key_id = await asyncio.to_thread(store.read_key_id, track.id)
        key = await keyring.find_data_key(session, recording.organisation_id, key_id)
        size = await asyncio.to_thread(store.count_plain_bytes, track.id)
    except Shredded:
        raise
    except (SealBroken, FileNotFoundError) as error:
        keyring.on_broken(place)
        raise SealBroken from error
    except OSError as error:
        raise Unavailable from error
    context = place.context(key_id)

    def read(start: int, size: int) -> Iterator[bytes]:
        try:
            yield from store.read(track.id, key, context, start, size)
        except (SealBroken, FileNotFoundError) as error:
            keyring.on_broken(place)
            raise SealBroken from error

    return OpenTrack(size, read)
