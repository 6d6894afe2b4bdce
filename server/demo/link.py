"""The demonstration's CUP link: a source for each body, with its entrances and a way out.

The first body's source listens for HL7 v2 on loopback from whoever sends, and has a FHIR token.
Outcomes go as CSV files, without names, into the data folder.
"""

from __future__ import annotations

import socket
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import hash_token
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring
from server.models import Connector, Organisation, Source
from server.models.ids import crockford
from server.sources import Listener, Outgoing, SourceSettings, settings_of, write_settings

HOST: Final = "127.0.0.1"
_TOKEN_CHARACTERS: Final = 40


def make_source(
    organisation: Organisation, code: str, keyring: Keyring, *, is_open: bool
) -> Source:
    """The source of one body; an open one takes HL7 v2 and FHIR from outside."""
    source = Source(organisation_id=organisation.id, code=code, name=f"CUP {organisation.name}")
    outgoing = Outgoing(connector=Connector.CSV, address=f"cup-out/{organisation.code}")
    listener = Listener(host=HOST, port=claim_port(0)) if is_open else None
    write_settings(source, SourceSettings(listener=listener, outgoing=outgoing))
    if is_open:
        source.token_hash = hash_token(fhir_token(keyring))
    return source


def fhir_token(keyring: Keyring) -> str:
    """Derived from the root key: stored nowhere, and the same after a restart."""
    return crockford(int.from_bytes(keyring.derive("demo-fhir-token"), "big"), _TOKEN_CHARACTERS)


async def renew_listener(database: Database) -> int:
    """The port of the MLLP listener: the one of last time, or a free one when it is taken."""
    async with database.begin(EVERY_ORGANISATION) as session:
        source, listener = await _load_listener(session)
        try:
            port = claim_port(listener.port)
        except CommandFailed:
            port = claim_port(0)
            settings = settings_of(source)
            write_settings(
                source,
                SourceSettings(
                    listener=Listener(host=HOST, port=port),
                    mapping=settings.mapping,
                    outgoing=settings.outgoing,
                ),
            )
    return port


def claim_port(port: int) -> int:
    """The port to serve on, looked at before anything is written; 0 becomes a free one.

    :raises CommandFailed: it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandFailed(
                f"Port {port} is taken: choose another with --port (make demo PORT=9000)"
            ) from error
        claimed: int = probe.getsockname()[1]
        return claimed


async def _load_listener(session: AsyncSession) -> tuple[Source, Listener]:
    for source in await session.scalars(select(Source)):
        listener = settings_of(source).listener
        if listener is not None:
            return source, listener
    raise CommandFailed("The demonstration has lost its CUP source: start a fresh one")
