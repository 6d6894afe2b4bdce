"""One node of a demonstration: a process of its own, started by :mod:`server.demo.nodes`."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import click

from server.demo.nodes import make_app, node_url
from server.listen import Place, serve
from server.logs import configure_logging
from server.settings import load_settings
from server.supervisor import LINE_OPTION, Line


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--shared", required=True, help="What all nodes share, as JSON settings.")
@click.option("--port", type=int, required=True, help="Of this node alone.")
@click.option(LINE_OPTION, "line", type=int, required=True)
def main(data: Path, shared: str, port: int, line: int) -> None:
    """Serve until the signal, or until the demonstration ends."""
    configure_logging("WARNING")
    settings = load_settings(data, **json.loads(shared))
    place = Place(is_shared=True, own_port=port, line=Line(line))
    app_of = partial(make_app, own_url=node_url(port))
    asyncio.run(serve(settings, make_app=app_of, place=place))


if __name__ == "__main__":
    main()
