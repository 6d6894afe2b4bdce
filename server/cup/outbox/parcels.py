"""One event on its way to CUP: what it carries, its sending, and what came of that.

Order, repeats and states are :mod:`server.cup.outbox`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from server.cup.outbox.outgoing import OutgoingEvent, Sender, Verdict
from server.errors import CommandFailed
from server.keyring import Keyring
from server.models import Connector, Organisation, OutboxEvent, Visit
from server.sealed import open_details
from server.sources import Outgoing

logger = logging.getLogger(__name__)

Senders = Mapping[Connector, Sender]

SEND_SECONDS: Final = 30.0


class Trouble(StrEnum):
    """Why an event did not go through; ``outbox_event.reason`` holds one."""

    REFUSED = "refused"
    NOT_WANTED = "not_wanted"
    """The source has no word for it: nothing was sent, and nothing is wrong."""
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    WRONG_SETTINGS = "wrong_settings"
    SEND_FAILED = "send_failed"
    TRIED_TOO_LONG = "tried_too_long"


_TROUBLES: Final = {
    Verdict.DELIVERED: "",
    Verdict.NOT_WANTED: Trouble.NOT_WANTED,
    Verdict.REFUSED: Trouble.REFUSED,
    Verdict.RETRY: Trouble.NO_ANSWER,
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """One attempt of one event, ready to go."""

    event: OutgoingEvent
    outgoing: Outgoing
    token: str
    attempts: int
    is_last_attempt: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it; ``reason`` is a :class:`Trouble` or empty."""

    verdict: Verdict
    reason: str = ""


async def describe_event(
    session: AsyncSession, keyring: Keyring, event: OutboxEvent, visit: Visit
) -> OutgoingEvent:
    """The event with what CUP needs to know its booking; ``visit`` comes with its appointment."""
    appointment = visit.appointment
    details = await open_details(keyring, session, appointment)
    organisation = await session.get_one(Organisation, event.organisation_id)
    return OutgoingEvent(
        number=event.number,
        control_id=event.id,
        kind=event.kind,
        facts=json.loads(event.facts),
        booking_code=appointment.booking_code,
        start=appointment.start,
        end=appointment.end,
        sent_at=event.created_at,
        organisation_code=organisation.code,
        clinician_code=appointment.clinician_code,
        service_code=details.service_code,
    )


async def send_parcel(parcel: Parcel, senders: Senders) -> Result:
    """Send it in the language of its source. Never raises."""
    sender = senders[parcel.outgoing.connector]
    try:
        async with asyncio.timeout(SEND_SECONDS):
            verdict = await sender(parcel.event, parcel.outgoing, parcel.token)
    except TimeoutError:
        return Result(Verdict.RETRY, Trouble.NO_ANSWER)
    except OSError:
        return Result(Verdict.RETRY, Trouble.UNREACHABLE)
    except CommandFailed:
        return Result(Verdict.RETRY, Trouble.WRONG_SETTINGS)
    except Exception:
        logger.exception("event %s cannot be sent", parcel.event.control_id)
        return Result(Verdict.RETRY, Trouble.SEND_FAILED)
    return Result(verdict, _TROUBLES[verdict])
