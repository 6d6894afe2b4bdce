"""The rows of a backup, table by table, the same of SQLite and PostgreSQL.

Values are plain (texts, numbers, bytes, times in UTC), so a backup of one database is restored into
the other. A file is a chain of packets: four bytes of length, then some rows, compressed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, MetaData, Table, func, insert, select, text

from server.backup.manifest import Half, TableEntry, create_file, sync_file
from server.db import Base
from server.models import DataKey, OrganisationKey, UserSession

_OF_THE_KEYS: Final = frozenset({DataKey.__tablename__, OrganisationKey.__tablename__})
_LEFT_OUT: Final = frozenset({"alembic_version", UserSession.__tablename__})
"""Who is logged in is not kept: an old login must not come to life again."""
_ROWS_PER_PACKET: Final = 200
_LENGTH_BYTES: Final = 4
_FAST: Final = 1


def load_tables(connection: Connection) -> list[Table]:
    """The tables as they are in this database, each after those that it refers to."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]


def half_of(table: Table) -> Half:
    return Half.KEYS if table.name in _OF_THE_KEYS else Half.DATA


def export_table(connection: Connection, table: Table, folder: Path) -> TableEntry:
    """Write one table into a half, with what it holds in the caller's transaction."""
    packets = {"yield_per": _ROWS_PER_PACKET}
    result = connection.execute(select(table), execution_options=packets)
    count = 0
    columns = [str(column.name) for column in table.columns]
    entry = TableEntry(name=str(table.name), columns=columns, rows=0)
    with create_file(folder / entry.path) as file:
        for rows in result.partitions():
            count += len(rows)
            packed = msgspec.msgpack.encode([[_plain(value) for value in row] for row in rows])
            packet = zlib.compress(packed, _FAST)
            file.write(len(packet).to_bytes(_LENGTH_BYTES, "big") + packet)
        sync_file(file)
    return msgspec.structs.replace(entry, rows=count)


def import_table(connection: Connection, table: Table, entry: TableEntry, folder: Path) -> int:
    """Read one table back; returns how many rows there are now. Keys that are newer than the
    data may be of an organisation that is not there: they are left out."""
    known = _load_organisations(connection) if half_of(table) is Half.KEYS else None
    for rows in _read_packets(folder / entry.path):
        values = [dict(zip(entry.columns, row, strict=True)) for row in rows]
        if known is not None:
            values = [value for value in values if value["organisation_id"] in known]
        if values:
            connection.execute(insert(table), values)
    if connection.dialect.name == "postgresql":
        _go_on_counting(connection, table)
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _load_organisations(connection: Connection) -> set[str]:
    return set(connection.scalars(select(Base.metadata.tables["organisation"].c.id)))


def _read_packets(path: Path) -> Iterator[list[list[Any]]]:
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            packet = file.read(int.from_bytes(length, "big"))
            yield msgspec.msgpack.decode(zlib.decompress(packet), type=list[list[Any]])


def _plain(value: Any) -> Any:
    """SQLite gives times without their zone, which is UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _go_on_counting(connection: Connection, table: Table) -> None:
    """The next number of the database's own must come after those that were read back."""
    for column in table.primary_key.columns:
        if column.type.python_type is not int:
            continue
        name = table.name
        find = text("SELECT pg_get_serial_sequence(quote_ident(:name), :column)")
        sequence = connection.scalar(find, {"name": name, "column": column.name})
        newest = connection.scalar(select(func.max(column)))
        if sequence is not None and newest is not None:
            connection.execute(
                text("SELECT setval(:sequence, :newest)"), {"sequence": sequence, "newest": newest}
            )
