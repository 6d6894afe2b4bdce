"""``accanto serve``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from server import admin
from server.cli.common import data_option, run
from server.errors import CommandFailed
from server.hygiene import close_memory
from server.listen import Place, check_port, serve
from server.logs import configure_logging
from server.settings import Settings, load_settings
from server.supervisor import LINE_OPTION, Line, Supervisor

logger = logging.getLogger(__name__)


@click.command(name="serve")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Processes; default 1.")
@click.option(LINE_OPTION, "line", type=int, hidden=True)
@data_option
def serve_command(workers: int, line: int | None, data_dir: Path | None) -> None:
    """Serve a data folder until Ctrl-C.

    The embedded SQLite database is made and migrated by itself; another one must have been
    migrated with 'accanto migrate'.

    SIGTERM ends without an error for anybody within 30 seconds; with several workers SIGHUP
    starts them anew, one after the other.
    """
    settings = load_settings(data_dir)
    configure_logging(settings.log_level)
    close_memory()
    if line is not None:
        run(_serve_as_child(settings, Line(line)))
    elif workers > 1:
        run(_supervise(settings, workers))
    else:
        run(_serve(settings))


async def _serve(settings: Settings) -> None:
    await _prepare(settings)
    await serve(settings)


async def _supervise(settings: Settings, workers: int) -> None:
    if not settings.valkey_url:
        raise CommandFailed("Several workers need a Valkey in common: set ACCANTO_VALKEY_URL")
    check_port(settings)
    await _prepare(settings)
    await Supervisor([sys.executable, *sys.argv], workers).run()


async def _serve_as_child(settings: Settings, line: Line) -> None:
    async with admin.open_database(settings):
        pass
    await serve(settings, place=Place(is_shared=True, line=line))


async def _prepare(settings: Settings) -> None:
    if not settings.database_url:
        await admin.prepare(settings)
    await admin.check_root_key(settings)
    for torn in await admin.check_logs(settings):
        logger.error("%s", torn.sentence)
