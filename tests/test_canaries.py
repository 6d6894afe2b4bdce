"""Twenty visits full of canaries leave none of them in clear: database, data folder, log, backup.

Two hundred visits and ten thousand canaries are in ``tests/chaos/test_canaries.py``.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from pathlib import Path

import pytest

from server.backup import take_backup
from server.db import Database
from server.keyring import Keyring
from server.services import SETTINGS
from tests.canaries import MARKER, PER_VISIT, Canaries, find_all, find_in_folder
from tests.canaryvisits import CanaryVisits, logging_into, search_database
from tests.conftest import Cast, MakeVisit
from tests.reportvisits import give_signature, reports_of, sign
from tests.visitors import Site, site

__all__ = ["site"]

VISITS = 20
SIGN_EVERY = 5


@pytest.mark.parametrize("word", [MARKER, MARKER.lower(), MARKER.upper()])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("before", range(3))
def test_the_search_finds_every_form(word: str, encoding: str, before: int) -> None:
    hidden = ("è" * before + word + "abcdefgh").encode(encoding)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    raw = deflate.compress(hidden * 3) + deflate.flush()
    forms = {
        "as it is": hidden,
        "hexadecimal": hidden.hex().encode(),
        "HEXADECIMAL": hidden.hex().upper().encode(),
        "base64": base64.b64encode(b"x" * before + hidden),
        "base64url": base64.urlsafe_b64encode(b"\xff" * before + hidden),
        "zlib": b"noise" + zlib.compress(hidden * 3) + b"noise",
        "gzip": b"noise" + gzip.compress(hidden * 3),
        "deflate": raw,
        "base64 in zlib": zlib.compress(base64.b64encode(hidden) * 3, 1),
        "zlib in zlib": zlib.compress(b"\x00" + zlib.compress(hidden * 3, 0), 0),
    }

    assert {
        name: bool(find_all("here", content)) for name, content in forms.items()
    } == dict.fromkeys(forms, True)
    assert find_all("here", b"nothing" * 1000) == []


@pytest.mark.timeout(900)
async def test_nothing_of_twenty_visits_is_in_clear(
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    found, canaries = await search_visits(
        site, cast, make_visit, database, keyring, tmp_path, VISITS
    )

    assert len(canaries.words) == VISITS * PER_VISIT
    assert found == []


async def search_visits(
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    tmp_path: Path,
    count: int,
) -> tuple[list[str], Canaries]:
    """Make so many visits, take a backup, and search all that is left."""
    log = tmp_path / "server.log"
    settings = site.app[SETTINGS]
    with logging_into(log):
        await give_signature(database, keyring, cast.toscana.clinician)
        clinician = await site.staff(cast.toscana.clinician)
        visits = CanaryVisits(site, make_visit, cast.toscana, seed=count)
        for number in range(count):
            visit = await visits.add(number)
            if number % SIGN_EVERY == 0:
                assert (await sign(clinician, visit)).status == 303
                assert [
                    report.sealed_pdf is not None for report in await reports_of(database, visit)
                ]
        await take_backup(settings, tmp_path / "backup", tmp_path / "keys", visit.appointment.start)
    assert log.stat().st_size > 0
    found = await search_database(database)
    found += find_all("log", log.read_bytes())
    for folder in (settings.data_dir, tmp_path / "backup", tmp_path / "keys"):
        assert any(path.is_file() for path in folder.rglob("*"))
        found += find_in_folder(folder)
    return found, visits.canaries
