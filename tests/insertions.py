"""Rules about elements that a document of ours never has (a data enterer, coded allergies, drugs…).

Each is reported once such an element is put in badly: so that the rules are known to look, and a
later release that writes one of these elements finds its rules here.
"""

from __future__ import annotations

from typing import Final

from lxml import etree

from tests.mutations import ACT, PROCEDURE, TEMPLATES, Mutation, append, full, section

CF: Final = "2.16.840.1.113883.2.9.4.3.2"


def _after(path: str, xml: str) -> Mutation:
    """An element put where the header may have it."""
    return full(path, lambda node: node.addnext(etree.fromstring(xml)))


def _entry(code: str, xml: str) -> Mutation:
    return full(section(code), append(f"<entry>{xml}</entry>"))


def _enterer(entity: str, time: str = '<time value="2026"/>') -> Mutation:
    xml = f"<dataEnterer>{time}<assignedEntity>{entity}</assignedEntity></dataEnterer>"
    return _after("author", xml)


def _recipient(person: str) -> Mutation:
    return _after(
        "custodian",
        "<informationRecipient><intendedRecipient><informationRecipient>"
        f"{person}</informationRecipient></intendedRecipient></informationRecipient>",
    )


def _history(xml: str) -> Mutation:
    return _entry("11329-0", xml)


def _problem(relation: str) -> Mutation:
    """Inside a problem of the history."""
    return _history(f"<observation><entryRelationship>{relation}</entryRelationship></observation>")


def _family(observation: str) -> Mutation:
    return _history(f"<organizer><component>{observation}</component></organizer>")


def _allergy(xml: str) -> Mutation:
    return _entry("48765-2", f'<act classCode="ACT" moodCode="EVN">{xml}</act>')


def _intolerance(xml: str) -> Mutation:
    return _allergy(f"<entryRelationship><observation>{xml}</observation></entryRelationship>")


def _relation(kind: str, xml: str) -> Mutation:
    return _intolerance(f'<entryRelationship typeCode="{kind}">{xml}</entryRelationship>')


def _taken(product: str) -> Mutation:
    return _entry(
        "10160-0",
        '<substanceAdministration classCode="SBADM" moodCode="EVN"><consumable>'
        f"<manufacturedProduct>{product}</manufacturedProduct></consumable>"
        "</substanceAdministration>",
    )


def _advised(xml: str) -> Mutation:
    return _entry(
        "93341-6",
        f'<substanceAdministration classCode="SBADM" moodCode="INT">{xml}'
        "</substanceAdministration>",
    )


def _done(xml: str) -> Mutation:
    """Another kind of item among what was done."""
    return full(ACT, append(f"<entryRelationship>{xml}</entryRelationship>"))


def _given(xml: str) -> Mutation:
    return _done(f"<substanceAdministration>{xml}</substanceAdministration>")


_WRONG_ID: Final = '<templateId root="1.2.3"/>'
_SUPPLY: Final = "<entryRelationship><supply/></entryRelationship>"
_NOTHING: Final = "<entryRelationship><act/></entryRelationship>"
_DEVICELESS: Final = "<participant><participantRole/></participant>"
_MATERIAL: Final = (
    '<manufacturedMaterial><code codeSystem="2.16.840.1.113883.2.9.6.1.5"><translation'
    ' codeSystem="1.2.3"/></code></manufacturedMaterial>'
)
_PRODUCT: Final = "<consumable><manufacturedProduct>{}</manufacturedProduct></consumable>"
_RELATED: Final = '<entryRelationship typeCode="{}"><{}/></entryRelationship>'
_TWO_PROBLEMS: Final = "".join(
    f'<entryRelationship><observation><templateId root="{TEMPLATES}.{number}"/></observation>'
    "</entryRelationship>"
    for number in (136, 136, 137, 137)
)
_TWO_FAMILY: Final = "".join(
    f'<entryRelationship><observation><code code="{code}"/></observation></entryRelationship>'
    for code in ("35267-4", "35267-4", "39016-1", "39016-1")
)

_INSERTED: Final[dict[str, Mutation]] = {
    "23": _enterer(f'<id root="{CF}" extension="BNCNNA75T50D612K"/>', ""),
    "24": _enterer('<id root="1.2.3" extension="1"/>'),
    "25": _enterer("<assignedPerson/>"),
    "26": _enterer("<assignedPerson><name><family>x</family></name></assignedPerson>"),
    "35": full(
        "componentOf/encompassingEncounter/effectiveTime",
        lambda node: node.addnext(
            etree.fromstring(
                "<responsibleParty><assignedEntity><assignedPerson><name><family>x</family></name>"
                "</assignedPerson></assignedEntity></responsibleParty>"
            )
        ),
    ),
    "47": _after("participant/associatedEntity/id", '<addr use="WP"><country/></addr>'),
    "53": _recipient(""),
    "54": _recipient("<name><family>x</family></name>"),
    "b17": full(section("11329-0"), append("<entry><organizer/><organizer/></entry>")),
    "b21": full(section("48765-2"), append("<entry/><entry/>")),
    "b43": _history("<act/>"),
    "b44": _history(f"<observation>{_WRONG_ID}</observation>"),
    "b45": _history("<observation/>"),
    "b46": _history("<observation/>"),
    "b47": _history("<observation/>"),
    "b48": _history("<observation/>"),
    "b49": _history("<observation/>"),
    "b50": _history(f"<observation>{_TWO_PROBLEMS}</observation>"),
    "b51": _history(f"<observation>{_TWO_PROBLEMS}</observation>"),
    "b52": _history(f"<organizer>{_WRONG_ID}</organizer>"),
    "b53": _history("<organizer/>"),
    "b54": _history("<organizer/>"),
    "b55": _history("<organizer/>"),
    "b56": _history("<organizer/>"),
    "b57": _history("<organizer/>"),
    "b58": _history(
        "<organizer><subject><relatedSubject><subject><name/></subject></relatedSubject></subject>"
        "</organizer>"
    ),
    **{f"b{number}": _family("<observation/>") for number in (59, 60, 61, 62, 63, 64)},
    **{
        f"b{number}": _family(f"<observation>{_TWO_FAMILY}</observation>")
        for number in (65, 66, 67, 68, 69)
    },
    "b70": _family(
        "<observation><entryRelationship><observation/></entryRelationship></observation>"
    ),
    "b71": _problem("<observation/>"),
    "b72": _problem('<observation><code code="89261-2"/></observation>'),
    "b73": _problem('<observation><code code="33999-4"/></observation>'),
    "b74a": _problem('<observation><code code="89261-2"/></observation>'),
    "b74b": _problem('<observation><code code="89261-2"/><value/></observation>'),
    "b75": _problem('<observation><code code="89261-2"/><value/></observation>'),
    "b76": _problem('<observation><code code="33999-4"/><value/></observation>'),
    "b77": _problem('<observation><code code="33999-4"/><value/></observation>'),
    "b78": _entry("48765-2", "<act/>"),
    "b79": _allergy(_WRONG_ID),
    **{f"b{number}": _allergy("") for number in (80, 81, 82, 85)},
    "b83": _allergy('<statusCode code="completed"/>'),
    "b84": _intolerance(_WRONG_ID),
    "b86": _intolerance("<text/><text/>"),
    **{f"b{number}": _intolerance("") for number in (87, 88, 89, 90, 91)},
    "b92": _intolerance(_RELATED.format("SUBJ", "observation") * 2),
    "b93": _intolerance(_RELATED.format("REFR", "observation") * 2),
    "b94": _intolerance(_RELATED.format("SUBJ", "act") * 2),
    "b95": _intolerance('<participant typeCode="SBJ"/>'),
    "b96": _intolerance('<participant typeCode="CSM"/>'),
    **{f"b{number}": _relation("MFST", "<observation/>") for number in (97, 98, 99, 100)},
    "b101": _relation("MFST", "<observation><value/></observation>"),
    **{f"b{number}": _relation("SUBJ", "<observation/>") for number in (102, 103, 105)},
    "b104": _relation("SUBJ", "<observation><text/></observation>"),
    **{f"b{number}": _relation("REFR", "<observation/>") for number in (106, 107, 108)},
    **{f"b{number}": _relation("SUBJ", "<act/>") for number in (109, 110, 111)},
    "b112": _entry("10160-0", "<act/>"),
    "b113": _taken(_WRONG_ID),
    "b114": _taken(""),
    "b115": _taken(""),
    "b116": _taken(_MATERIAL),
    "b117": _entry("30954-2", "<act/>"),
    "b118": _entry("30954-2", "<observation/>"),
    "b119": _entry("30954-2", "<observationMedia/>"),
    "b125": _done(f"<observation>{_DEVICELESS}</observation>"),
    "b126": _done(f"<observation>{_SUPPLY}</observation>"),
    "b130": full(PROCEDURE, append(_DEVICELESS)),
    "b131": full(PROCEDURE, append(_DEVICELESS)),
    "b132": full(PROCEDURE, append(_SUPPLY)),
    "b136": _given(""),
    "b137": _given(_PRODUCT.format(_WRONG_ID)),
    "b138": _given(_PRODUCT.format("")),
    "b139": _given(_PRODUCT.format("")),
    "b140": _given(_PRODUCT.format(_MATERIAL)),
    "b141": _given(_DEVICELESS),
    "b142": _given(_SUPPLY),
    "b143": _given(_NOTHING * 2),
    "b144": _given(_NOTHING),
    "b145": _given(_NOTHING),
    "b146": _done(f"<act>{_DEVICELESS}</act>"),
    "b147": _done(f"<act>{_SUPPLY}</act>"),
    "b148": _done("<act/>"),
    "b149": _done("<act/>"),
    "b153": _entry("80615-8", "<observation/>"),
    "b154": _entry("80615-8", "<act/>"),
    "b155": _entry("93341-6", "<act/>"),
    "b156": _advised(_WRONG_ID),
    **{f"b{number}": _advised("") for number in (157, 158, 159, 162)},
    "b160": _advised("<approachSiteCode/><approachSiteCode/>"),
    "b161": _advised(_PRODUCT.format(_WRONG_ID)),
    "b163": _advised(_PRODUCT.format(_MATERIAL)),
    "b164": _advised("<entryRelationship/>"),
    "b165": _advised("<entryRelationship><observation/></entryRelationship>"),
    "b166": _advised(_SUPPLY),
    "b167": _advised("<participant/>"),
    "b168": _advised("<participant/>"),
}  # fmt: skip

INSERTED: Final = {f"ERRORE-{rule}": one for rule, one in _INSERTED.items()}
