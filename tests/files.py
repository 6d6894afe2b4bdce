"""Files for the tests: pictures with secrets in their metadata, documents, and broken ones."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from PIL import Image

from recordings.store import SealedFolder
from server.db import Database
from server.keyring import Keyring
from server.models import Attachment, AttachmentKind, Visit, new_id
from server.sealed import (
    AttachmentWords,
    content_place,
    seal_attachment_words,
    write_attachment,
)

PDF = b"%PDF-1.7\n1 0 obj\n<< /Title (Esame del sangue) >>\nendobj\ntrailer\n<<>>\n%%EOF\n"
GPS_TAG, ORIENTATION_TAG, MAKER_TAG = 0x8825, 0x0112, 0x010F


def make_photo(
    size: tuple[int, int] = (120, 80),
    *,
    kind: str = "JPEG",
    maker: str = "Fotocamera Segreta",
    orientation: int = 6,
    colour: tuple[int, int, int] = (200, 40, 40),
) -> bytes:
    """A picture as a phone writes it: with its place, its maker, and lying on its side."""
    image = Image.new("RGB", size, colour)
    exif = Image.Exif()
    exif[ORIENTATION_TAG], exif[MAKER_TAG] = orientation, maker
    exif.get_ifd(GPS_TAG).update({1: "N", 2: (43.0, 46.0, 10.0), 3: "E", 4: (11.0, 15.0, 0.0)})
    output = io.BytesIO()
    image.save(output, kind, exif=exif)
    return output.getvalue()


async def add_attachment(
    database: Database,
    keyring: Keyring,
    folder: SealedFolder,
    visit: Visit,
    content: bytes = b"",
    *,
    name: str = "esame.jpg",
    kind: AttachmentKind = AttachmentKind.PATIENT_FILE,
) -> Attachment:
    """A picture in the record of a visit, stored as an upload stores it."""
    row = Attachment(
        id=new_id(),
        organisation_id=visit.organisation_id,
        visit_id=visit.id,
        kind=kind,
        media_type="image/jpeg",
        received_at=datetime.now(UTC),
    )
    async with database.begin(visit.organisation_id) as session:
        key = await keyring.data_key(session, content_place(row))
        await write_attachment(folder, row, key, content or make_photo(orientation=1))
        await seal_attachment_words(keyring, session, row, AttachmentWords(file_name=name))
        session.add(row)
    return row
