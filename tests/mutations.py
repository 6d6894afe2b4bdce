"""One change to a valid CDA2 for each national error rule about what our documents hold: the rule
must then report it. Rules about what they never hold are in :mod:`tests.insertions`.

Paths are of the document without its namespace; the first node they find is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree

Change = Callable[[Any], None]
TEMPLATES: Final = "2.16.840.1.113883.3.1937.777.63.10"


@dataclass(frozen=True)
class Mutation:
    """``case``: a name of the valid documents; ``path``: XPath of the node that changes."""

    case: str
    path: str
    change: Change

    def apply(self, root: Any) -> None:
        found = root.xpath(self.path)
        assert found, f"{self.case} has no {self.path}"
        self.change(found[0])


def drop(node: Any) -> None:
    node.getparent().remove(node)


def double(node: Any) -> None:
    node.addnext(copy.deepcopy(node))


def put(name: str, value: str) -> Change:
    return lambda node: node.set(name, value)


def unset(name: str) -> Change:
    def change(node: Any) -> None:
        del node.attrib[name]

    return change


def append(xml: str) -> Change:
    """Elements as the last children."""

    def change(node: Any) -> None:
        wrapped = f'<x xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">{xml}</x>'
        node.extend(list(etree.fromstring(wrapped)))

    return change


def full(path: str, change: Change) -> Mutation:
    return Mutation("every section", path, change)


def section(code: str, rest: str = "") -> str:
    return f"//section[code/@code='{code}']{rest}"


def _other_template(code: str) -> Mutation:
    return full(section(code, "/templateId"), put("root", "1.2.3"))


def _no_text(code: str) -> Mutation:
    return full(section(code, "/text"), drop)


ACT: Final = section("62387-6", "/entry/act")
PROCEDURE: Final = f"{ACT}/entryRelationship/procedure"
_NOTE: Final = f"{PROCEDURE}/entryRelationship"
_BRANCH: Final = f"{ACT}/entryRelationship/observation[templateId/@root='{TEMPLATES}.703']"
_DISCIPLINE: Final = f"{ACT}/entryRelationship/observation[templateId/@root='{TEMPLATES}.704']"
_FACILITY: Final = "componentOf/encompassingEncounter/location/healthCareFacility"
_CUSTODIAN: Final = "custodian/assignedCustodian/representedCustodianOrganization"
_PERSON: Final = "recordTarget/patientRole/patient"

_HEADER: Final[dict[str, Mutation]] = {
    "1": full("realmCode", drop),
    "2": full("realmCode", put("code", "US")),
    "3": full("templateId", drop),
    "4": full("templateId", unset("extension")),
    "5": full("code", put("code", "11488-4")),
    "6": full("confidentialityCode", put("code", "X")),
    "7": full("languageCode", drop),
    "8": full("setId", put("extension", "another")),
    "9": Mutation("version 2", "relatedDocument", drop),
    "10": Mutation("version 2", "relatedDocument", double),
    "11": full("recordTarget", double),
    "12": full("recordTarget/patientRole/id", put("root", "1.2.3")),
    "13": Mutation("team", "recordTarget/patientRole/id", drop),
    "14": full(
        "recordTarget/patientRole/id",
        lambda node: node.addnext(
            etree.fromstring('<id root="2.16.840.1.113883.2.9.2.90.4.1.1" extension="1"/>')
        ),
    ),
    "15": full("recordTarget/patientRole/addr/city", drop),
    "16": full(_PERSON, drop),
    "17": full(f"{_PERSON}/name", drop),
    "18": full(f"{_PERSON}/name/given", drop),
    "19": full(f"{_PERSON}/administrativeGenderCode", drop),
    "20": full(f"{_PERSON}/administrativeGenderCode", put("codeSystem", "1.2.3")),
    "21": full(f"{_PERSON}/birthTime", drop),
    "22": full(f"{_PERSON}/birthplace", drop),
    "27": full(f"{_CUSTODIAN}/name", drop),
    "28": full(f"{_CUSTODIAN}/addr/city", drop),
    "29": full("legalAuthenticator", drop),
    "30": full("legalAuthenticator/signatureCode", put("code", "X")),
    "32": full("legalAuthenticator/assignedEntity/assignedPerson/name", drop),
    "33": full("legalAuthenticator/assignedEntity/assignedPerson/name/given", drop),
    "34": full("componentOf", drop),
    "36": full("componentOf/encompassingEncounter/location", drop),
    "37": full(_FACILITY, drop),
    "38": full(f"{_FACILITY}/serviceProviderOrganization", unset("classCode")),
    "39": full(f"{_FACILITY}/serviceProviderOrganization/asOrganizationPartOf", drop),
    "40": full("inFulfillmentOf", drop),
    "41": full("author", double),
    "42": full("author/assignedAuthor/id", put("root", "1.2.3")),
    "43": full("author/assignedAuthor/assignedPerson/name", drop),
    "44": full("author/assignedAuthor/assignedPerson/name/given", drop),
    "45": full("participant/associatedEntity/id", drop),
    "48": full("participant/associatedEntity/associatedPerson/name", drop),
    "49": full("participant/associatedEntity/associatedPerson/name/given", drop),
    "50": full("inFulfillmentOf/order/priorityCode", put("codeSystem", "1.2.3")),
    "51": full("documentationOf/serviceEvent/code", put("code", "X")),
    "52": full("documentationOf/serviceEvent/code", put("codeSystem", "1.2.3")),
    "55": full(f"{_CUSTODIAN}/addr", put("use", "HP")),
    "56": full(f"{_CUSTODIAN}/addr/country", drop),
    "57": full("recordTarget/patientRole/telecom", unset("use")),
    "58": full(f"{_CUSTODIAN}/telecom", put("use", "HP")),
    "59": full("author/assignedAuthor/id", put("extension", "bncnna75t50d612k")),
    "60": full("//observation", put("classCode", "ACT")),
    "61": full("//observation", put("moodCode", "INT")),
    "62": full(f"{PROCEDURE}/statusCode", put("code", "new")),
    "63": full(f"{_CUSTODIAN}/name", append("<prefix>x</prefix>")),
    "64": full(f"{_PERSON}/name", append("<delimiter>x</delimiter>")),
    "65": full("documentationOf/serviceEvent/effectiveTime/high", put("value", "2000")),
    "66": full(f"{PROCEDURE}/code/originalText/reference", put("value", "")),
    "67": full(f"{_CUSTODIAN}/addr", unset("use")),
    "68": full("legalAuthenticator/assignedEntity/id", put("root", "1.2.3")),
    "69": full("legalAuthenticator/assignedEntity/id", double),
}  # fmt: skip

_BODY: Final[dict[str, Mutation]] = {
    "b1": full(section("62387-6", "/.."), drop),
    "b2": _other_template("62387-6"),
    "b3": _no_text("62387-6"),
    "b4": full(section("62387-6", "/entry[observationMedia]"), drop),
    "b5": full(section("62387-6", "/entry[observationMedia]"), double),
    "b6": full("//observationMedia/value", unset("representation")),
    "b7": full(section("47045-0", "/.."), drop),
    "b8": _other_template("47045-0"),
    "b9": _no_text("47045-0"),
    "b10": _other_template("29299-5"),
    "b11": _no_text("29299-5"),
    "b12": full(section("29299-5", "/entry"), double),
    "b13": full(section("29299-5", "/entry/observation/code"), put("code", "X")),
    "b14": full(section("29299-5", "/entry/observation/value"), put("codeSystem", "1.2.3")),
    "b15": _other_template("11329-0"),
    "b16": _no_text("11329-0"),
    "b18": full(section("48765-2", "/.."), double),
    "b19": _other_template("48765-2"),
    "b20": _no_text("48765-2"),
    "b22": full(section("10160-0", "/.."), double),
    "b23": _other_template("10160-0"),
    "b24": _no_text("10160-0"),
    "b25": _other_template("30954-2"),
    "b26": _no_text("30954-2"),
    "b27": _other_template("29545-1"),
    "b28": _no_text("29545-1"),
    "b29": _other_template("93126-1"),
    "b30": _no_text("93126-1"),
    "b31": _other_template("29548-5"),
    "b32": _no_text("29548-5"),
    "b33": _other_template("55110-1"),
    "b34": _no_text("55110-1"),
    "b35": _other_template("62385-0"),
    "b36": _no_text("62385-0"),
    "b37": _other_template("80615-8"),
    "b38": _no_text("80615-8"),
    "b39": _other_template("93341-6"),
    "b40": _no_text("93341-6"),
    "b41": full(section("62385-0", "/code"), put("code", "X")),
    "b42": full(section("48765-2", "/code"), put("code", "X")),
    "b120": full(ACT, put("classCode", "PROC")),
    "b121": full(f"{ACT}/effectiveTime", unset("value")),
    "b122": full(_BRANCH, drop),
    "b123": full(_DISCIPLINE, drop),
    "b124": full(PROCEDURE, drop),
    "b127": full(f"{_BRANCH}/templateId", put("root", "1.2.3")),
    "b128": full(f"{_BRANCH}/templateId", drop),
    "b129": full(f"{PROCEDURE}/code/originalText", drop),
    "b133": full(_NOTE, double),
    "b134": full(f"{_NOTE}/act/code", put("code", "X")),
    "b135": full(f"{_NOTE}/act/text", drop),
    "b150": full(section("29548-5", "/entry/observation"), drop),
    "b151": full(section("29548-5", "/entry/observation/code"), put("code", "X")),
    "b152": full(section("29548-5", "/entry/observation/value"), put("codeSystem", "1.2.3")),
}  # fmt: skip

MUTATIONS: Final = {f"ERRORE-{rule}": one for rule, one in {**_HEADER, **_BODY}.items()}
