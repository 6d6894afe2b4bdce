"""Makes ``tests/vectors/seal.json`` anew: ``python -m tests.sealvectors``.

The keys and the sealed values are made by the functions of the server, over a database of its
own. Salts and keys are random, so a new file has other bytes; the one in the tree stays, because
it proves that what was sealed then still opens.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.store import SealedFolder
from server.admin import add_organisation
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.keyring import Keyring, Place, load_keyring, read_root_key
from server.migrations import migrate
from server.models import DataKey, Organisation, OrganisationKey

PATH: Final = Path(__file__).parent / "vectors" / "seal.json"
SIZES: Final = (0, 1, 16_383, 16_384, 16_385, 100_000)
_HEAD: Final = 4 + 16 + 24 + 32
_WORDS: Final = "Segreto clinico: Σ, è, 😀".encode()


def encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


class _Maker:
    def __init__(self, keyring: Keyring, session: AsyncSession, folder: Path) -> None:
        self._keyring = keyring
        self._session = session
        self._folder = folder
        self.values: list[dict[str, Any]] = []

    async def seal(self, name: str, place: Place, plaintext: bytes) -> None:
        sealed = await self._keyring.seal(self._session, place, plaintext)
        self._add(name, place, plaintext, sealed)

    async def store(self, name: str, place: Place, plaintext: bytes) -> None:
        key_id, key = await self._keyring.data_key(self._session, place)
        SealedFolder(self._folder).write("file", key_id, key, place.context(key_id), [plaintext])
        self._add(name, place, plaintext, (self._folder / "file").read_bytes())

    def _add(self, name: str, place: Place, plaintext: bytes, sealed: bytes) -> None:
        told = {key: value for key, value in asdict(place).items() if key != "key_owner"}
        value = {
            "name": name,
            "place": told,
            "bytes": len(plaintext),
            "sha256": hashlib.sha256(plaintext).hexdigest(),
            "sealed": encode(sealed),
        }
        if len(plaintext) <= 100:
            value["plaintext"] = encode(plaintext)
        self.values.append(value)


async def make(folder: Path) -> dict[str, Any]:
    """All vectors, as the file holds them."""
    keyring = load_keyring(folder, create=True)
    database = Database(f"sqlite+aiosqlite:///{folder / 'accanto.db'}")
    await migrate(database)
    async with database.begin(EVERY_ORGANISATION) as session:
        organisation = Organisation(code="ausl-prova", name="Prova", desk_phone="1")
        await add_organisation(session, keyring, organisation)
        maker = _Maker(keyring, session, folder / "store")
        await _make_values(maker, organisation.id)
        await _rotate(keyring, session, organisation.id)
        await maker.seal("under the second KEK", _note(organisation.id, "visita0000000002"), _WORDS)
        organisation_keys = [
            {
                "organisation_id": row.organisation_id, "purpose": row.purpose,
                "version": row.version, "wrapped": encode(row.wrapped), "root_id": row.root_id,
                "check_value": row.check_value,
            }
            for row in await session.scalars(select(OrganisationKey))
        ]  # fmt: skip
        data_keys = [
            {
                "id": row.id, "organisation_id": row.organisation_id, "owner": row.owner,
                "kek_version": row.kek_version, "wrapped": encode(row.wrapped),
            }
            for row in await session.scalars(select(DataKey))
        ]  # fmt: skip
    await database.close()
    return {
        "root_key": encode(read_root_key(folder)),
        "organisation_keys": organisation_keys,
        "data_keys": data_keys,
        "values": maker.values,
        "refusals": [*_other_places(), *_altered(maker.values), *_other_keys(data_keys)],
    }


def _note(organisation: OrganisationId, visit: str, version: int = 1) -> Place:
    return Place(organisation, "note", visit, "text", version, visit=visit)


async def _make_values(maker: _Maker, organisation: OrganisationId) -> None:
    noise = random.Random(16_384)
    note = _note(organisation, "visita0000000001")
    for version, size in enumerate(SIZES, start=1):
        place = replace(note, version=version)
        await maker.seal(f"{size} bytes", place, noise.randbytes(size))
    await maker.seal("a note", replace(note, version=7), _WORDS)
    await maker.seal(
        "an identity", Place(organisation, "patient", "paziente00000001", "identity", 3), _WORDS
    )
    month = Place(organisation, "inbox_message", "messaggio0000001", "raw", 1)
    await maker.seal("a message", replace(month, key_owner="inbox:fonte:2026-11"), _WORDS)
    file = Place(organisation, "attachment", "allegato00000001", "content", 1, note.visit)
    await maker.store("a file of the store", file, noise.randbytes(40_000))


async def _rotate(keyring: Keyring, session: AsyncSession, organisation: OrganisationId) -> None:
    """A second version of the KEK: new data keys are wrapped by it, old ones stay."""
    keyring.forget_made(session)
    await keyring.add_secret(session, organisation, "kek", 2)
    await session.flush()


def _other_places() -> list[dict[str, Any]]:
    others: dict[str, object] = {
        "organisation": "altro-ente-00001", "object_type": "report", "field": "words",
        "object_id": "visita0000000002", "visit": "visita0000000002", "version": 8,
    }  # fmt: skip
    refusals = [
        {"name": f"another {field}", "of": "a note", "place": {field: value}}
        for field, value in others.items()
    ]
    together = {"object_id": "visita0000000002", "visit": "visita0000000002"}
    shifted = {"object_id": "visita000000000", "field": "1text"}
    return [
        *refusals,
        {"name": "another visit altogether", "of": "a note", "place": together},
        {"name": "a letter moved to the next field", "of": "a note", "place": shifted},
        {"name": "no visit", "of": "a note", "place": {"visit": ""}},
    ]


def _altered(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    size = {value["name"]: len(base64.b64decode(value["sealed"])) for value in values}
    parts = {
        "format": 0, "suite": 3, "key id": 4, "salt": 20, "last byte of the salt": 43,
        "commitment": 44, "last byte of the commitment": 75, "ciphertext": _HEAD,
        "tag": size["a note"] - 1,
    }  # fmt: skip
    flips = [
        {"name": f"a bit of the {part}", "of": "a note", "edits": [{"flip": [at, at % 8]}]}
        for part, at in parts.items()
    ]
    flips.append(
        {"name": "a bit of a late chunk", "of": "100000 bytes", "edits": [{"flip": [90_000, 0]}]}
    )
    cuts = [
        {"name": f"{name} cut to {length}", "of": name, "edits": [{"cut": length}]}
        for name, lengths in {
            "0 bytes": (0, 3, 4, 19, 20, 43, 44, _HEAD - 1, _HEAD, _HEAD + 15),
            "16384 bytes": (_HEAD + 16_400, _HEAD + 16_399, _HEAD + 16_415),
            "100000 bytes": (_HEAD + 16_400 * 3, _HEAD + 16_400 * 3 + 16, size["100000 bytes"] - 1),
        }.items()
        for length in lengths
    ]
    longer = [
        {"name": f"{name} and more", "of": name, "edits": [{"append": encode(more)}]}
        for name, more in (
            ("a note", b"\0"),
            ("16384 bytes", bytes(16)),
            ("0 bytes", bytes(16_400)),
        )
    ]
    orders = {
        "swapped": [1, 0, 2, 3, 4, 5, 6], "doubled": [0, 0, 1, 2, 3, 4, 5, 6],
        "without the first": [1, 2, 3, 4, 5, 6], "without one": [0, 1, 3, 4, 5, 6],
        "without the last": [0, 1, 2, 3, 4, 5], "the last alone": [6],
        "the last first": [6, 0, 1, 2, 3, 4, 5],
    }  # fmt: skip
    chunks = [
        {"name": f"chunks {name}", "of": "100000 bytes", "edits": [{"chunks": order}]}
        for name, order in orders.items()
    ]
    return [*flips, *cuts, *longer, *chunks]


def _other_keys(data_keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row of the note's key with another key in it, altered, moved or shredded."""
    (row,) = [key for key in data_keys if key["owner"] == "visit:visita0000000001"]
    (other,) = [key for key in data_keys if key["owner"] == "visit:visita0000000002"]
    altered = bytearray(base64.b64decode(row["wrapped"]))
    altered[-1] ^= 1
    changes: dict[str, dict[str, Any]] = {
        "the wrapped key of another visit": {"wrapped": other["wrapped"]},
        "that with its KEK": {"wrapped": other["wrapped"], "kek_version": 2},
        "an altered key": {"wrapped": encode(bytes(altered))},
        "another KEK": {"kek_version": 2},
        "another owner": {"owner": "visit:visita0000000009"},
        "a shredded key": {"wrapped": ""},
    }
    return [
        {"name": name, "of": "a note", "data_keys": [row | change]}
        for name, change in changes.items()
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        content = asyncio.run(make(Path(folder)))
    PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
