"""What the project promises of itself: sizes, one place for settings, documents that are true."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cup.csvfile.mapping import _NAMES
from server.settings import ENVIRONMENT_PREFIX, Settings
from server.sources import parse_settings

ROOT = Path(__file__).parent.parent
LONGEST_MODULE = 350
ONE_FILE_ON_PURPOSE = ROOT / "server" / "tlog" / "verify.py"
"""It goes to outsiders alone."""
LONGEST_FUNCTION = 40
SOURCES = sorted(
    path
    for folder in ("signaling", "recordings", "server")
    for path in (ROOT / folder).rglob("*.py")
)
MIGRATIONS = ROOT / "server" / "migrations" / "versions"
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("files", "pythonhosted", "org"), ("pypi", "org"), ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"), ("proxy", "golang", "org"), ("index", "crates", "io"),
        ("deb", "debian", "org"), ("archive", "ubuntu", "com"),
    )
)  # fmt: skip


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.parent != MIGRATIONS],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_module_is_short_and_says_what_it_is(path: Path) -> None:
    source = path.read_text()
    long = [
        f"{function.name}: {function.end_lineno - function.lineno + 1}"
        for function in functions_of(path)
        if function.end_lineno is not None
        and function.end_lineno - function.lineno >= LONGEST_FUNCTION
    ]

    assert len(source.splitlines()) <= LONGEST_MODULE or path == ONE_FILE_ON_PURPOSE
    assert long == []
    assert not source.strip() or ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_settings_looks_at_the_environment(path: Path) -> None:
    names = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }

    assert path.name == "settings.py" or not names & {"environ", "getenv", "putenv"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_cryptography_stays_in_its_places(path: Path) -> None:
    allowed = {"server/keyring/wrapping.py", "recordings/vault.py", "server/report/gateways.py"}
    signing = ("certificates", "pades", "pkcs11", "pkcs12")
    allowed |= {f"server/signing/{name}.py" for name in signing}
    allowed |= {"server/demo/signers.py", "server/tlog/note.py", "recordings/cms.py"}

    has_import = re.search(r"^(?:from|import) cryptography", path.read_text(), re.MULTILINE)

    assert has_import is None or str(path.relative_to(ROOT)) in allowed


def test_csv_columns_of_the_readme_are_those_that_are_read() -> None:
    readme = (ROOT / "README.md").read_text()
    listed = readme.split("<!-- csv -->")[1].split("<!-- /csv -->")[0]

    assert re.findall(r"`(\w+)`", listed) == [names[0] for names in _NAMES.values()]


def test_settings_of_the_readme_are_the_settings() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    rows = {
        cells[0].strip("`"): cells[1:]
        for line in table.strip().splitlines()[2:]
        for cells in [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]]
    }

    assert set(rows) == {f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        row = " ".join(rows[f"{ENVIRONMENT_PREFIX}{name.upper()}"]).replace("`", "")
        assert (field.description or "").replace("`", "") in row


def test_example_of_a_source_in_the_link_document_is_valid() -> None:
    example = (ROOT / "server" / "cup" / "LINK.md").read_text().split("```json")[1].split("```")[0]

    settings = parse_settings(example)

    assert None not in (settings.listener, settings.poller, settings.outgoing)


def test_changelog_has_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_publiccode_tells_the_same_as_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    publiccode = (ROOT / "publiccode.yml").read_text()

    assert project["license"] == "EUPL-1.2"
    assert re.search(r"^  license: EUPL-1\.2$", publiccode, re.MULTILINE)
    assert f"\nsoftwareVersion: {project['version']}\n" in publiccode


def test_readme_names_only_what_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z]+)", readme)) <= targets
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert link.startswith("http") or (ROOT / link).exists(), link


def test_no_tracked_file_names_a_package_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in tracked_files()
        for text in [path.read_bytes()]
        for host in REGISTRIES
        if host.encode() in text
    ]

    assert found == []


def test_no_source_is_left_for_later() -> None:
    marks = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    found = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path.suffix in {".py", ".js", ".html", ".css"} and marks.search(path.read_text())
    ]

    assert found == []
