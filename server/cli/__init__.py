"""The command line: options and words only; the work is in the modules it calls.

Every command takes ``--data DIR`` (or ``ACCANTO_DATA_DIR``), ends with a status other than 0 on
failure, and then says why in a sentence.
"""

from __future__ import annotations

from typing import Final

import click

from server.cli.common import Commands

_MODULES: Final = {
    "appointments": "basics",
    "backup": "operations",
    "bot": "bot",
    "check": "checking",
    "clinic": "clinic",
    "codes": "codes",
    "cup": "cup",
    "demo": "demonstration",
    "hold": "retention",
    "init": "operations",
    "keys": "keys",
    "log": "log",
    "migrate": "basics",
    "organisation": "people",
    "patient": "patient",
    "report": "report",
    "restore": "operations",
    "retention": "retention",
    "serve": "serving",
    "settings": "basics",
    "turn-config": "turn",
    "user": "people",
    "visits": "report",
}
"""Where each command is: its module is loaded when it is called, so that none waits for all."""


@click.group(
    cls=Commands, modules=_MODULES, context_settings={"help_option_names": ["-h", "--help"]}
)
def main() -> None:
    """Accanto: video visits for a public health service."""
