"""``accanto demo``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from server.cli.common import data_option, run
from server.demo import run_demo
from server.logs import configure_logging


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default 8080; 0 takes a free one.")
@click.option("--nodes", type=click.IntRange(1, 4), default=1, help="Processes; default 1.")
@click.option("--json", "is_json", is_flag=True, help="One JSON line on stdout when ready.")
@click.option("--log-level", envvar="ACCANTO_LOG_LEVEL", default="WARNING", show_default=True)
@data_option
def demo(
    port: int | None, nodes: int, data_dir: Path | None, is_json: bool, log_level: str
) -> None:
    """A demonstration with invented people, in a fresh folder.

    The folder is demo-data/<date and time>; --data takes another, or goes on with an earlier
    demonstration. It stays after the stop.

    Several nodes share a PostgreSQL and a Valkey that are started with them. One that is killed is
    not started again.
    """
    configure_logging(log_level)
    run(run_demo(data_dir, port, nodes, is_json=is_json, now=datetime.now(UTC)))
