"""What there is of keys, in numbers: for ``accanto keys status``."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import KEK, Keyring
from server.models import DataKey, Organisation, OrganisationKey


@dataclass(frozen=True, slots=True)
class Standing:
    """The keys of one organisation. ``versions`` maps each KEK version to the data keys under
    it; ``is_under_root`` says that the root key of now wraps all of its keys."""

    code: str
    versions: dict[int, int]
    shredded: int
    is_under_root: bool

    @property
    def is_rotating(self) -> bool:
        """There is work for ``accanto keys rewrap``."""
        return len(self.versions) > 1 or not self.is_under_root


async def load_standings(keyring: Keyring, session: AsyncSession) -> list[Standing]:
    """Each organisation, by its code. The session sees every organisation."""
    counts = await session.execute(
        select(
            DataKey.organisation_id,
            DataKey.kek_version,
            DataKey.shredded_at.is_not(None),
            func.count(),
        ).group_by(DataKey.organisation_id, DataKey.kek_version, DataKey.shredded_at.is_not(None))
    )
    under = {(row[0], row[1], bool(row[2])): row[3] for row in counts}
    keys = list(await session.scalars(select(OrganisationKey)))
    standings = []
    for organisation in await session.scalars(select(Organisation).order_by(Organisation.code)):
        own = [key for key in keys if key.organisation_id == organisation.id]
        versions = sorted(key.version for key in own if key.purpose == KEK)
        standings.append(
            Standing(
                code=organisation.code,
                versions={one: under.get((organisation.id, one, False), 0) for one in versions},
                shredded=sum(
                    count
                    for (owner, _, is_shredded), count in under.items()
                    if owner == organisation.id and is_shredded
                ),
                is_under_root=all(key.root_id == keyring.roots.current.id for key in own),
            )
        )
    return standings
