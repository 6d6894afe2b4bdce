"""What CUP sent and what opens its server: sealing and opening."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import Keyring, Place
from server.models import FhirResource, InboxMessage, Source


async def seal_message(
    keyring: Keyring, session: AsyncSession, message: InboxMessage, raw: bytes
) -> None:
    """Keep a message from CUP as it came."""
    message.sealed_raw = await keyring.seal(session, _message_place(message), raw)


async def open_message(keyring: Keyring, session: AsyncSession, message: InboxMessage) -> bytes:
    return await keyring.unseal(session, _message_place(message), message.sealed_raw)


async def seal_outgoing_token(
    keyring: Keyring, session: AsyncSession, source: Source, token: str
) -> None:
    """Keep the bearer token that CUP gave us for its own server."""
    place = _outgoing_token_place(source)
    source.sealed_outgoing_token = await keyring.seal(session, place, token.encode())


async def open_outgoing_token(keyring: Keyring, session: AsyncSession, source: Source) -> str:
    """The token; empty when there is none."""
    if source.sealed_outgoing_token is None:
        return ""
    place = _outgoing_token_place(source)
    return (await keyring.unseal(session, place, source.sealed_outgoing_token)).decode()


def _outgoing_token_place(source: Source) -> Place:
    return Place(source.organisation_id, "source", source.id, "outgoing_token", 1)


def _message_place(message: InboxMessage) -> Place:
    """Messages of a source share one key a month: shredding it forgets the month."""
    return Place(
        message.organisation_id,
        "inbox_message",
        message.id,
        "raw",
        1,
        key_owner=f"inbox:{message.source_id}:{message.received_at:%Y-%m}",
    )


async def seal_resource(
    keyring: Keyring, session: AsyncSession, resource: FhirResource, content: bytes
) -> None:
    """Keep a FHIR resource; call after setting ``version`` and ``updated_at``."""
    resource.sealed_content = await keyring.seal(session, _resource_place(resource), content)


async def open_resource(keyring: Keyring, session: AsyncSession, resource: FhirResource) -> bytes:
    """What :func:`seal_resource` kept; empty of a row that only names a message."""
    if resource.sealed_content is None:
        return b""
    return await keyring.unseal(session, _resource_place(resource), resource.sealed_content)


def _resource_place(resource: FhirResource) -> Place:
    """The month's key of the messages: what was sent with them is forgotten with them."""
    return Place(
        resource.organisation_id,
        "fhir_resource",
        resource.resource_index,
        "content",
        resource.version,
        key_owner=f"inbox:{resource.source_id}:{resource.updated_at:%Y-%m}",
    )
