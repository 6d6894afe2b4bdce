"""Sealed files in an S3-compatible store: the port of :mod:`recordings.objects` over obstore.

What is uploaded is sealed already: the store and the line to it see no plaintext and no key. An
upload that breaks off leaves no object; what the store keeps of its parts a rule of the bucket
removes (``AbortIncompleteMultipartUpload``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final

import msgspec
import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from recordings.objects import ObjectReader, ObjectWriter, check_name

_PART_BYTES: Final = 8 * 1024 * 1024
"""At least 5 MiB; ten thousand of them are the longest object."""
_PARTS_AT_ONCE: Final = 2
_CONNECT_SECONDS: Final = 5
_RETRIES: Final = 3
_RETRY_SECONDS: Final = 20


class Bucket(msgspec.Struct, frozen=True):
    """Where the bucket is, and with which right. ``endpoint`` is empty for Amazon's own."""

    name: str
    prefix: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"<bucket {self.name}>"


class S3Objects:
    """The objects of one bucket under one prefix."""

    def __init__(self, bucket: Bucket) -> None:
        self._store = S3Store(
            bucket.name,
            prefix=bucket.prefix or None,
            endpoint=bucket.endpoint or None,
            region=bucket.region,
            access_key_id=bucket.access_key,
            secret_access_key=bucket.secret_key,
            virtual_hosted_style_request=not bucket.endpoint,
            client_options={
                "allow_http": bucket.endpoint.startswith("http:"),
                "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            },
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
            },
        )

    def create(self, name: str) -> ObjectWriter:
        return _Upload(self._store, check_name(name))

    def open(self, name: str) -> ObjectReader:
        return _Download(self._store, check_name(name))

    def delete(self, name: str) -> bool:
        with _said():
            try:
                obstore.head(self._store, check_name(name))
            except FileNotFoundError:
                return False
            obstore.delete(self._store, name)
        return True

    def list(self) -> Iterator[tuple[str, float]]:
        with _said():
            for group in obstore.list(self._store):
                for found in group:
                    yield str(found["path"]), found["last_modified"].timestamp()

    def sweep(self, older_than_seconds: float) -> int:
        """An upload has no name before its end: there is nothing to find."""
        return 0


class _Upload:
    def __init__(self, store: S3Store, name: str) -> None:
        self._writer = obstore.open_writer(
            store, name, buffer_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
        )

    def write(self, piece: bytes | memoryview) -> None:
        with _said():
            self._writer.write(bytes(piece))

    def finish(self) -> None:
        with _said():
            self._writer.close()

    def discard(self) -> None:
        if not self._writer.closed():
            with suppress(BaseError, OSError):
                self._writer.__exit__(ConnectionAbortedError, ConnectionAbortedError(), None)


class _Download:
    def __init__(self, store: S3Store, name: str) -> None:
        self._store = store
        self._name = name
        with _said():
            self.size = obstore.head(store, name)["size"]

    def read_into(self, offset: int, buffer: memoryview) -> int:
        end = min(offset + len(buffer), self.size)
        if offset >= end:
            return 0
        with _said():
            found = obstore.get_range(self._store, self._name, start=offset, end=end)
        buffer[: len(found)] = memoryview(found)
        return len(found)

    def close(self) -> None:
        """Nothing is held between two reads."""


@contextmanager
def _said() -> Iterator[None]:
    """What the library says of the store, without addresses and names."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError("there is no such object or bucket") from None
    except (BaseError, OSError) as error:
        raise OSError(f"the store of files failed: {type(error).__name__}") from None
