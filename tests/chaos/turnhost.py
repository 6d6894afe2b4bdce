"""A coturn with the configuration that ``accanto turn-config`` writes, on a test host.

The hosts' own addresses are private, which the configuration denies, so the relay has public ones
that exist in its namespace only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.certificates import Authority, Certificate
from tests.chaos.hosts import Host, run
from tests.valkeys import BINARY

RELAY_V4: Final = "11.12.13.14"
RELAY_V6: Final = "2a01:4f8::7"
TURN_PORT: Final = 3478
TLS_PORT: Final = 443
SECRET: Final = "a-secret-of-this-test-only"
VALKEY_URL: Final = "valkey://accanto:password-of-accanto@127.0.0.1:6379"
URLS: Final = {
    "udp": f"turn:{RELAY_V4}:{TURN_PORT}?transport=udp",
    "tcp": f"turn:{RELAY_V4}:{TURN_PORT}?transport=tcp",
    "tls": f"turns:{RELAY_V4}:{TLS_PORT}?transport=tcp",
}
_ROOT: Final = Path(__file__).parents[2]
_VALKEY_CONF: Final = _ROOT / "server/samples/turn/valkey-turn.conf"


def give_public_addresses(host: Host) -> None:
    run(*host.inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
    run("ip", "-n", host.namespace, "addr", "add", f"{RELAY_V4}/32", "dev", "eth0")
    run("ip", "-n", host.namespace, "addr", "add", f"{RELAY_V6}/128", "dev", "lo", "nodad")


def environment(settings: Mapping[str, str]) -> list[str]:
    """``env`` and the settings, to stand before a command."""
    return ["env", *(f"ACCANTO_{name}={value}" for name, value in settings.items())]


def accanto(host: Host, settings: Mapping[str, str], *arguments: str) -> str:
    """What a command says, whether all is well or not."""
    command = Path(sys.executable).parent / "accanto"
    done = subprocess.run(
        [*host.inside, *environment(settings), command, *arguments], capture_output=True, text=True
    )
    return done.stdout + done.stderr


def issue_certificate(folder: Path) -> Certificate:
    return Authority(folder, "authority").issue("turn", RELAY_V4)


@contextmanager
def running_valkey(host: Host, folder: Path) -> Iterator[None]:
    """The sample's Valkey, with its rights."""
    process = subprocess.Popen(
        [*host.inside, BINARY, _VALKEY_CONF], cwd=folder, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_coturn(
    host: Host,
    folder: Path,
    settings: Mapping[str, str],
    certificate: Certificate | None = None,
) -> Iterator[None]:
    """Runs it as the packaged service would, until the block ends."""
    if shutil.which("turnserver") is None:
        raise RuntimeError("The chaos checks need the package coturn")
    path = folder / "turnserver.conf"
    arguments = ["--address", RELAY_V4, "--address", RELAY_V6, "--output", str(path)]
    if certificate:
        arguments += ["--cert", str(certificate.certificate), "--tls-port", str(TLS_PORT)]
        arguments += ["--key", str(certificate.private_key)]
    if "TURN_VALKEY_URL" in settings:
        password = folder / "password"
        password.write_text("password-of-coturn")
        arguments += ["--valkey-password-file", str(password)]
    said = accanto(host, settings, "turn-config", *arguments)
    assert path.exists(), said
    process = subprocess.Popen(
        [*host.inside, "turnserver", "-c", path, f"--pidfile={folder / 'turn.pid'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(host)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(host: Host) -> None:
    """It listens on TCP once it is up."""
    code = (
        "import socket, time\n"
        "end = time.monotonic() + 15\n"
        "while time.monotonic() < end:\n"
        "    try: socket.create_connection(('%s', %d)).close(); break\n"
        "    except OSError: time.sleep(0.05)\n"
        "else: raise SystemExit('coturn does not listen')\n"
    )
    run(*host.inside, sys.executable, "-c", code % (RELAY_V4, TURN_PORT))
