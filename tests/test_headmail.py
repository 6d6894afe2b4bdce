"""The head of every log is in a mailbox once a day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from server.db import Database
from server.settings import Settings
from server.tlog.verify import verify
from server.witness.headmail import HeadMail
from tests.conftest import Cast
from tests.post import MailServer, mail_server, mail_settings
from tests.test_logexport import Log

MORNING = datetime(2026, 11, 26, 5, 30, tzinfo=UTC)
"""Half past six in Rome."""


@pytest.fixture
async def log(database: Database, cast: Cast, data_dir: Path) -> AsyncIterator[Log]:
    made = Log(database, cast.toscana.organisation.id, data_dir)
    yield made
    await made.signer.stop()


@pytest.fixture
async def box() -> AsyncIterator[MailServer]:
    async with mail_server() as opened:
        yield opened


class Clock:
    """A time that the test says."""

    now = MORNING

    def __call__(self) -> datetime:
        return self.now


def settings_for(box: MailServer, log: Log) -> Settings:
    return mail_settings(
        data_dir=log.folder, smtp_host="127.0.0.1", smtp_port=box.port,
        log_signer_dir=str(log.folder / "signer"), log_head_mail=["direzione@azienda.example.it"],
    )  # fmt: skip


async def test_head_is_mailed_once_a_day_from_six(log: Log, box: MailServer) -> None:
    clock = Clock()
    mail = HeadMail(log.database, settings_for(box, log), clock)
    assert not await mail.send_if_due()
    await log.write(3)
    await log.settle()

    clock.now = MORNING - timedelta(hours=1)
    assert not await mail.send_if_due()
    clock.now = MORNING
    assert [await mail.send_if_due() for _ in range(2)] == [True, False]
    clock.now += timedelta(days=1)
    assert await HeadMail(log.database, settings_for(box, log), clock).send_if_due()

    assert len(box.messages) == 2
    assert box.messages[0]["To"] == "direzione@azienda.example.it"
    assert box.messages[0]["Subject"] == "Sigilli dei registri delle sessioni, 26/11/2026"


async def test_attached_head_verifies_the_log_of_later(log: Log, box: MailServer) -> None:
    await log.write(3)
    await log.settle()
    assert await HeadMail(log.database, settings_for(box, log), Clock()).send_if_due()
    await log.write(4)
    await log.settle()
    path = await log.export()

    (attached,) = box.messages[0].iter_attachments()
    assert isinstance(attached, EmailMessage)
    head = log.folder / "head.txt"
    head.write_bytes(attached.get_payload(decode=True))  # type: ignore[arg-type]
    assert attached.get_filename() == "ausl-toscana-20261126.txt"
    assert verify(str(path), str(head)).startswith("OK: 7 entries")


async def test_head_is_not_mailed_twice_where_nothing_can_be_written(
    log: Log, box: MailServer
) -> None:
    await log.write(1)
    await log.settle()
    (log.folder / "signer" / "head-mailed").mkdir()
    mail = HeadMail(log.database, settings_for(box, log), Clock())

    for _ in range(2):
        with suppress(OSError):
            await mail.send_if_due()

    assert len(box.messages) == 1


async def test_refused_head_is_mailed_later(log: Log, box: MailServer) -> None:
    await log.write(1)
    await log.settle()
    box.answer = "451 later"
    mail = HeadMail(log.database, settings_for(box, log), Clock())
    assert not await mail.send_if_due()

    box.answer = "250 OK"
    assert await mail.send_if_due()
