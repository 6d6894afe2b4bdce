"""A range of a track, opened in the stream: what a browser's player asks for when it seeks."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from server.archive.rows import find_track, load_archived
from server.archive.streaming import stream
from server.archive.views import check_pass
from server.auth import actor_of
from server.errors import Conflict
from server.sealed import open_track
from server.services import DATABASE, KEYRING, RECORDINGS

_MEDIA_TYPE: Final = "video/webm"
_POLICY: Final = "sandbox; default-src 'none'"


async def send_track(request: web.Request) -> web.StreamResponse:
    """A track of a recording that this login opened with a purpose, or one range of it."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        archived = await load_archived(session, actor.id, request.match_info["recording_id"])
        track = find_track(archived, request.match_info["track_id"])
        if not check_pass(request, actor, archived.recording.id):
            raise Conflict("no view has begun")
        opened = await open_track(
            request.app[KEYRING], session, request.app[RECORDINGS], archived.recording, track
        )
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "Content-Type": _MEDIA_TYPE,
        "Content-Security-Policy": _POLICY,
    }
    wanted = _parse_range(request, opened.size)
    if wanted is None:
        headers["Content-Range"] = f"bytes */{opened.size}"
        return web.Response(status=416, headers=headers)
    status = 200
    if "Range" in request.headers:
        status = 206
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{opened.size}"
    headers["Content-Length"] = str(len(wanted))
    response = web.StreamResponse(status=status, headers=headers)
    return await stream(request, response, opened.read(wanted.start, len(wanted)))


def _parse_range(request: web.Request, size: int) -> range | None:
    """One range of bytes (RFC 9110 §14.1.2); ``None`` where nothing of it is there."""
    try:
        asked = request.http_range
    except ValueError:
        return None
    start = asked.start or 0
    if start < 0:
        start = max(size + start, 0)
    stop = size if asked.stop is None else min(asked.stop, size)
    is_whole = asked.start is None and asked.stop is None
    return range(start, stop) if start < stop or is_whole else None
