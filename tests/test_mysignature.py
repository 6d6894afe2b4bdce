"""The page of a clinician's signature, and the login that may keep its PIN."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select, update

from server.audit import Act
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import LogEntry, Signer, User, UserSession
from server.sealed import seal_codice_fiscale, seal_signing_pin
from server.signing import Pkcs11Key, SignerMeans, describe_certificate, load_means, put_signer
from tests.conftest import Cast
from tests.signers import CODICE_FISCALE, PIN, SigningAuthority
from tests.visitors import OWN_PAGE, Answer, Site, Visitor, site

__all__ = ["site"]


@pytest.fixture(scope="module")
def authority() -> SigningAuthority:
    return SigningAuthority()


def issue(authority: SigningAuthority, days: int = 700, **wishes: Any) -> bytes:
    now = datetime.now(UTC)
    validity = {"begins_at": now - timedelta(days=30), "ends_at": now + timedelta(days=days)}
    return authority.issue_file(**{**validity, **wishes})


async def upload(visitor: Visitor, file: bytes, pin: str = PIN) -> Answer:
    form = aiohttp.FormData()
    form.add_field("file", file, filename="firma.p12", content_type="application/x-pkcs12")
    form.add_field("pin", pin)
    return await visitor.ask("POST", "/signature", OWN_PAGE, data=form)


async def name_clinician(database: Database, keyring: Keyring, user: User) -> None:
    async with database.begin(user.organisation_id) as session:
        row = await session.get_one(User, user.id)
        await seal_codice_fiscale(keyring, session, row, CODICE_FISCALE)


async def acts_of(database: Database) -> list[str]:
    async with database.read(EVERY_ORGANISATION) as session:
        entries = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
        return [json.loads(entry)["action"] for entry in entries]


async def test_clinician_adds_sees_and_removes_a_signature(
    site: Site, cast: Cast, database: Database, keyring: Keyring, authority: SigningAuthority
) -> None:
    clinician = await site.staff(cast.toscana.clinician)
    await name_clinician(database, keyring, cast.toscana.clinician)
    before = await clinician.get("/signature")
    saved = await upload(clinician, issue(authority))
    shown = await clinician.get("/signature")
    removed = await clinician.post("/signature/remove")
    after = await clinician.get("/signature")

    assert 'data-testid="signature"' not in before.text
    assert (saved.status, saved.location) == (303, "/signature")
    assert "BIANCHI ANNA" in shown.text
    assert "CA di prova" in shown.text
    assert "signature-ending" not in shown.text
    assert (removed.status, removed.location) == (303, "/signature")
    assert 'data-testid="signature"' not in after.text
    assert (await acts_of(database))[-2:] == [
        Act.SIGNER_CHANGED,
        Act.SIGNER_REMOVED,
    ]


@pytest.mark.parametrize(
    ("file", "pin", "words"),
    [
        (lambda a: issue(a), "sbagliato", "Questo PIN non apre il file"),
        (lambda a: issue(a), "", "Scelga il file e scriva il suo PIN"),
        (lambda a: b"", PIN, "Scelga il file e scriva il suo PIN"),
        (lambda a: b"%PDF-1.7", PIN, "Questo non è un file di firma"),
        (lambda a: issue(a, days=-1), PIN, "è scaduto"),
        (lambda a: issue(a, usage="digital_signature"), PIN, "non serve a firmare documenti"),
        (lambda a: issue(a, codice_fiscale="VRDGNN60A01D612Y"), PIN, "diverso dal suo"),
    ],
    ids=["pin", "no pin", "no file", "no pkcs12", "expired", "usage", "somebody else"],
)
async def test_what_cannot_sign_is_refused_in_words(
    file: Any,
    pin: str,
    words: str,
    site: Site,
    cast: Cast,
    database: Database,
    keyring: Keyring,
    authority: SigningAuthority,
) -> None:
    clinician = await site.staff(cast.toscana.clinician)
    await name_clinician(database, keyring, cast.toscana.clinician)

    answer = await upload(clinician, file(authority), pin)

    assert answer.status == 400
    assert words in answer.text.replace("&#39;", "'")
    async with database.read(EVERY_ORGANISATION) as session:
        assert (await session.scalars(select(Signer))).all() == []


async def test_a_file_larger_than_any_signature_is_refused(site: Site, cast: Cast) -> None:
    clinician = await site.staff(cast.toscana.clinician)

    assert (await upload(clinician, b"\x30\x82" + b"x" * 100_000)).status == 400
    assert (await upload(clinician, b"x" * 400_000)).status == 400


async def test_warns_before_and_after_the_end_and_when_locked(
    site: Site, cast: Cast, database: Database, authority: SigningAuthority
) -> None:
    clinician = await site.staff(cast.toscana.clinician)
    await upload(clinician, issue(authority, days=20))
    ending = await clinician.get("/signature")
    for values in ({"valid_until": datetime.now(UTC) - timedelta(days=1)}, {"failed_pins": 3}):
        async with database.begin(cast.toscana.organisation.id) as session:
            await session.execute(update(Signer).values(**values))
        if "valid_until" in values:
            over = await clinician.get("/signature")
    locked = await clinician.get("/signature")

    assert "signature-ending" in ending.text
    assert "signature-over" in over.text
    assert "signature-locked" in locked.text
    await upload(clinician, issue(authority))
    assert "signature-locked" not in (await clinician.get("/signature")).text


async def test_nobody_sees_the_signature_of_another(
    site: Site, cast: Cast, authority: SigningAuthority
) -> None:
    await upload(await site.staff(cast.toscana.clinician), issue(authority))

    colleague = await site.staff(cast.toscana.colleague)
    desk = await site.staff(cast.toscana.desk)

    assert "BIANCHI ANNA" not in (await colleague.get("/signature")).text
    assert (await desk.get("/signature")).status == 404
    assert (await upload(desk, issue(authority))).status == 404


async def test_a_token_is_shown_as_such(
    site: Site, cast: Cast, database: Database, keyring: Keyring, authority: SigningAuthority
) -> None:
    user, now = cast.toscana.clinician, datetime.now(UTC)
    key = Pkcs11Key(module="/usr/lib/token.so", token="Firma", key="Anna")
    means = SignerMeans(user.organisation_id, user.id, key)
    _, certificate = authority.issue()
    async with database.begin(user.organisation_id) as session:
        await put_signer(keyring, session, means, describe_certificate(certificate), now)

    page = await (await site.staff(user)).get("/signature")

    assert "su un dispositivo dell" in page.text
    async with database.read(user.organisation_id) as session:
        assert await load_means(keyring, session, user.id) == means


async def keep_pin(database: Database, keyring: Keyring, user: User, **values: Any) -> None:
    """In the one login of a user, which is then changed to these values."""
    async with database.begin(user.organisation_id) as session:
        login = (
            await session.scalars(select(UserSession).where(UserSession.user_id == user.id))
        ).one()
        await seal_signing_pin(keyring, session, login, PIN)
        for name, value in values.items():
            setattr(login, name, value)


async def test_the_pin_of_a_login_dies_with_it(
    site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    clinician = await site.staff(cast.toscana.clinician)
    await keep_pin(database, keyring, cast.toscana.clinician)

    await clinician.post("/logout")

    async with database.read(EVERY_ORGANISATION) as session:
        assert (await session.scalars(select(UserSession))).all() == []


@pytest.mark.parametrize("ended", ["seen_at", "created_at"])
async def test_the_pin_of_a_login_that_ended_by_itself_is_removed(
    ended: str, site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    now, team = datetime.now(UTC), cast.toscana
    for user in (team.clinician, team.colleague):
        await site.staff(user)
    desk = await site.staff(team.desk)
    await keep_pin(database, keyring, team.clinician, **{ended: now - timedelta(hours=25)})
    await keep_pin(database, keyring, team.colleague)
    async with database.begin(team.organisation.id) as session:
        earlier = now - timedelta(minutes=2)
        await session.execute(
            update(UserSession).where(UserSession.user_id == team.desk.id).values(seen_at=earlier)
        )

    await desk.get("/desk")

    async with database.read(EVERY_ORGANISATION) as session:
        kept = await session.scalars(
            select(UserSession.user_id).where(UserSession.sealed_signing_pin.is_not(None))
        )
        assert kept.all() == [team.colleague.id]
