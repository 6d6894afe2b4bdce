"""``accanto check`` finds what would fail, says it plainly, and says no secret."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import time_machine

from server.backup import take_backup
from server.check import check_installation
from server.db import Database
from server.findings import Finding, Level, judge_clock
from server.keyring import Keyring
from server.models import Source
from server.settings import Settings, load_settings, save_settings
from server.sources import Listener, SourceSettings, write_settings
from tests.certificates import Authority, Certificate
from tests.conftest import Cast
from tests.test_cli import Installation
from tests.valkeys import running_valkey

NOW = datetime.now(UTC)
SECRETS = {
    "turn_secret": "segreto-del-turn-44",
    "metrics_token": "gettone-delle-misure",
    "smtp_password": "parola-della-posta",
    "sms_token": "gettone-degli-sms",
}


class Findings(list[Finding]):
    def level_of(self, words: str) -> Level:
        (found,) = [finding for finding in self if words in finding.text]
        return found.level

    def has(self, words: str) -> bool:
        return any(words in finding.text for finding in self)


@pytest.fixture
def settings(database_url: str, data_dir: Path, keyring: Keyring, cast: Cast) -> Settings:
    """An installation that has nothing to be ashamed of but what is not set."""
    data_dir.chmod(0o700)
    return load_settings(data_dir, database_url=database_url)


async def look(settings: Settings, now: datetime | None = None, **changes: object) -> Findings:
    changed = load_settings(settings.data_dir, **{"database_url": settings.database_url} | changes)
    return Findings(await check_installation(changed, now or datetime.now(UTC)))


async def test_nothing_is_bad_on_a_fresh_installation(settings: Settings) -> None:
    found = await look(settings)

    assert [finding for finding in found if finding.level is Level.BAD] == []
    assert found.level_of("reachable and migrated") is Level.GOOD
    assert found.level_of("No backups") is Level.WARNING


# ---- machine -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "keys", "keys/root.key", "accanto.env"])
async def test_what_others_can_read_is_named(settings: Settings, name: str) -> None:
    save_settings(settings.data_dir, {})
    (settings.data_dir / name).chmod(0o755)

    found = await look(settings)

    assert found.level_of("run chmod") is Level.BAD
    assert found.has(str(settings.data_dir / name))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_keys_of_somebody_else_are_named(settings: Settings) -> None:
    os.chown(settings.data_dir / "keys", 65534, 65534)

    assert (await look(settings)).level_of("belongs to somebody else") is Level.BAD


class _Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(
    ("mebibytes", "level"), [(100, Level.BAD), (1500, Level.WARNING), (9000, Level.GOOD)]
)
async def test_free_disk(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, mebibytes: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(mebibytes << 20))

    assert (await look(settings)).level_of(f"{mebibytes} MiB are free") is level


async def test_debug_is_for_this_machine_only(settings: Settings) -> None:
    here = await look(settings, log_level="DEBUG")
    there = await look(settings, log_level="DEBUG", base_url="https://127.0.0.1:9")

    assert here.level_of("log level is DEBUG") is Level.GOOD
    assert there.level_of("log level is DEBUG") is Level.BAD


async def test_age_and_places_of_backups(settings: Settings, tmp_path: Path) -> None:
    data, keys = tmp_path / "d", tmp_path / "k"
    places = {"backup_dir": str(data), "backup_keys_dir": str(keys)}
    assert (await look(settings, **places)).level_of("There is no backup") is Level.BAD
    taken = await take_backup(settings, data, keys, NOW)

    fresh = await look(settings, NOW, **places)
    assert fresh.level_of("backup is 0 hours old") is Level.GOOD
    assert fresh.level_of("The backups are on the disk") is Level.WARNING
    assert fresh.level_of("backed up to one disk") is Level.WARNING
    for hours, level in ((30, Level.WARNING), (80, Level.BAD)):
        then = NOW + timedelta(hours=hours)
        assert (await look(settings, then, **places)).level_of(f"{hours} hours old") is level

    shutil.copy(taken.keys / "files" / "keys" / "root.key", data)
    assert (await look(settings, NOW, **places)).level_of("A root key lies among") is Level.BAD
    shutil.rmtree(taken.keys)
    assert (await look(settings, NOW, **places)).level_of("it opens nothing") is Level.BAD


# ---- clock -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "grain", "level"),
    [(2.0, 0.0, Level.GOOD), (2.1, 0.0, Level.BAD), (-2.9, 1.0, Level.GOOD), (-3.1, 1, Level.BAD)],
)
def test_clocks_may_be_two_seconds_apart(seconds: float, grain: float, level: Level) -> None:
    assert judge_clock(NOW, NOW + timedelta(seconds=seconds), "x", grain).level is level


async def test_clock_of_the_database_is_compared(settings: Settings) -> None:
    is_elsewhere = settings.database_url.startswith("postgresql")
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=5), tick=True):
        found = await look(settings)

    assert found.has("that of the database") is is_elsewhere
    if is_elsewhere:
        assert found.level_of("that of the database are 300 s apart") is Level.BAD
        assert (await look(settings)).level_of("that of the database agree") is Level.GOOD


# ---- our address -------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Whom this machine trusts."""
    made = Authority(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return made


@asynccontextmanager
async def answering(
    certificate: Certificate, status: str = "200 OK", date: datetime | None = None
) -> AsyncIterator[str]:
    """A server with TLS that answers everything in one way; gives its address."""
    when = f"{date or datetime.now(UTC):%a, %d %b %Y %H:%M:%S GMT}"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status}\r\nDate: {when}\r\n\r\n".encode())
        finally:
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.private_key)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_certificate_is_looked_at(settings: Settings, authority: Authority) -> None:
    async with answering(authority.issue("visite")) as address:
        found = await look(settings, base_url=address)
        later = await look(settings, datetime.now(UTC) - timedelta(days=29), base_url=address)
        early = await look(settings, datetime.now(UTC) - timedelta(days=9), base_url=address)

    assert found.level_of("answers (200)") is Level.GOOD
    assert found.level_of("good for 0 more days: renew it now") is Level.BAD
    assert early.level_of("good for 9 more days") is Level.WARNING
    assert later.level_of("good for 29 more days") is Level.GOOD
    assert found.level_of("that of our address agree") is Level.GOOD


async def test_proxy_whose_clock_is_wrong(settings: Settings, authority: Authority) -> None:
    wrong = datetime.now(UTC) - timedelta(hours=1)
    async with answering(authority.issue("visite"), date=wrong) as address:
        found = await look(settings, base_url=address)

    assert found.level_of("that of our address are 3") is Level.BAD


async def test_address_that_browsers_would_not_open(
    settings: Settings, authority: Authority, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with answering(Authority(other, "nobody").issue("visite")) as address:
        assert (await look(settings, base_url=address)).level_of("do not trust") is Level.BAD
    async with answering(authority.issue("visite")) as address:
        port = address.rpartition(":")[2]
        wrong_name = await look(settings, base_url=f"https://accanto.localhost:{port}")
    assert [finding.level for finding in wrong_name if "accanto.localhost" in finding.text] == [
        Level.BAD
    ]
    async with answering(authority.issue("visite"), "503 Service Unavailable") as address:
        assert (await look(settings, base_url=address)).level_of("answers (503)") is Level.BAD
    assert (await look(settings, base_url=address)).level_of("cannot be reached") is Level.BAD


# ---- neighbours --------------------------------------------------------------------------


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_entrances_of_cup(settings: Settings, database: Database, cast: Cast) -> None:
    async with (
        await asyncio.start_server(_hang_up, "127.0.0.1", 0) as ours,
        await asyncio.start_server(_hang_up, "127.0.0.1", 0) as entrance,
    ):
        port, listening = (each.sockets[0].getsockname()[1] for each in (ours, entrance))
        organisation = cast.toscana.organisation.id
        async with database.begin(organisation) as session:
            source = Source(organisation_id=organisation, code="cup-siena")
            write_settings(source, SourceSettings(listener=Listener(port=listening)))
            session.add(source)
        is_open = await look(settings, port=port)
        entrance.close()
        is_closed = await look(settings, port=port)
        ours.close()
    is_stopped = await look(settings, port=port)

    assert is_open.level_of("entrance of cup-siena listens") is Level.GOOD
    assert is_closed.level_of("entrance of cup-siena is closed") is Level.BAD
    assert is_stopped.level_of("No server runs here") is Level.WARNING


async def test_sms_gateway_is_called(settings: Settings) -> None:
    async with await asyncio.start_server(_hang_up, "127.0.0.1", 0) as gateway:
        url = f"http://127.0.0.1:{gateway.sockets[0].getsockname()[1]}/send"
        answers = await look(settings, sms_url=url)
    silent = await look(settings, sms_url=url)

    assert answers.level_of("SMS leave through 127.0.0.1") is Level.GOOD
    assert silent.level_of("SMS gateway 127.0.0.1 cannot be reached") is Level.BAD


async def test_valkey_is_asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.reach._WITHIN_SECONDS", 1.0)
    with running_valkey() as valkey:
        answers = await look(settings, valkey_url=valkey.url)
        valkey.pause()
        silent = await look(settings, valkey_url=valkey.url)
    nowhere = await look(settings, valkey_url=valkey.url)

    assert answers.level_of("Valkey answers") is Level.GOOD
    assert silent.level_of("Valkey does not answer") is Level.BAD
    assert nowhere.level_of("Valkey does not answer") is Level.BAD
    assert not (await look(settings)).has("Valkey")


async def test_commands_output_has_no_secret(settings: Settings) -> None:
    environment = {f"ACCANTO_{name.upper()}": value for name, value in SECRETS.items()}
    environment |= {"ACCANTO_SMTP_HOST": "127.0.0.1", "ACCANTO_SMTP_PORT": "9"}
    environment |= {"ACCANTO_MAIL_FROM": "visite@example.it", "ACCANTO_SMTP_SECURITY": "none"}
    if settings.database_url.startswith("postgresql"):
        environment["ACCANTO_DATABASE_URL"] = settings.database_url
    installation = Installation(settings.data_dir, **environment)

    done = await asyncio.to_thread(installation, "check", "--json")

    assert done.returncode == 1
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"level": "good", "text": "The log level is INFO"} in findings
    bad = [finding["text"] for finding in findings if finding["level"] == "bad"]
    assert [text for text in bad if "mail server" in text] == bad
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
