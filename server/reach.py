"""What ``accanto check`` sees over the network: our own address from outside, CUP's entrances."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from server.findings import Finding, Level, judge_clock
from server.models import Organisation, Source
from server.report.gateways import Gateway, GatewayUnusable, find_loose_keys, load_gateway
from server.settings import Settings
from server.sources import settings_of
from signaling.valkey import Valkey

_WITHIN_SECONDS: Final = 5.0
_HEAD_BYTES: Final = 16 * 1024
_DAYS_TO_RENEW: Final = 21
_DAYS_OF_ALARM: Final = 5
_DAYS_TO_ASK: Final = 30
"""Certificates of the gateway are asked for at a ministry: that takes weeks."""
_HTTPS_PORT: Final = 443
_DATE_GRAIN_SECONDS: Final = 1.0
_AWAY: Final = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@dataclass(frozen=True, slots=True)
class _Head:
    """Of an answer: its status and date, and when the certificate of its server ends."""

    status: str
    date: str
    ends_at: datetime | None


async def check_address(settings: Settings, now: datetime) -> list[Finding]:
    """What browsers type: the certificate, the name, an answer, the clock behind it."""
    base_url = settings.base_url
    if not settings.is_https:
        text = f"{base_url} is http: it works on this machine only"
        return [Finding(Level.WARNING, text)]
    try:
        head = await _ask(urlsplit(base_url), "/healthz")
    except ssl.SSLCertVerificationError as error:
        text = f"Browsers do not trust {base_url}: {error.verify_message}"
        return [Finding(Level.BAD, text)]
    except _AWAY as error:
        text = f"{base_url} cannot be reached from here ({type(error).__name__})"
        return [Finding(Level.BAD, text)]
    level = Level.GOOD if head.status == "200" else Level.BAD
    findings = [Finding(level, f"{base_url} answers ({head.status})")]
    if head.ends_at is not None:
        findings.append(_judge_certificate(head.ends_at, now))
    if head.date:
        theirs = parsedate_to_datetime(head.date)
        findings.append(judge_clock(now, theirs, "our address", _DATE_GRAIN_SECONDS))
    return findings


def _judge_certificate(ends_at: datetime, now: datetime) -> Finding:
    days = (ends_at - now).days
    text = f"The certificate is good for {days} more days"
    if days < _DAYS_OF_ALARM:
        return Finding(Level.BAD, f"{text}: renew it now")
    return Finding(Level.WARNING if days < _DAYS_TO_RENEW else Level.GOOD, text)


async def _ask(url: SplitResult, path: str) -> _Head:
    async with asyncio.timeout(_WITHIN_SECONDS):
        reader, writer = await asyncio.open_connection(
            url.hostname, url.port or 443, ssl=ssl.create_default_context()
        )
        try:
            asked = f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n"
            writer.write(asked.encode("ascii"))
            head = (await reader.readuntil(b"\r\n\r\n"))[:_HEAD_BYTES].decode("latin-1")
            certificate: dict[str, Any] = writer.get_extra_info("peercert") or {}
        finally:
            writer.close()
    lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    ends = certificate.get("notAfter")
    ends_at = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if ends else None
    return _Head(lines[0][9:12], fields.get("date", ""), ends_at)


async def check_sms_gateway(settings: Settings) -> Finding:
    """Whether somebody listens there; nothing is sent."""
    url = urlsplit(settings.sms_url)
    context = ssl.create_default_context() if url.scheme == "https" else None
    try:
        await _knock(str(url.hostname), url.port or (443 if context else 80), context)
    except _AWAY as error:
        text = f"The SMS gateway {url.hostname} cannot be reached ({type(error).__name__})"
        return Finding(Level.BAD, text)
    return Finding(Level.GOOD, f"SMS leave through {url.hostname}")


async def check_listeners(settings: Settings, sources: Iterable[Source]) -> list[Finding]:
    """Whether CUP finds the entrances open; of a server that does not run there is nothing to
    say but that."""
    listeners = {source.code: settings_of(source).listener for source in sources}
    wanted = {code: found for code, found in listeners.items() if found and found.port}
    if not wanted:
        return []
    if not await _is_open(settings.host, settings.port):
        text = f"No server runs here on port {settings.port}: CUP's entrances are closed"
        return [Finding(Level.WARNING, text)]
    findings = []
    for code, listener in wanted.items():
        where = f"{listener.host}:{listener.port}"
        if await _is_open(listener.host, listener.port):
            text = f"The entrance of {code} listens on {where}"
            findings.append(Finding(Level.GOOD, text))
        else:
            text = f"The entrance of {code} is closed ({where}): the server's log says why"
            findings.append(Finding(Level.BAD, text))
    return findings


class _Nobody:
    """Owner of a connection on which nothing is pushed."""

    def on_connected(self) -> None:
        """Nothing has to be said again."""

    def on_push(self, channel: bytes, payload: bytes) -> None:
        """No channel was asked for."""


async def check_gateways(
    settings: Settings, organisations: Iterable[Organisation], now: datetime
) -> list[Finding]:
    """Of each organisation that publishes to the national record: files, certificates, and
    whether its gateway is there."""
    findings: list[Finding] = []
    for organisation in organisations:
        try:
            gateway = load_gateway(settings, organisation.code, now)
        except GatewayUnusable as unusable:
            text = f"The FSE gateway of {organisation.code} cannot be used: {unusable.text}"
            findings.append(Finding(Level.BAD, text))
            continue
        if gateway is None:
            continue
        findings.append(await _check_gateway(organisation.code, gateway, now))
        for name in find_loose_keys(settings, organisation.code):
            text = f"Others can read {name} of the FSE gateway of {organisation.code}: chmod 600"
            findings.append(Finding(Level.BAD, text))
    return findings


async def _check_gateway(code: str, gateway: Gateway, now: datetime) -> Finding:
    parts = urlsplit(gateway.url)
    host, port = parts.hostname or "", parts.port or _HTTPS_PORT
    try:
        await _knock(host, port, gateway.tls)
    except _AWAY as error:
        text = f"The FSE gateway of {code} cannot be reached at {host} ({type(error).__name__})"
        return Finding(Level.BAD, text)
    days = (gateway.ends_at - now).days
    text = f"The FSE gateway of {code} answers at {host}; its certificates end in {days} days"
    return Finding(Level.WARNING if days < _DAYS_TO_ASK else Level.GOOD, text)


async def check_valkey(settings: Settings) -> list[Finding]:
    """Whether the rooms of several processes have their common log."""
    if not settings.valkey_url:
        return []
    answered = asyncio.get_running_loop().create_future()
    valkey = Valkey(settings.valkey_url, _Nobody())
    valkey.start()
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            valkey.send("PING", on_reply=answered.set_result)
            reply = await answered
    except TimeoutError:
        return [Finding(Level.BAD, "Valkey does not answer, or not to us: check valkey_url")]
    finally:
        await valkey.stop(within_seconds=0)
    if reply != b"PONG":
        return [Finding(Level.BAD, "Valkey refuses us: check the rights of its user")]
    return [Finding(Level.GOOD, "Valkey answers")]


async def _is_open(host: str, port: int) -> bool:
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked, not bound
    try:
        await _knock(everywhere.get(host, host), port, None)
    except _AWAY:
        return False
    return True


async def _knock(host: str, port: int, context: ssl.SSLContext | None) -> None:
    async with asyncio.timeout(_WITHIN_SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.close()
