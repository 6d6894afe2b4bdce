"""The row of a clinician's means: written, opened, removed, and its wrong PINs counted.

A token that gets three wrong PINs is blocked for good, so a PIN counts as wrong before it is
tried: two pages at once get no fourth. Giving the means again ends the lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import Database, OrganisationId, count_changed
from server.keyring import Keyring
from server.models import Signer, SignerKind, User, UserSession
from server.sealed import open_codice_fiscale, open_signer, seal_signer
from server.signing.certificates import CertificateFacts
from server.signing.means import Pkcs11Key, Pkcs12File, Refusal, SignerMeans, SigningRefused
from server.signing.pades import sign_pdf

_MOST_WRONG_PINS: Final = 3


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sealed in a row: the means, and what can be said of them without the PIN."""

    subject: str
    issuer: str
    file: bytes = b""
    token: Pkcs11Key | None = None


@dataclass(frozen=True, slots=True)
class SignerFacts:
    """What a clinician sees of their means without giving the PIN."""

    kind: SignerKind
    subject: str
    issuer: str
    valid_until: datetime
    added_at: datetime
    is_locked: bool


async def describe_signer(
    keyring: Keyring, session: AsyncSession, user_id: str
) -> SignerFacts | None:
    signer = await find_signer(session, user_id)
    if signer is None:
        return None
    kept = msgspec.json.decode(await open_signer(keyring, session, signer), type=_Kept)
    return SignerFacts(
        kind=signer.kind,
        subject=kept.subject,
        issuer=kept.issuer,
        valid_until=signer.valid_until,
        added_at=signer.added_at,
        is_locked=signer.failed_pins >= _MOST_WRONG_PINS,
    )


async def find_signer(session: AsyncSession, user_id: str) -> Signer | None:
    return await session.scalar(select(Signer).where(Signer.user_id == user_id))


async def load_means(keyring: Keyring, session: AsyncSession, user_id: str) -> SignerMeans | None:
    """With what this clinician signs; None before they have set it up."""
    signer = await find_signer(session, user_id)
    if signer is None:
        return None
    user = await session.get_one(User, user_id)
    kept = msgspec.json.decode(await open_signer(keyring, session, signer), type=_Kept)
    return SignerMeans(
        organisation=signer.organisation_id,
        user_id=user_id,
        key=kept.token or Pkcs12File(kept.file),
        codice_fiscale=await open_codice_fiscale(keyring, session, user),
    )


async def put_signer(
    keyring: Keyring,
    session: AsyncSession,
    means: SignerMeans,
    facts: CertificateFacts,
    now: datetime,
) -> None:
    """Keep these means, in place of the ones before; the PINs that logins keep are forgotten."""
    signer = await find_signer(session, means.user_id)
    if signer is None:
        signer = Signer(organisation_id=means.organisation, user_id=means.user_id, version=0)
    signer.kind = means.key.kind
    signer.version += 1
    signer.failed_pins = 0
    signer.certificate_sha256 = facts.sha256
    signer.valid_until = facts.valid_until
    signer.added_at = now
    kept = _Kept(
        subject=facts.subject,
        issuer=facts.issuer,
        file=means.key.content if isinstance(means.key, Pkcs12File) else b"",
        token=None if isinstance(means.key, Pkcs12File) else means.key,
    )
    await seal_signer(keyring, session, signer, msgspec.json.encode(kept))
    session.add(signer)
    await session.flush()
    await _forget_pins(session, means.user_id)


async def remove_signer(session: AsyncSession, user_id: str) -> bool:
    """Whether there was something to remove."""
    await _forget_pins(session, user_id)
    return await count_changed(session, delete(Signer).where(Signer.user_id == user_id)) > 0


async def sign_as(
    database: Database,
    means: SignerMeans,
    pin: str,
    pdf: bytes,
    now: datetime,
    *,
    tsa_url: str = "",
) -> bytes:
    """:func:`sign_pdf`, with the wrong PINs counted.

    :raises SigningRefused: nothing was signed.
    """
    await _count(database, means)
    try:
        signed = await sign_pdf(pdf, means, pin, now, tsa_url=tsa_url)
    except SigningRefused as error:
        if error.reason not in {Refusal.WRONG_PIN, Refusal.LOCKED}:
            await _settle(database, means, failed_pins=Signer.failed_pins - 1)
        raise
    await _settle(database, means, failed_pins=0)
    return signed


async def _count(database: Database, means: SignerMeans) -> None:
    attempt = (
        update(Signer)
        .where(Signer.user_id == means.user_id)
        .where(Signer.failed_pins < _MOST_WRONG_PINS)
        .values(failed_pins=Signer.failed_pins + 1)
    )
    async with database.begin(OrganisationId(means.organisation)) as session:
        if not await count_changed(session, attempt):
            raise SigningRefused(Refusal.LOCKED)


async def _settle(database: Database, means: SignerMeans, **values: object) -> None:
    """The PIN was right, or was not looked at."""
    settled = update(Signer).where(Signer.user_id == means.user_id).values(values)
    async with database.begin(OrganisationId(means.organisation)) as session:
        await session.execute(settled.execution_options(synchronize_session=False))


async def _forget_pins(session: AsyncSession, user_id: str) -> None:
    await session.execute(
        update(UserSession).where(UserSession.user_id == user_id).values(sealed_signing_pin=None)
    )
