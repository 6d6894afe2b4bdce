"""``/signature``: with what a clinician signs reports, set up by themselves.

The file is kept sealed; its password (PIN) is tried once here and not kept. A token that the
computer of the platform reaches is set up on the command line: ``accanto user signer``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from aiohttp import web
from aiohttp.web_request import FileField

from server.audit import Act, ActorRole, Entry, append, leaves, leaves_none, may_leave
from server.auth import CLINICIAN, Route, actor_of
from server.errors import InvalidInput
from server.models import User
from server.sealed import open_codice_fiscale
from server.services import DATABASE, KEYRING, PAGES, now_of
from server.signing import (
    LONGEST_FILE_BYTES,
    Pkcs12File,
    Refusal,
    SignerMeans,
    SigningRefused,
    describe_signer,
    inspect_means,
    put_signer,
    remove_signer,
)

_ENDS_SOON: Final = timedelta(days=30)
_LONGEST_PIN: Final = 128
_MISSING: Final = "missing"


async def show_signature(request: web.Request) -> web.StreamResponse:
    return await _render(request)


async def save_signature(request: web.Request) -> web.StreamResponse:
    """Keep an uploaded PKCS#12 file, if it opens with the PIN and may sign for this clinician."""
    actor, now, keyring = actor_of(request), now_of(request), request.app[KEYRING]
    content, pin = await _read_form(request)
    if not content or not pin:
        return await _render(request, problem=_MISSING)
    async with request.app[DATABASE].read(actor.organisation) as session:
        user = await session.get_one(User, actor.id)
        codice_fiscale = await open_codice_fiscale(keyring, session, user)
    means = SignerMeans(actor.organisation, actor.id, Pkcs12File(content), codice_fiscale)
    try:
        facts = await inspect_means(means, pin, now)
    except SigningRefused as refused:
        return await _render(request, problem=refused.reason)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await put_signer(keyring, session, means, facts, now)
        changed = {"kind": means.key.kind.value, "certificate": facts.sha256}
        entry = Entry(now, Act.SIGNER_CHANGED, ActorRole.CLINICIAN, actor.id, facts={**changed})
        await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther("/signature")


async def forget_signature(request: web.Request) -> web.StreamResponse:
    """Delete the means; what was signed stays signed."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        if await remove_signer(session, actor.id):
            entry = Entry(now, Act.SIGNER_REMOVED, ActorRole.CLINICIAN, actor.id)
            await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther("/signature")


async def _read_form(request: web.Request) -> tuple[bytes, str]:
    """File and PIN; empty when they are not there.

    :raises InvalidInput: the form is larger than any signature.
    """
    try:
        form = await request.post()
    except web.HTTPRequestEntityTooLarge as error:
        raise InvalidInput("file", "too_large") from error
    file, pin = form.get("file"), str(form.get("pin", ""))[:_LONGEST_PIN]
    content = file.file.read(LONGEST_FILE_BYTES + 1) if isinstance(file, FileField) else b""
    return content, pin


async def _render(request: web.Request, problem: Refusal | str = "") -> web.StreamResponse:
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        signer = await describe_signer(request.app[KEYRING], session, actor.id)
    return request.app[PAGES].render(
        request,
        "staff/signature.html",
        status=400 if problem else 200,
        actor=actor,
        signer=signer,
        is_over=signer is not None and signer.valid_until <= now,
        is_ending=signer is not None and signer.valid_until <= now + _ENDS_SOON,
        problem=str(problem),
    )


ROUTES: Final = (
    Route(
        "GET",
        "/signature",
        show_signature,
        CLINICIAN,
        leaves_none("what one signs with oneself", opens={"signer.content"}),
    ),
    Route("POST", "/signature", save_signature, CLINICIAN, leaves(Act.SIGNER_CHANGED)),
    Route(
        "POST",
        "/signature/remove",
        forget_signature,
        CLINICIAN,
        may_leave(Act.SIGNER_REMOVED, why="there may be none"),
    ),
)
