"""``accanto check``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from server.check import check_installation
from server.cli.common import data_option, json_option, run
from server.findings import Level
from server.logs import configure_logging
from server.settings import load_settings

_COLOURS: Final = {Level.GOOD: "green", Level.WARNING: "yellow", Level.BAD: "red"}
_MARKS: Final = {Level.GOOD: "ok", Level.WARNING: "note", Level.BAD: "FAILS"}


@click.command()
@json_option
@data_option
def check(is_json: bool, data_dir: Path | None) -> None:
    """Say what is in order and what is not covered; fails when something must be mended."""
    configure_logging("CRITICAL")
    findings = run(check_installation(load_settings(data_dir), datetime.now(UTC)))
    for finding in findings:
        if is_json:
            click.echo(json.dumps({"level": finding.level.value, "text": finding.text}))
            continue
        mark = click.style(f"{_MARKS[finding.level]:>5}", fg=_COLOURS[finding.level])
        click.echo(f"{mark}  {finding.text}")
    if any(finding.level is Level.BAD for finding in findings):
        raise SystemExit(1)
