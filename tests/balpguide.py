"""The rules of IHE's Basic Audit Log Patterns from the guide itself: its FHIR Shorthand.

``python -m tests.balpguide GUIDE`` takes a copy of github.com/IHE/ITI.BasicAudit, nothing of which
is here, and checks events of all acts against it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.balp import DCM, OWN, PROFILES, SCT, Code, Profile, find_problems
from tests.test_sessionexport import events_of_all_acts

_BLOCK = re.compile(
    r"\n(?=(?:Alias|CodeSystem|Extension|Instance|Invariant|Profile|RuleSet|ValueSet): )"
)
_CARD = re.compile(r"(\d*)\.\.(\d+|\*|)$")
_RULE = re.compile(r"\* (?P<path>[\w.\[\]]+) (?P<rest>.+)$")


def read_guide(folder: Path) -> dict[str, Profile]:
    """The profiles by the last words of their id; parents are folded in."""
    text = "\n".join(path.read_text() for path in sorted(folder.glob("input/fsh/*.fsh")))
    sets = dict(_value_sets(text))
    found: dict[str, Profile] = {}
    names: dict[str, Profile] = {}
    for block in _BLOCK.split(text):
        if not block.startswith("Profile:"):
            continue
        heads = {
            key: " ".join(rest) for line in block.splitlines()[:4] for key, *rest in [line.split()]
        }
        profile = Profile(heads["Id:"].removeprefix("IHE.BasicAudit."), heads["Parent:"])
        names[heads["Profile:"]] = profile
        _read_rules(profile, block, sets)
        found[profile.name] = profile
    for profile in found.values():
        if parent := names.get(profile.parent):
            profile.parts = {**parent.parts, **profile.parts}
    return found


def _value_sets(text: str) -> Iterator[tuple[str, frozenset[Code]]]:
    blocks = [block.split(None, 2) for block in _BLOCK.split(text) if block.count("\n")]
    codes = {name: body for kind, name, body in blocks if kind == "CodeSystem:"}
    for name, body in ((name, body) for kind, name, body in blocks if kind == "ValueSet:"):
        listed = {_code(word) for word in re.findall(r"^\* (http\S+#\S+)", body, re.MULTILINE)}
        for system in re.findall(r"codes from system (\w+)", body):
            own = re.findall(r"^\* #(\S+)", codes.get(system, ""), re.MULTILINE)
            listed |= {(f"{OWN}/{system}", code) for code in own}
        yield name, frozenset(listed)


def _code(word: str) -> Code:
    system, _, code = word.rpartition("#")
    if system and ":" not in system:
        system = {"DCM": DCM, "SCT": SCT}.get(system, f"{OWN}/{system}")
    return system, code


def _read_rules(profile: Profile, block: str, sets: Mapping[str, frozenset[Code]]) -> None:
    block = re.sub(r"\s//.*", "", block)
    block = re.sub(r"contains\s+", "contains ", re.sub(r"\band\s+(?=\w+ \d)", "and ", block))
    for line in block.splitlines():
        if inserted := re.match(
            r"\* insert requireAtLeastOneMatch\((\w+), (\w+), (\S+?) ?\)", line
        ):
            path, slice_, pattern = inserted.groups()
            part = profile.part(f"{path}[{slice_}]")
            part.least, part.most, part.codes = 1, 1, frozenset({_code(pattern)})
        elif rule := _RULE.match(line.strip()):
            _read_rule(profile, rule["path"], rule["rest"].strip(), sets)


def _read_rule(profile: Profile, path: str, rest: str, sets: Mapping[str, frozenset[Code]]) -> None:
    if rest.startswith("contains "):
        for slice_, least, most in re.findall(r"(\w+) (\d+)\.\.(\d+|\*)", rest):
            part = profile.part(f"{path}[{slice_}]")
            part.least, part.most = int(least), None if most == "*" else int(most)
    elif card := _CARD.match(rest.removesuffix(" MS")):
        part = profile.part(path)
        part.least = int(card[1] or 0)
        part.most = int(card[2]) if card[2].isdigit() else part.most
    elif coded := re.match(r"= (\S*#\S+)", rest):
        profile.part(path).codes = frozenset({_code(coded[1])})
    elif rest in ("= true", "= false"):
        profile.part(path).value = rest == "= true"
    elif bound := re.match(r"from (\w+)(?: \(required\))?$", rest):
        profile.part(path).codes = sets[bound[1]]
    elif only := re.match(r"only Reference\((\w+)\)", rest):
        profile.part(path).targets = frozenset({only[1]})
    elif rest == "obeys val-audit-source":
        profile.part(path).is_observer = True
    elif rest == "^slicing.rules = #closed":
        profile.part(path).is_closed = True


def _main(folder: str) -> int:
    """Our events against the guide's own rules; the exit status is 0 when all conform."""
    guide, bad, followed = read_guide(Path(folder)), 0, set()
    for act, event in events_of_all_acts():
        for address in event.get("meta", {}).get("profile", []):
            name = address.rpartition("IHE.BasicAudit.")[2]
            followed.add(name)
            for problem in find_problems(guide[name], event):
                bad += 1
                print(f"{act}: {name}: {problem}")
    print(f"{len(followed)} of {len(guide)} patterns followed; {bad} problems")
    return int(bool(bad) or followed != set(PROFILES))


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
