"""What the value of a setting must look like, in a sentence for who wrote it otherwise."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
_PLACEHOLDERS = frozenset(
    {"accanto", "change-me", "changeme", "password", "secret", "test", "todo", "turn-secret"}
)

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?")


def check_origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}:
        raise ValueError("must look like https://visite.example.it, without a path")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("must be https unless it is this machine itself")
    return f"{parts.scheme}://{parts.netloc}"


def check_gateway(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("must look like https://sms.example.it/send")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("must be https unless it is this machine itself")
    return value


def check_bucket(value: str) -> str:
    if value and not _BUCKET.fullmatch(value):
        raise ValueError("must look like s3://bucket or s3://bucket/folder")
    return value


def check_sender(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+", value):
        raise ValueError("must be a plain address such as visite@example.it")
    return value


def check_network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError("must be addresses or networks such as 10.0.0.0/24") from error


def check_own_secret(value: str) -> str:
    if value.casefold().replace("_", "-") in _PLACEHOLDERS:
        raise ValueError("is a placeholder that everybody knows: make one of your own")
    return value


def check_valkey(value: str) -> str:
    parts = urlsplit(value)
    is_place = bool(parts.path if parts.scheme == "unix" else parts.hostname)
    if value and (parts.scheme not in {"unix", "valkey", "valkeys"} or not is_place):
        raise ValueError("must look like unix:///run/valkey/valkey.sock or valkeys://host:6379")
    return value


def check_plain_valkey(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme != "valkey" or not parts.hostname):
        raise ValueError("must look like valkey://accanto:password@10.0.0.5:6379")
    return value


def check_realm(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]*", value):
        raise ValueError("must be a name such as visite.example.it")
    return value


def check_address(value: str) -> str:
    return str(ip_address(value)) if value else ""


def check_ports(value: str) -> str:
    first, _, last = value.partition("-")
    if value and not (first.isdecimal() and last.isdecimal()):
        raise ValueError("must look like 40000-40099")
    if value and not 1024 <= int(first) <= int(last) <= 65535:
        raise ValueError("must be ports from 1024 to 65535, the lower one first")
    return value
