"""The copy that is handed out: one archive of all tracks, sealed to the recipient's certificate.

It is made while it is sent: a ``tar`` (``recording.json`` and a WebM for each track) inside of a
CMS message. Nobody on the way opens it, and nothing of it is kept here.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.cms import CertificateUnfit, Recipient
from server.archive.pages import render_recording
from server.archive.rows import Archived, check_ready, load_archived
from server.archive.streaming import stream
from server.archive.views import parse_purpose
from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.errors import InvalidInput
from server.models import Organisation, RecordingConsent
from server.sealed import open_track
from server.services import DATABASE, KEYRING, RECORDINGS, now_of

FORMAT: Final = "accanto-recording-1"
FACTS_NAME: Final = "recording.json"
_MEDIA_TYPE: Final = "application/pkcs7-mime"
_BLOCK_BYTES: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive."""

    name: str
    size: int
    pieces: Iterator[bytes]


async def send_copy(request: web.Request) -> web.StreamResponse:
    """Hand out a recording; who it is for and why is written down before."""
    actor, now = actor_of(request), now_of(request)
    form = await request.post()
    async with request.app[DATABASE].begin(actor.organisation) as session:
        archived = await load_archived(session, actor.id, request.match_info["recording_id"])
        check_ready(archived)
        recording = archived.recording
        purpose = parse_purpose(recording, str(form.get("purpose", "")))
        try:
            recipient = _parse_recipient(form.get("certificate"), now)
        except CertificateUnfit as error:
            return await render_recording(request, error.problem, 400)
        members = await _load_members(request, session, archived)
        facts: dict[str, Fact] = {
            "recording": recording.id,
            "purpose": purpose.value,
            "certificate": recipient.fingerprint,
        }
        entry = Entry(
            now, Act.RECORDING_EXPORTED, actor.role, actor.id, recording.visit_id, facts,
            reason=purpose.value,
        )  # fmt: skip
        await append(session, actor.organisation, entry)
    size = sum(_BLOCK_BYTES + each.size + _padding(each.size) for each in members) + len(_END)
    response = web.StreamResponse(
        headers={
            "Cache-Control": "no-store",
            "Content-Type": _MEDIA_TYPE,
            "Content-Disposition": f'attachment; filename="{_file_name(archived)}"',
            "Content-Length": str(recipient.count_bytes(size)),
        }
    )
    return await stream(request, response, recipient.seal(size, _pack(members)))


def _parse_recipient(field: object, now: datetime) -> Recipient:
    """:raises CertificateUnfit: nothing can be sealed to it."""
    if not isinstance(field, web.FileField):
        raise InvalidInput("certificate", "malformed")
    return Recipient(field.file.read(), now)


async def _load_members(
    request: web.Request, session: AsyncSession, archived: Archived
) -> list[Member]:
    keyring, store = request.app[KEYRING], request.app[RECORDINGS]
    opened = [
        await open_track(keyring, session, store, archived.recording, track)
        for track in archived.tracks
    ]
    facts = msgspec.json.format(await _encode_facts(session, archived), indent=2)
    files = [
        Member(f"{track.participant}-{track.part}.webm", one.size, one.read(0, one.size))
        for track, one in zip(archived.tracks, opened, strict=True)
    ]
    return [Member(FACTS_NAME, len(facts), iter([facts])), *files]


async def _encode_facts(session: AsyncSession, archived: Archived) -> bytes:
    """Times, consents and gaps: what somebody needs who sees it without us."""
    recording = archived.recording
    organisation = await session.get_one(Organisation, recording.organisation_id)
    consents = await session.scalars(
        select(RecordingConsent)
        .where(RecordingConsent.recording_id == recording.id)
        .order_by(RecordingConsent.at)
    )
    return msgspec.json.encode(
        {
            "format": FORMAT,
            "organisation": organisation.name,
            "recording": recording.id,
            "visit": recording.visit_id,
            "purpose": recording.purpose,
            "began_at": recording.began_at,
            "ended_at": recording.ended_at,
            "end_reason": recording.end_reason,
            "consents": [_encode_consent(consent) for consent in consents],
            "tracks": [
                {
                    "file": f"{track.participant}-{track.part}.webm",
                    "participant": track.participant,
                    "offset_ms": track.offset_ms,
                    "duration_ms": track.duration_ms,
                    "gaps": track.gaps,
                }
                for track in archived.tracks
            ],
        }
    )


def _encode_consent(consent: RecordingConsent) -> dict[str, object]:
    return {
        "participant": consent.participant,
        "answer": consent.answer,
        "at": consent.at,
        "text_version": consent.text_version,
        "text_hash": consent.text_hash,
    }


def _pack(members: Sequence[Member]) -> Iterator[bytes]:
    """As a tar: each size is known before the first byte of a file, also one over 8 GiB (GNU)."""
    for member in members:
        info = tarfile.TarInfo(member.name)
        info.size = member.size
        yield info.tobuf(tarfile.GNU_FORMAT)
        yield from member.pieces
        yield bytes(_padding(member.size))
    yield _END


def _padding(size: int) -> int:
    return -size % _BLOCK_BYTES


def _file_name(archived: Archived) -> str:
    """Nothing in it says of whom it is."""
    return f"registrazione-{archived.recording.id}.tar.p7m"
