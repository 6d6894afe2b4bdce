"""The facts of the processing, read from what really runs: settings, terms, keys, log, records.

For the record of processing activities (GDPR art. 30) and the impact assessment (art. 35). What
only the health body can say (its data protection officer, its risks) the page leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.vault import KEY_BYTES
from server.auth import SESSION_IDLE, SESSION_LONGEST
from server.db import OrganisationId
from server.keyring import KEK, Keyring
from server.models import (
    Appointment,
    DataKey,
    Kept,
    LegalHold,
    LogCheckpoint,
    LogHead,
    Organisation,
    OrganisationKey,
    Patient,
    Source,
    Visit,
)
from server.passwords import describe_hash
from server.report.gateways import GatewayUnusable, load_gateway
from server.settings import Settings
from server.subjects.flows import Flow, flows_of
from server.terms import DEFAULT_DAYS, load_terms

_BITS: Final = 8


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is; ``since``: the first appointment."""

    patients: int
    visits: int
    since: datetime | None
    held: int
    keys: int
    destroyed_keys: int


@dataclass(frozen=True, slots=True)
class LogFacts:
    """The session log: entries, and the newest checkpoint with the name of its log."""

    entries: int
    origin: str
    signed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the page says; algorithms by what they are for (stable words)."""

    organisation: Organisation
    flows: Sequence[Flow]
    terms: Mapping[Kept, int]
    default_terms: Mapping[Kept, int]
    algorithms: Mapping[str, str]
    root_place: str
    """``file`` or the host of the key service."""
    key_versions: int
    idle_minutes: int
    longest_hours: int
    counts: Counts
    log: LogFacts


async def load_facts(
    settings: Settings,
    keyring: Keyring,
    session: AsyncSession,
    organisation: OrganisationId,
    now: datetime,
) -> Facts:
    """Read them; nothing of a person is opened."""
    body = await session.get_one(Organisation, organisation)
    sources = await session.scalars(select(Source).order_by(Source.code))
    versions = select(func.count()).where(OrganisationKey.purpose == KEK)
    return Facts(
        organisation=body,
        flows=flows_of(settings, sources, _find_gateway(settings, body, now)),
        terms=await load_terms(session, organisation),
        default_terms=DEFAULT_DAYS,
        algorithms=_name_algorithms(),
        root_place=keyring.roots.current.place if keyring.roots.current.is_remote else "file",
        key_versions=await session.scalar(versions) or 0,
        idle_minutes=int(SESSION_IDLE.total_seconds() // 60),
        longest_hours=int(SESSION_LONGEST.total_seconds() // 3600),
        counts=await _count(session),
        log=await _load_log(session, organisation),
    )


def _name_algorithms() -> dict[str, str]:
    bits = KEY_BYTES * _BITS
    return {
        "records": f"C2SP chunked encryption, Cobblestone-{bits} (AES-{bits}-GCM, key commitment)",
        "keys": f"AES-{bits}-GCM",
        "search": "HMAC-SHA-256",
        "passwords": describe_hash(),
        "log": "SHA-256, Merkle tree (RFC 9162); Ed25519, C2SP signed note",
        "calls": "DTLS-SRTP",
        "reports": "PAdES, PDF/A-3b, CDA2",
    }


def _find_gateway(settings: Settings, body: Organisation, now: datetime) -> str:
    try:
        gateway = load_gateway(settings, body.code, now)
    except GatewayUnusable:
        return ""
    return gateway.settings.url if gateway else ""


async def _count(session: AsyncSession) -> Counts:
    keys = select(func.count(), func.count(DataKey.shredded_at)).select_from(DataKey)
    made, destroyed = (await session.execute(keys)).one()
    held = select(func.count()).select_from(LegalHold).where(LegalHold.lifted_at.is_(None))
    return Counts(
        patients=await session.scalar(select(func.count()).select_from(Patient)) or 0,
        visits=await session.scalar(select(func.count()).select_from(Visit)) or 0,
        since=await session.scalar(select(func.min(Appointment.start))),
        held=await session.scalar(held) or 0,
        keys=made - destroyed,
        destroyed_keys=destroyed,
    )


async def _load_log(session: AsyncSession, organisation: OrganisationId) -> LogFacts:
    newest = await session.scalar(
        select(LogCheckpoint)
        .where(LogCheckpoint.organisation_id == organisation)
        .order_by(LogCheckpoint.size.desc())
        .limit(1)
    )
    size = await session.scalar(select(LogHead.size).where(LogHead.organisation_id == organisation))
    if newest is None:
        return LogFacts(size or 0, "", None)
    return LogFacts(size or 0, newest.note.partition("\n")[0], newest.signed_at)
