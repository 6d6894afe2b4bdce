"""Every command says what it leaves in the session log, and changes of people leave an entry."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from server.cli import main
from server.cli.leaving import LEAVES
from tests.visitors import collect_surprises


def names_of(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from names_of(found, (*path, name))
    else:
        yield " ".join(path)


def test_every_command_declares_what_it_leaves_in_the_log() -> None:
    assert set(names_of(main)) == set(LEAVES)


def test_changes_of_people_and_places_are_in_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def run(*words: str, typed: str = "") -> None:
        result = CliRunner().invoke(main, [*words, "--data", str(folder)], input=typed)
        assert result.exit_code == 0, result.output

    with collect_surprises() as surprises:
        run("migrate")
        run("organisation", "add", "--code", "090203", "--name", "USL", "--desk-phone", "055")
        run("organisation", "set", "090203", "--notice-days", "3")
        run("clinic", "set", "090203", "CARD", "--site-name", "Torre")
        run(
            "user", "add", "--organisation", "090203", "--username", "anna", "--role", "desk",
            "--password-stdin", typed="gelsomino-ventaglio-44\n",
        )  # fmt: skip
        run("user", "set", "anna", "--profession", "specialist")
        run("user", "password", "anna", "--password-stdin", typed="ventaglio-gelsomino-55\n")
    assert surprises == []

    with sqlite3.connect(folder / "accanto.db") as connection:
        rows = connection.execute("SELECT entry FROM log_entry ORDER BY id").fetchall()
    entries = [json.loads(entry) for (entry,) in rows]
    assert [(entry["action"], entry["facts"]["change"]) for entry in entries] == [
        ("organisation.changed", "added"),
        ("organisation.changed", "saved"),
        ("clinic.changed", "saved"),
        ("user.changed", "added"),
        ("user.changed", "saved"),
        ("user.changed", "password"),
    ]
    assert [entry["object"].partition(":")[0] for entry in entries] == [
        "organisation", "organisation", "clinic", "user", "user", "user",
    ]  # fmt: skip
