"""The one image of a report: the still or file that the clinician chose, if any."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.store import SealedFolder
from server.keyring import Keyring
from server.models import Attachment, AttachmentKind
from server.report.content import Picture
from server.sealed import open_attachment_words, read_attachment

_PICTURES: Final = ("image/jpeg", "image/png")


async def load_picture(
    keyring: Keyring, session: AsyncSession, folder: SealedFolder, visit_id: str
) -> Picture | None:
    """``None``: the report has the chart of the visit instead."""
    chosen = await session.scalar(
        select(Attachment)
        .where(Attachment.visit_id == visit_id)
        .where(Attachment.is_in_report.is_(True))
        .where(Attachment.media_type.in_(_PICTURES))
        .limit(1)
    )
    if chosen is None:
        return None
    words = await open_attachment_words(keyring, session, chosen)
    return Picture(
        media_type=chosen.media_type,
        content=await read_attachment(keyring, session, folder, chosen),
        caption=words.caption or ("" if chosen.kind is AttachmentKind.STILL else words.file_name),
        is_clinical=True,
    )
