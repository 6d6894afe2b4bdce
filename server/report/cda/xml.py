"""Elements of a CDA2: tags, attributes and texts; escaping is :mod:`xml.etree.ElementTree`'s.

Names have no namespace here: the root element declares HL7's as the default one, so that a plain
tag name finds every element (``XML-PREFIX`` of the gateway).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from xml.etree import ElementTree as ET

from server.i18n import ROME
from server.report.cda import rules
from server.report.cda.rules import Root
from server.report.content import Address
from server.report.texts import clean, clean_line

Element = ET.Element


def add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    """A child; attributes whose value is empty are left out."""
    told = {name.rstrip("_"): clean_line(value) for name, value in attributes.items()}
    child = ET.SubElement(parent, tag, {name: value for name, value in told.items() if value})
    if text:
        child.text = clean(text)
    return child


def add_id(parent: Element, root: Root, extension: str, tag: str = "id") -> Element:
    """An II; ``extension`` is unique under ``root``."""
    return add(
        parent, tag, root=root.oid, extension=extension, assigningAuthorityName=root.authority
    )


def add_unknown(parent: Element, tag: str) -> Element:
    return add(parent, tag, nullFlavor="UNK")


def add_loinc(parent: Element, code: str, display: str) -> Element:
    return add(
        parent,
        "code",
        code=code,
        codeSystem=rules.LOINC,
        codeSystemName="LOINC",
        displayName=display,
    )


def add_period(parent: Element, start: datetime, end: datetime) -> Element:
    period = add(parent, "effectiveTime")
    add(period, "low", value=moment(start))
    add(period, "high", value=moment(end))
    return period


def add_known(parent: Element, tag: str, text: str) -> None:
    """A child that must be there (ERRORE-15 and its like): unknown where the text is empty."""
    if clean_line(text):
        add(parent, tag, clean_line(text))
    else:
        add_unknown(parent, tag)


def add_optional(parent: Element, tag: str, text: str) -> None:
    if clean_line(text):
        add(parent, tag, clean_line(text))


def add_address(parent: Element, address: Address, use: str) -> None:
    """Nothing where nothing is known of it."""
    if address == Address():
        return
    element = add(parent, "addr", use=use)
    add_known(element, "country", address.country)
    add_optional(element, "county", address.province)
    add_known(element, "city", address.city)
    add_optional(element, "postalCode", address.postal_code)
    add_known(element, "streetAddressLine", address.street)


def add_name(parent: Element, family: str, given: str, title: str = "") -> None:
    name = add(parent, "name")
    add_known(name, "family", family)
    add_known(name, "given", given)
    add_optional(name, "prefix", title)


def add_phone(parent: Element, number: str, use: str) -> None:
    dialled = "".join(char for char in number if char in "+0123456789")
    if dialled:
        add(parent, "telecom", use=use, value=f"tel:{dialled}")


def add_paragraphs(parent: Element, lines: Iterable[str]) -> None:
    for line in lines:
        add(parent, "paragraph", line)


def moment(when: datetime) -> str:
    """A TS with the offset of Europe/Rome: ``20261122100530+0100``."""
    return f"{when.astimezone(ROME):%Y%m%d%H%M%S%z}"
