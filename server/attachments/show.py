"""Files as answers: the list as JSON, and the content as a download that nothing can run in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from server.attachments.contents import EXTENSIONS
from server.attachments.rows import Opened
from server.audit import Act, ActorRole, Entry, append
from server.auth import Actor
from server.models import Attachment
from server.sealed import read_attachment
from server.services import FILES, KEYRING

_POLICY: Final = "sandbox; default-src 'none'"


def describe(files: Sequence[Opened], url: str) -> list[dict[str, object]]:
    """A list of files; ``url`` is where their content is, without the id."""
    return [
        {
            "id": row.id,
            "url": f"{url}/{row.id}",
            "kind": row.kind.value,
            "name": words.file_name,
            "mediaType": row.media_type,
            "sizeBytes": row.size_bytes,
            "device": words.device,
            "receivedAt": row.received_at.isoformat(),
            "takenAt": row.taken_at.isoformat() if row.taken_at else None,
            "consentedAt": row.consented_at.isoformat() if row.consented_at else None,
            "isInReport": row.is_in_report,
        }
        for row, words in ((opened.row, opened.words) for opened in files)
    ]


async def send_content(
    request: web.Request, session: AsyncSession, actor: Actor, row: Attachment, now: datetime
) -> web.Response:
    """The file, written down as opened in the caller's transaction. The name is ours, and even a
    picture comes as a download: an ``<img>`` shows it all the same."""
    content = await read_attachment(request.app[KEYRING], session, request.app[FILES], row)
    facts = {"file": row.id, "kind": row.kind.value}
    entry = Entry(
        now, Act.ATTACHMENT_OPENED, ActorRole(actor.role), actor.id, row.visit_id, dict(facts)
    )
    await append(session, actor.organisation, entry)
    return web.Response(
        body=content,
        content_type=row.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{file_name(row)}"',
            "Content-Security-Policy": _POLICY,
        },
    )


def file_name(row: Attachment) -> str:
    """``accanto-20261122-1040-k3f7.pdf``: nothing in it comes from outside."""
    moment = f"{row.received_at:%Y%m%d-%H%M}"
    return f"accanto-{moment}-{row.id[:4]}.{EXTENSIONS[row.media_type]}"
