"""The tools themselves take the samples: what :mod:`tests.test_samples` reads, they parse."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.test_samples import CADDY, HAPROXY, NGINX
from tests.test_turn_samples import HAPROXY as TURN_HAPROXY
from tests.test_turn_samples import NGINX as TURN_NGINX


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """A folder with the certificates that the samples name."""
    issued = Authority(tmp_path, "authority").issue("visite.example.it")
    chain, key = issued.certificate.read_bytes(), issued.private_key.read_bytes()
    (tmp_path / "fullchain.pem").write_bytes(chain)
    (tmp_path / "privkey.pem").write_bytes(key)
    (tmp_path / "accanto.pem").write_bytes(chain + key)
    return tmp_path


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _move(path: Path, tls: Path) -> Path:
    text = path.read_text().replace("/etc/accanto-tls", str(tls))
    moved = tls / path.name
    moved.write_text(text.replace("/var/log/nginx", str(tls)))
    return moved


def test_nginx_takes_the_sample(tls: Path) -> None:
    sample = _move(NGINX, tls)
    whole = tls / "whole.conf"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    whole.write_text(
        f"pid {tls}/nginx.pid; error_log {tls}/e.log; events {{}} "
        "http { access_log off; "
        + "".join(f"{kind}_temp_path {tls}/{kind}; " for kind in kinds)
        + f"include {sample}; }}"
    )
    _run("nginx", "-t", "-c", whole)


def test_haproxy_takes_the_sample(tls: Path) -> None:
    _run("haproxy", "-c", "-f", _move(HAPROXY, tls))


def test_caddy_takes_the_sample() -> None:
    _run("caddy", "validate", "--adapter", "caddyfile", "--config", CADDY)


def test_nginx_takes_the_sample_for_turn(tmp_path: Path) -> None:
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    assert module.exists(), "install libnginx-mod-stream"
    whole = tmp_path / "nginx.conf"
    text = TURN_NGINX.read_text().replace("443;", "10443;")
    whole.write_text(
        f"load_module {module};\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/e.log;\n"
        f"events {{ }}\n{text}"
    )
    _run("nginx", "-t", "-c", whole)


def test_haproxy_takes_the_sample_for_turn() -> None:
    _run("haproxy", "-c", "-f", TURN_HAPROXY)
