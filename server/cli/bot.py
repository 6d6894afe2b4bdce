"""``accanto bot``: synthetic patients who come in by their links, as load for a server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TextIO

import click
import msgspec

from recordings.botcrowd import run_crowd
from recordings.botwords import Figures, Orders
from recordings.echowords import Endpoint
from recordings.script import Script, ScriptWrong, check_script
from server.cli.common import run
from server.errors import CommandFailed


@click.command()
@click.option(
    "--link-file",
    type=click.File(encoding="utf-8"),
    required=True,
    help="A line for each patient: her join link, a space, her birth date; - reads them from "
    "standard input. Links open visits: they are never arguments.",
)
@click.option("--count", type=click.IntRange(1), help="How many come; all of the file unless said.")
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True)
@click.option(
    "--script",
    "script_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What each of them does: a JSON file, as the script of a scenario.",
)
@click.option("--address", default="", help="Where they listen; each address unless said.")
def bot(
    link_file: TextIO, count: int | None, seconds: float, script_file: Path | None, address: str
) -> None:
    """Let synthetic patients come to their visits, and say in one JSON line how it went.

    Each claims her link, answers the check-in, waits, and once let in sends a picture and a voice
    to the clinician's page and counts what comes from there.
    """
    script = _read_script(script_file) if script_file else Script()
    endpoint = Endpoint(address)
    crowd = [
        Orders(link=link, birth_date=date, script=script, endpoint=endpoint, seconds=seconds + 60)
        for link, date in _read_links(link_file)
    ][:count]
    if not crowd or (count is not None and len(crowd) < count):
        raise CommandFailed(f"The file has {len(crowd)} links")
    click.echo(msgspec.json.encode(_sum(run(run_crowd(crowd, seconds)), len(crowd))).decode())


def _read_links(file: TextIO) -> list[tuple[str, str]]:
    """:raises CommandFailed: names the line, never what is in it."""
    links = []
    for number, line in enumerate(file, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise CommandFailed(f"Line {number} is not a link, a space and a birth date")
        links.append((words[0], words[1]))
    return links


def _read_script(file: Path) -> Script:
    try:
        script = msgspec.json.decode(file.read_bytes(), type=Script)
        check_script(script)
    except (msgspec.MsgspecError, ScriptWrong) as error:
        raise CommandFailed(f"The script cannot be read: {error}") from error
    return script


def _sum(found: list[Figures], patients: int) -> dict[str, object]:
    """``lost``: patients whose process died; ``ends``: last words of rooms and of closed doors."""
    numbers = ("reconnects", "legs", "voice_sent", "voice_heard", "pictures_sent", "pictures_seen")
    return {
        "patients": patients,
        "lost": patients - len(found),
        "joined": sum(one.has_joined for one in found),
        "admitted": sum(one.is_admitted for one in found),
        **{name: sum(getattr(one, name) for one in found) for name in numbers},
        "ends": Counter(one.end for one in found if one.end),
    }
