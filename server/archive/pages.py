"""The pages: the list, the question why, and the player."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from recordings.cms import Unfit
from server.archive.rows import Archived, check_ready, load_archive, load_archived
from server.archive.views import check_pass, give_pass, parse_purpose, purposes_of
from server.audit import Act, Entry, Fact, append, append_alone
from server.auth import Actor, actor_of
from server.models import RecordingTrack
from server.sealed import open_identity
from server.services import DATABASE, KEYRING, PAGES, now_of

_SECONDS: Final = 1000


async def show_list(request: web.Request) -> web.StreamResponse:
    """The recordings of the own visits."""
    actor, keyring = actor_of(request), request.app[KEYRING]
    async with request.app[DATABASE].read(actor.organisation) as session:
        found = await load_archive(session, actor.id)
        rows = [
            (one, await open_identity(keyring, session, one.visit.appointment.patient))
            for one in found
        ]
    facts: dict[str, Fact] = {"list": "recordings", "visits": len(rows)}
    entry = Entry(now_of(request), Act.LIST_OPENED, actor.role, actor.id, facts=facts)
    await append_alone(request.app[DATABASE], actor.organisation, entry)
    return request.app[PAGES].render(
        request, "archive/list.html", actor=actor, rows=rows, length=length_words
    )


async def show_recording(request: web.Request) -> web.StreamResponse:
    """What there is, and the question why it is to be opened."""
    return await render_recording(request)


async def render_recording(
    request: web.Request, problem: Unfit | None = None, status: int = 200
) -> web.StreamResponse:
    """``problem``: why nothing can be handed out to the certificate."""
    actor = actor_of(request)
    archived, name = await _load(request, actor)
    return request.app[PAGES].render(
        request,
        "archive/recording.html",
        status=status,
        actor=actor,
        archived=archived,
        name=name,
        purposes=purposes_of(archived.recording),
        length=length_words,
        problem=problem,
    )


async def begin_view(request: web.Request) -> web.StreamResponse:
    """Write down why, and let this login see it."""
    actor, form = actor_of(request), await request.post()
    async with request.app[DATABASE].begin(actor.organisation) as session:
        archived = await load_archived(session, actor.id, request.match_info["recording_id"])
        check_ready(archived)
        recording = archived.recording
        purpose = parse_purpose(recording, str(form.get("purpose", "")))
        entry = Entry(
            now_of(request), Act.RECORDING_OPENED, actor.role, actor.id, recording.visit_id,
            {"recording": recording.id, "purpose": purpose.value}, reason=purpose.value,
        )  # fmt: skip
        await append(session, actor.organisation, entry)
    response = web.HTTPSeeOther(f"/recordings/{recording.id}/player")
    give_pass(request, response, actor, recording.id)
    raise response


async def show_player(request: web.Request) -> web.StreamResponse:
    """Both people side by side; the page asks for the tracks."""
    actor = actor_of(request)
    archived, name = await _load(request, actor)
    if not check_pass(request, actor, archived.recording.id):
        raise web.HTTPSeeOther(f"/recordings/{archived.recording.id}")
    return request.app[PAGES].render(
        request,
        "archive/player.html",
        actor=actor,
        archived=archived,
        name=name,
        page_data={
            "durationMs": archived.duration_ms,
            "tracks": [_describe(track) for track in archived.tracks],
        },
    )


async def _load(request: web.Request, actor: Actor) -> tuple[Archived, str]:
    async with request.app[DATABASE].read(actor.organisation) as session:
        archived = await load_archived(session, actor.id, request.match_info["recording_id"])
        patient = archived.visit.appointment.patient
        identity = await open_identity(request.app[KEYRING], session, patient)
    return archived, identity.full_name


def _describe(track: RecordingTrack) -> dict[str, object]:
    return {
        "url": f"/recordings/{track.recording_id}/tracks/{track.id}",
        "participant": track.participant,
        "offsetMs": track.offset_ms,
        "durationMs": track.duration_ms,
        "gaps": track.gaps,
    }


def length_words(duration_ms: int) -> str:
    """``12:05``, ``1:00:07``."""
    minutes, seconds = divmod(duration_ms // _SECONDS, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
