"""What a CUP source is told to do: where it listens, how its messages are read, where events go.

Kept as JSON in ``source.settings``; it holds no secret and no path of a private key is followed
before the listener starts. Written by ``accanto cup source`` and the administrator's page.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from server.errors import InvalidInput
from server.models import Connector, Source

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of our certificate and of theirs (PEM), and who may connect."""

    certificate: str
    private_key: str
    authority: str
    """Who signs their certificates."""
    pinned: list[str] = []
    """SHA-256 of the certificates (DER, lower-case hex) of this source: only they may connect."""


class Listener(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An MLLP entrance of this source. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 0
    tls: Tls | None = None
    sending_applications: list[str] = []
    """Allowed MSH-3; empty allows all."""
    character_set: str = ""
    """Of messages that leave MSH-18 empty, in its words: ``8859/1``. Empty: UTF-8."""

    @property
    def is_on_loopback(self) -> bool:
        return self.host in _LOOPBACK


class Poller(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A FHIR server of CUP that is asked for what changed."""

    url: str
    every_seconds: Annotated[int, msgspec.Meta(ge=5, le=86_400)] = 60


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events go: ``host:port`` of MLLP, the base URL of a FHIR server, a folder for CSV."""

    connector: Connector
    address: str
    tls: Tls | None = None
    receiving_application: str = "CUP"
    is_filler_code: bool = False
    """HL7 v2: the booking code is the filler's (SCH-2, ARQ-2), not the placer's."""
    words: dict[str, str] = {}
    """How this source writes an outcome in SCH-25 or its column: ``completed`` → ``Complete``…"""


class Mapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this source's messages differ from the usual; keys are :class:`Field` values."""

    csv_delimiter: str = ""
    csv_encoding: str = "utf-8"
    csv_columns: dict[str, str] = {}
    """Field → the column's name."""
    hl7_paths: dict[str, str] = {}
    """Field → segment, field and component, for instance ``booking_code`` → ``SCH-2.1``."""
    words: dict[str, dict[str, str]] = {}
    """Field → their word → ours, for instance ``priority`` → ``{"1": "U"}``."""


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about one source. Empty: it takes in files and its bearer token's FHIR."""

    listener: Listener | None = None
    poller: Poller | None = None
    drop_folder: str = ""
    mapping: Mapping = Mapping()
    outgoing: Outgoing | None = None


def settings_of(source: Source) -> SourceSettings:
    """The settings as they were saved."""
    return msgspec.json.decode(source.settings, type=SourceSettings)


def parse_settings(text: str) -> SourceSettings:
    """Check what a person wrote.

    :raises InvalidInput: names the place in the JSON that is wrong.
    """
    try:
        return msgspec.json.decode(text, type=SourceSettings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("settings", str(error)) from error


def write_settings(source: Source, settings: SourceSettings) -> None:
    """Put settings into the row, for the caller's transaction."""
    source.settings = msgspec.json.encode(settings).decode()
