"""One CDA2 document as bytes."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from server.report.cda.body import add_body
from server.report.cda.header import add_header
from server.report.content import ReportContent


def render_cda(content: ReportContent) -> bytes:
    """UTF-8 without a byte order mark; the same bytes for the same content.

    ``document.set_id`` is the id of the first version, which national rules want (ERRORE-8).
    """
    root = ET.Element(
        "ClinicalDocument",
        {"xmlns": "urn:hl7-org:v3", "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"},
    )
    add_header(root, content)
    add_body(root, content)
    text = ET.tostring(root, encoding="unicode", short_empty_elements=True)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode() + b"\n"
