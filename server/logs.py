"""Set-up of the process log: one line an event, ids only, on standard error."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: str) -> None:
    """Send every logger to standard error; access lines of aiohttp stay off."""
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
    logging.getLogger("aiohttp.access").disabled = True
    logging.getLogger("alembic").setLevel(logging.WARNING)
