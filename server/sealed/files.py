"""The content of the files of a visit: sealed before it reaches the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from recordings.store import SealedFolder
from recordings.vault import SealBroken
from server.footprint import note_opened
from server.keyring import Keyring, Place, Shredded
from server.models import Attachment
from server.sealed.record import attachment_place

ATTACHMENTS_FOLDER: Final = Path("store") / "attachments"
"""In the data folder; each file is named by the id of its row."""


def content_place(attachment: Attachment) -> Place:
    """Where the content of a file stands; ``id`` must be set."""
    return attachment_place(attachment, "content")


async def write_attachment(
    folder: SealedFolder, attachment: Attachment, key: tuple[str, bytes], content: bytes
) -> None:
    """Seal and store with what :meth:`Keyring.data_key` gives for :func:`content_place`. Sets size
    and hash of the row."""
    key_id, data_key = key
    context = content_place(attachment).context(key_id)
    attachment.size_bytes = len(content)
    attachment.sealed_sha256 = await asyncio.to_thread(
        folder.write, attachment.id, key_id, data_key, context, [content]
    )


async def read_attachment(
    keyring: Keyring, session: AsyncSession, folder: SealedFolder, attachment: Attachment
) -> bytes:
    """The whole content; a visit's files are small (``files_max_mb``).

    :raises Shredded: its term is over.
    :raises SealBroken: altered, of another place, or not there any more; the alarm is told.
    """
    place = content_place(attachment)
    note_opened(place.object_type, place.field)
    try:
        key_id = await asyncio.to_thread(folder.read_key_id, attachment.id)
        key = await keyring.find_data_key(session, attachment.organisation_id, key_id)
        pieces = folder.read(attachment.id, key, place.context(key_id))
        return await asyncio.to_thread(b"".join, pieces)
    except Shredded:
        raise
    except (SealBroken, FileNotFoundError) as error:
        keyring.on_broken(place)
        raise SealBroken from error
