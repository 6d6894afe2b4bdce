"""Numbers and signs what it can before an export, and says what it could not."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from server.db import Database, OrganisationId
from server.logsigner.client import Refusal, SignerLost, SignerProcess
from server.sequencing import number_log
from server.sequencing.checkpoints import sign_checkpoint


async def settle_log(
    database: Database,
    signer: SignerProcess,
    realm: str,
    organisation: OrganisationId,
    now: datetime,
) -> list[str]:
    """Number what has no number and get the log signed; returns a sentence for each of the two that
    failed. A log that was tampered with fails here and is exported all the same."""
    complaints = []
    try:
        await number_log(database, organisation)
    except (SQLAlchemyError, LookupError, ValueError) as error:
        complaints.append(f"The newest entries have no number ({type(error).__name__})")
    try:
        await sign_checkpoint(database, signer, realm, organisation, now)
    except Refusal as refusal:
        complaints.append(
            f"The signer refuses this log ({refusal.word}): {refusal.size} entries are signed"
        )
    except (SQLAlchemyError, LookupError, ValueError, SignerLost) as error:
        complaints.append(f"The newest entries are not signed ({type(error).__name__})")
    return complaints
