"""The report, what signs it and what the national record said of it: sealing and opening.

A report is sealed with the key of its visit. The content is bytes here: its type stands above, in
:mod:`server.report.content`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId
from server.keyring import Keyring, Place
from server.models import Report, Signer, Submission, User, UserSession

_FORM_VERSION: Final = 1
"""The signed forms of one row are written once; another version is another row."""


async def seal_report_content(
    keyring: Keyring, session: AsyncSession, report: Report, content: bytes
) -> None:
    """Set the content; call with ``id`` set and after raising ``content_version``."""
    place = _report_place(report, "content", report.content_version)
    report.sealed_content = await keyring.seal(session, place, content)


async def open_report_content(keyring: Keyring, session: AsyncSession, report: Report) -> bytes:
    place = _report_place(report, "content", report.content_version)
    return await keyring.unseal(session, place, report.sealed_content)


async def seal_report_forms(
    keyring: Keyring, session: AsyncSession, report: Report, *, pdf: bytes, cda: bytes
) -> None:
    """Set what was signed: the PDF/A-3b and the CDA2 that it carries."""
    report.sealed_pdf = await keyring.seal(
        session, _report_place(report, "pdf", _FORM_VERSION), pdf
    )
    report.sealed_cda = await keyring.seal(
        session, _report_place(report, "cda", _FORM_VERSION), cda
    )


async def open_report_pdf(keyring: Keyring, session: AsyncSession, report: Report) -> bytes:
    """The signed PDF; empty of a draft."""
    if report.sealed_pdf is None:
        return b""
    place = _report_place(report, "pdf", _FORM_VERSION)
    return await keyring.unseal(session, place, report.sealed_pdf)


async def open_report_cda(keyring: Keyring, session: AsyncSession, report: Report) -> bytes:
    """The CDA2 of the signed PDF; empty of a draft."""
    if report.sealed_cda is None:
        return b""
    place = _report_place(report, "cda", _FORM_VERSION)
    return await keyring.unseal(session, place, report.sealed_cda)


async def seal_submission_detail(
    keyring: Keyring, session: AsyncSession, submission: Submission, detail: bytes
) -> None:
    """Keep what the gateway said; call after raising ``detail_version``."""
    place = await _detail_place(session, submission)
    submission.sealed_detail = await keyring.seal(session, place, detail)


async def open_submission_detail(
    keyring: Keyring, session: AsyncSession, submission: Submission
) -> bytes:
    """What the gateway said; empty before its first answer."""
    if submission.sealed_detail is None:
        return b""
    place = await _detail_place(session, submission)
    return await keyring.unseal(session, place, submission.sealed_detail)


async def seal_signer(
    keyring: Keyring, session: AsyncSession, signer: Signer, content: bytes
) -> None:
    """Keep with what a clinician signs; call after raising ``version``."""
    signer.sealed_content = await keyring.seal(session, _signer_place(signer), content)


async def open_signer(keyring: Keyring, session: AsyncSession, signer: Signer) -> bytes:
    return await keyring.unseal(session, _signer_place(signer), signer.sealed_content)


async def seal_codice_fiscale(
    keyring: Keyring, session: AsyncSession, user: User, codice_fiscale: str
) -> None:
    user.sealed_codice_fiscale = await keyring.seal(
        session, _codice_fiscale_place(user), codice_fiscale.encode()
    )


async def open_codice_fiscale(keyring: Keyring, session: AsyncSession, user: User) -> str:
    """The clinician's codice fiscale; empty when it is not known."""
    if user.sealed_codice_fiscale is None:
        return ""
    place = _codice_fiscale_place(user)
    return (await keyring.unseal(session, place, user.sealed_codice_fiscale)).decode()


async def seal_signing_pin(
    keyring: Keyring, session: AsyncSession, login: UserSession, pin: str
) -> None:
    """Keep the PIN of the signature until this login ends."""
    login.sealed_signing_pin = await keyring.seal(session, _pin_place(login), pin.encode())


async def open_signing_pin(keyring: Keyring, session: AsyncSession, login: UserSession) -> str:
    """The PIN; empty when it was not given yet."""
    if login.sealed_signing_pin is None:
        return ""
    return (await keyring.unseal(session, _pin_place(login), login.sealed_signing_pin)).decode()


def _report_place(report: Report, field: str, version: int) -> Place:
    return Place(report.organisation_id, "report", report.id, field, version, visit=report.visit_id)


async def _detail_place(session: AsyncSession, submission: Submission) -> Place:
    """The key of the visit: the answer may quote the document."""
    report = await session.get_one(Report, submission.report_id)
    return Place(
        submission.organisation_id,
        "submission",
        submission.id,
        "detail",
        submission.detail_version,
        visit=report.visit_id,
    )


def _user_key(user_id: str) -> str:
    return f"user:{user_id}"


def _signer_place(signer: Signer) -> Place:
    return Place(
        signer.organisation_id,
        "signer",
        signer.user_id,
        "content",
        signer.version,
        key_owner=_user_key(signer.user_id),
    )


def _codice_fiscale_place(user: User) -> Place:
    return Place(OrganisationId(user.organisation_id), "user", user.id, "codice_fiscale", 1)


def _pin_place(login: UserSession) -> Place:
    return Place(
        login.organisation_id,
        "user_session",
        login.token_hash,
        "signing_pin",
        1,
        key_owner=_user_key(login.user_id),
    )
