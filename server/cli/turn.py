"""``accanto turn-config``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

import click

from server.cli.common import data_option
from server.errors import CommandFailed
from server.settings import load_settings
from server.turn.config import (
    Certificate,
    Listener,
    TurnServer,
    parse_listener,
    render_config,
)


def _listeners(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[Listener, ...]:
    try:
        return tuple(parse_listener(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_PORT = click.IntRange(1, 65535)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="turn-config")
@click.option(
    "--address",
    "listeners",
    multiple=True,
    required=True,
    callback=_listeners,
    help="Address of the TURN server; PUBLIC/PRIVATE behind a 1:1 NAT. Repeatable, IPv4 and IPv6.",
)
@click.option("--port", type=_PORT, default=3478, show_default=True, help="For UDP and TCP.")
@click.option("--tls-port", type=_PORT, default=5349, show_default=True, help="5349 or 443.")
@click.option("--cert", type=_FILE, help="PEM chain, as the TURN server sees it. None: no TLS.")
@click.option("--key", type=_FILE, help="PEM key of the certificate.")
@click.option("--first-relay-port", type=_PORT, default=49152, show_default=True)
@click.option("--last-relay-port", type=_PORT, default=65535, show_default=True)
@click.option(
    "--total-quota", type=click.IntRange(4), default=1200, show_default=True, help="Allocations."
)
@click.option(
    "--bytes-per-second",
    type=click.IntRange(16_000),
    default=500_000,
    show_default=True,
    help="Of one allocation, each way.",
)
@click.option(
    "--allow-peer",
    "allowed_peers",
    multiple=True,
    help="Private address that may be reached: the echo test or the recorder. Repeatable.",
)
@click.option(
    "--valkey-password-file",
    type=click.File(encoding="utf-8"),
    help="Password of Valkey's default user, as which coturn reads its secrets.",
)
@click.option("--output", type=_FILE, help="Write here, readable by the owner only.")
@data_option
def turn_config(
    listeners: tuple[Listener, ...],
    cert: Path | None,
    key: Path | None,
    valkey_password_file: TextIO | None,
    output: Path | None,
    data_dir: Path | None,
    **values: int | tuple[str, ...],
) -> None:
    """Print a hardened turnserver.conf for coturn, with the secrets of the settings.

    It goes to /etc/turnserver.conf, owned by the user turnserver. 'accanto check' then tries the
    server.
    """
    if (cert is None) != (key is None):
        raise CommandFailed("Give --cert and --key, or neither of them")
    password = valkey_password_file.read().strip() if valkey_password_file else ""
    server = TurnServer(
        listeners,
        Certificate(cert, key) if cert and key else None,
        valkey_password=password,
        **values,  # type: ignore[arg-type] # click has made each of its field's type
    )
    text = render_config(load_settings(data_dir), server)
    if output is None:
        click.echo(text, nl=False)
        return
    _write_private(output, text)
    click.echo(f"Wrote {output}, readable by its owner only.")


def _write_private(path: Path, text: str) -> None:
    """Never a moment in which others may read it."""
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(file, "w", encoding="utf-8") as out:
        out.write(text)
