"""A real S3 server on this machine: moto's, in a process of its own."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import boto3
from botocore.exceptions import EndpointConnectionError

from recordings.s3 import Bucket

_START_SECONDS = 30.0
_REGION, _ACCESS_KEY, _SECRET_KEY = "eu-south-1", "accanto", "a-secret-of-the-tests"


@dataclass
class S3Server:
    """``make_bucket`` gives an empty bucket each time."""

    endpoint: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def make_bucket(self, prefix: str = "accanto/registrazioni") -> Bucket:
        name = f"recordings-{next(self._numbers)}"
        self.client().create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": _REGION}
        )
        return Bucket(name, prefix, self.endpoint, _REGION, _ACCESS_KEY, _SECRET_KEY)

    def client(self):  # type: ignore[no-untyped-def]
        """What the owner of the bucket sees of it."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=_REGION,
            aws_access_key_id=_ACCESS_KEY,
            aws_secret_access_key=_SECRET_KEY,
        )


@contextmanager
def run_s3() -> Iterator[S3Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            server = S3Server(f"http://127.0.0.1:{port}")
            _await(server)
            yield server
        finally:
            process.kill()


def _await(server: S3Server) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.client().list_buckets()
        except EndpointConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
