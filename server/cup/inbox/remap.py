"""Mapping a kept message again, with the settings its source has now. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from server.cup.booking import FileRejected, Message
from server.cup.csvfile.mapping import parse_row
from server.cup.fhir.document import parse_fhir
from server.cup.hl7v2.mapping import parse_hl7
from server.models import Connector
from server.sources import SourceSettings


def remap(
    connector: Connector, raw: bytes, settings: SourceSettings, received_at: datetime
) -> list[Message]:
    """The messages in it, one but for a FHIR bundle that was kept whole; none when it cannot even
    be opened."""
    match connector:
        case Connector.HL7V2:
            return [parse_hl7(raw, settings, received_at)]
        case Connector.FHIR:
            return parse_fhir(raw, settings, received_at)
        case Connector.CSV:
            try:
                return [parse_row(raw, settings, received_at)]
            except FileRejected:
                return []
        case _:
            assert_never(connector)
