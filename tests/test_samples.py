"""The samples do what they say: limits and names are those of the code, the tools accept them.

What matters is read here; the tools themselves are asked in ``tests/chaos/test_proxies.py``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.app import MAX_BODY_BYTES
from server.attachments.receiving import LONGEST_SECONDS
from server.auth import ROUTES
from server.cup.fhir.document import FILE_BYTES
from server.db import Database
from server.keyring import Keyring
from server.settings import Settings
from server.supervisor import EXIT_SECONDS
from server.uploads import LONGEST_UPLOAD_BYTES
from signaling.front import HEAD_WITHIN_SECONDS
from signaling.sockets import PING_AFTER_SECONDS
from tests.conftest import Cast
from tests.test_admin_pages import add_message, add_source
from tests.visitors import Site, site

__all__ = ["site"]

SAMPLES = Path(__file__).parents[1] / "server" / "samples"
NGINX, HAPROXY, CADDY = (
    SAMPLES / "web" / name for name in ("nginx.conf", "haproxy.cfg", "Caddyfile")
)
UNITS = sorted((SAMPLES / "systemd").iterdir())
ALERTS = SAMPLES / "prometheus" / "accanto-alerts.yml"
DASHBOARD = SAMPLES / "prometheus" / "grafana-dashboard.json"
FILES = "^/v/[^/]+/(files|still)$"
LONGEST_FORM_BYTES = Settings.model_fields["files_max_mb"].default * 1_000_000 + 100_000
_MULTIPLES = {"k": 1 << 10, "m": 1 << 20}


# ---- reverse proxies ---------------------------------------------------------------------


class Nginx:
    """A file of nginx as a tree: each directive with its words, blocks with what is in them."""

    def __init__(self, text: str) -> None:
        bare = re.sub(r"#.*", "", text)
        self._tokens = iter(re.findall(r"[{};]|\"[^\"]*\"|[^\s{};]+", bare))
        self.tree = self._read(is_inside=False)

    def _read(self, *, is_inside: bool) -> list[tuple[list[str], list[object]]]:
        found: list[tuple[list[str], list[object]]] = []
        words: list[str] = []
        for token in self._tokens:
            if token == ";":
                found.append((words, []))
                words = []
            elif token == "{":
                found.append((words, list(self._read(is_inside=True))))
                words = []
            elif token == "}":
                assert is_inside, "a block is closed that was not opened"
                assert words == [], f"a semicolon lacks after {words}"
                return found
            else:
                words.append(token.strip('"'))
        assert not is_inside, "a block is not closed"
        assert words == []
        return found


def _server_of_nginx() -> list[tuple[list[str], list[object]]]:
    """What is in the one server that passes people on."""
    servers = [inside for words, inside in Nginx(NGINX.read_text()).tree if words == ["server"]]
    (found,) = [inside for inside in servers if _values(inside, "ssl_certificate")]
    return found  # type: ignore[return-value]


def _values(block: object, name: str) -> list[list[str]]:
    return [words[1:] for words, _ in block if words[0] == name]  # type: ignore[attr-defined]


def _locations() -> dict[str, object]:
    return {words[-1]: inside for words, inside in _server_of_nginx() if words[0] == "location"}


def _bytes(text: str) -> int:
    return int(text[:-1]) * _MULTIPLES[text[-1]]


def test_nginx_passes_as_much_as_accanto_takes() -> None:
    server, locations = _server_of_nginx(), _locations()

    limits = {path: _values(inside, "client_max_body_size") for path, inside in locations.items()}
    assert _values(server, "client_max_body_size") == [["256k"]]
    assert _bytes("256k") == MAX_BODY_BYTES
    assert _bytes(limits["/desk/upload"][0][0]) > LONGEST_UPLOAD_BYTES
    assert _bytes(limits["/fhir"][0][0]) > FILE_BYTES
    assert _bytes(limits[FILES][0][0]) > LONGEST_FORM_BYTES


def test_nginx_writes_no_body_and_no_address_to_its_disk() -> None:
    server, locations = _server_of_nginx(), _locations()

    assert _values(server, "client_body_buffer_size") == _values(server, "client_max_body_size")
    for path in ("/desk/upload", "/fhir", FILES):
        assert _values(locations[path], "proxy_request_buffering") == [["off"]]
    assert _values(server, "proxy_max_temp_file_size") == [["0"]]
    everything = Nginx(NGINX.read_text()).tree
    servers = [inside for words, inside in everything if words == ["server"]]
    assert [_values(inside, "access_log") for inside in servers] == [[["off"]]] * 3


def test_nginx_opens_sockets_and_closes_figures() -> None:
    locations = _locations()

    headers = {words[0]: words[1] for words in _values(locations["/ws"], "proxy_set_header")}
    assert headers["Upgrade"] == "$http_upgrade"
    assert headers["Connection"] == "upgrade"
    assert headers["X-Forwarded-For"] == "$remote_addr"
    (silence,) = _values(locations["/ws"], "proxy_read_timeout")
    assert int(silence[0].removesuffix("s")) >= 2 * PING_AFTER_SECONDS
    for path in ("/metrics", "/readyz"):
        assert _values(locations[path], "return") == [["404"]]


def test_nginx_has_deadlines_and_leaves_headers_to_accanto() -> None:
    server = _server_of_nginx()

    (header,) = _values(server, "client_header_timeout")
    assert int(header[0].removesuffix("s")) <= HEAD_WITHIN_SECONDS
    assert _values(server, "client_body_timeout")
    headers = {words[0]: words[1] for words in _values(server, "proxy_set_header")}
    assert headers["X-Forwarded-For"] == "$remote_addr"
    assert _values(server, "add_header") == []


def _lines(path: Path) -> list[str]:
    bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in path.read_text().splitlines())
    return [line for line in bare if line]


def test_haproxy_says_the_same() -> None:
    lines = _lines(HAPROXY)
    limits = [int(found) for line in lines for found in re.findall(r"req.body_size gt (\d+)", line)]

    assert limits[0] > LONGEST_UPLOAD_BYTES
    assert limits[1] > FILE_BYTES
    assert limits[2] > LONGEST_FORM_BYTES
    assert limits[3] == MAX_BODY_BYTES
    assert f"acl is_file path_reg {FILES}" in lines
    assert f"timeout http-request {HEAD_WITHIN_SECONDS:.0f}s" in lines
    assert "http-request set-header X-Forwarded-For %[src]" in lines
    assert "option httpchk GET /readyz" in lines
    assert any("(metrics|readyz)" in line and "status 404" in line for line in lines)
    assert len([line for line in lines if line.startswith("server ")]) == 2
    assert not any(line.startswith(("log ", "option httplog")) for line in lines)
    assert "Strict-Transport" not in "".join(lines)


def test_caddy_says_the_same() -> None:
    lines = _lines(CADDY)
    text = "\n".join(lines)
    limits = [int(found) for found in re.findall(r"max_size (\d+)", text)]

    assert text.count("{") == text.count("}")
    assert limits[0] > LONGEST_UPLOAD_BYTES
    assert limits[1] > FILE_BYTES
    assert limits[2] > LONGEST_FORM_BYTES
    assert limits[3] == MAX_BODY_BYTES
    assert f"@file path_regexp {FILES}" in lines
    assert f"not path_regexp {FILES}" in lines
    assert f"read_body {LONGEST_SECONDS}s" in lines
    assert "@closed path /metrics /readyz" in lines
    assert "respond @closed 404" in lines
    assert "health_uri /readyz" in lines
    assert "header_up X-Forwarded-For {remote_host}" in lines
    assert f"read_header {HEAD_WITHIN_SECONDS:.0f}s" in lines
    assert not any(line.startswith("log") for line in lines)


async def test_proxies_let_the_files_of_patients_through(site: Site) -> None:
    taken = {
        route.path.replace("{locator}", "0123456789")
        for route in site.app[ROUTES]
        if route.method == "POST" and route.path in {"/v/{locator}/files", "/v/{locator}/still"}
    }

    assert len(taken) == 2
    assert all(re.search(FILES, path) for path in taken)


# ---- systemd -----------------------------------------------------------------------------


def _read_unit(path: Path) -> dict[str, list[str]]:
    """Each setting with its values; a repeated one has several."""
    found: dict[str, list[str]] = {}
    for line in _lines(path):
        if not line.startswith("["):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_service_ends_gently_and_can_do_little() -> None:
    unit = _read_unit(SAMPLES / "systemd" / "accanto.service")

    assert int(unit["TimeoutStopSec"][0]) > EXIT_SECONDS
    assert unit["KillSignal"] == ["SIGTERM"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["UMask"] == ["0077"]


def _commands() -> Iterator[list[str]]:
    for unit in UNITS:
        for line in _read_unit(unit).get("ExecStart", []):
            yield line.split()


def test_units_run_commands_that_exist() -> None:
    from click import Context

    from server.cli import main

    found = list(_commands())
    assert len(found) == 2
    for path, name, *options in found:
        assert path.endswith("/bin/accanto")
        command = main.get_command(Context(main), name)
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """The command need not be there; everything else must be as systemd wants it."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/accanto/.venv/bin/accanto", "/bin/true")
        if unit.suffix == ".conf":
            text += "\n[Service]\nExecStart=/bin/true\n"
        (tmp_path / unit.name.replace(".conf", ".service")).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *sorted(tmp_path.iterdir())],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "accanto" in line]
    assert said == []


# ---- figures -----------------------------------------------------------------------------


_METRIC = re.compile(r"\b(?:accanto|process)_[a-z_]+\b")


def _expressions() -> dict[str, str]:
    """What is asked of Prometheus, by who asks."""
    alerts = ALERTS.read_text()
    names = re.findall(r"- alert: (\w+)", alerts)
    asked = dict(zip(names, re.findall(r"^ +expr: (.+)$", alerts, re.M), strict=True))
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            asked[f"{panel['title']} {target['refId']}"] = target["expr"]
    return asked


async def test_every_figure_that_is_asked_for_exists(
    site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    source = await add_source(database, cast.toscana)
    await add_message(database, keyring, source)
    answer = await site.stranger.get("/metrics")
    families = list(text_string_to_metric_families(answer.text))
    exported = {family.name for family in families}
    exported |= {sample.name for family in families for sample in family.samples}
    labels = {label for family in families for sample in family.samples for label in sample.labels}

    asked = _expressions()
    assert len(asked) > 20
    for who, expression in asked.items():
        names = set(_METRIC.findall(expression))
        assert names | ({"up"} if "up{" in expression else set()), who
        assert names <= exported, who
    used = set(re.findall(r"\bby \((\w+)\)", " ".join(asked.values())))
    assert used <= labels
    shown = {
        word
        for text in (ALERTS.read_text(), DASHBOARD.read_text())
        for word in re.findall(r"{{\s*(?:\$labels\.)?(\w+)\s*}}", text)
    }
    assert shown - {"instance"} <= labels | {"value"}


def test_dashboard_is_one_that_grafana_imports() -> None:
    dashboard = json.loads(DASHBOARD.read_text())

    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${source}"}
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
