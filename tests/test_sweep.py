"""The sweep finds what it must find; a sweep that is blind would prove nothing."""

from __future__ import annotations

import base64
import json
import sqlite3
import urllib.parse
from pathlib import Path

import pytest

from tests.sweep import find_canaries

TEXT = "Segreto clinico perché sì"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-16"),
        TEXT.encode().hex().encode(),
        json.dumps({"note": TEXT}).encode(),
        urllib.parse.urlencode({"note": TEXT}).encode(),
        *(base64.b64encode(b"x" * shift + TEXT.encode() + b"y" * 5) for shift in range(3)),
        *(base64.urlsafe_b64encode(b"x" * shift + TEXT.encode()) for shift in range(3)),
    ],
)
def test_canary_is_found_in_every_coding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"before " + content + b" after")

    found = find_canaries({"note": TEXT}, [tmp_path])

    assert {find.canary for find in found} == {"note"}


def test_canary_is_found_in_a_write_ahead_log(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "test.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE note (text TEXT)")
    connection.execute("INSERT INTO note VALUES (?)", (TEXT,))
    connection.commit()

    found = find_canaries({"note": TEXT}, [tmp_path])
    connection.close()

    assert {find.file.name for find in found} == {"test.db-wal"}


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("Segreto, clinico, perché no")

    assert find_canaries({"note": TEXT}, [tmp_path, tmp_path / "file"]) == []


def test_short_canary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="code is too short"):
        find_canaries({"code": "4711"}, [tmp_path])
