"""PAdES signatures: what validates, what does not, and what is refused before it is signed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from asn1crypto import tsp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyhanko.keys import load_certs_from_pemder_data, load_private_key_from_pemder_data
from pyhanko.sign.timestamps import DummyTimeStamper
from pytest_aiohttp import AiohttpServer

from server.db import Database
from server.demo.signers import DemoAuthority, demo_pin, make_demo_signer
from server.keyring import Keyring
from server.models import SignerKind, User, UserSession
from server.report.pdf import render_pdf
from server.sealed import open_signing_pin, seal_codice_fiscale, seal_signing_pin
from server.signing import (
    Pkcs11Key,
    Pkcs12File,
    Refusal,
    SignerMeans,
    SigningRefused,
    find_signer,
    inspect_means,
    load_means,
    put_signer,
    remove_signer,
    sign_as,
    sign_pdf,
)
from tests.conftest import Cast
from tests.pdfs import attachment_of, open_pdf, pdfa_faults
from tests.reports import FULL
from tests.signers import CODICE_FISCALE, NOW, PIN, SigningAuthority, rsa_key, verdict

CDA = b"<ClinicalDocument/>"


@pytest.fixture(scope="module")
def authority() -> SigningAuthority:
    return SigningAuthority()


@pytest.fixture(scope="module")
def pdf() -> bytes:
    return render_pdf(FULL, CDA)


def means_of(file: bytes, codice_fiscale: str = CODICE_FISCALE) -> SignerMeans:
    return SignerMeans("organisation", "doctor", Pkcs12File(file), codice_fiscale)


@pytest.mark.parametrize("key", [rsa_key, lambda: ec.generate_private_key(ec.SECP256R1())])
async def test_validates_with_the_root_and_stays_pdfa_3b(
    key: Callable[[], Any], pdf: bytes, authority: SigningAuthority
) -> None:
    signed = await sign_pdf(pdf, means_of(authority.issue_file(key=key())), PIN, NOW)

    found = await verdict(signed, authority.certificate)
    assert found.bottom_line
    assert found.intact
    assert found.coverage.name == "ENTIRE_FILE"
    assert pdfa_faults(signed) == []
    assert attachment_of(signed) == attachment_of(pdf)


async def test_only_adds_behind_the_document(pdf: bytes, authority: SigningAuthority) -> None:
    signed = await sign_pdf(pdf, means_of(authority.issue_file()), PIN, NOW)

    assert signed.startswith(pdf)
    [signature] = open_pdf(signed).embedded_signatures
    assert signature.sig_object["/SubFilter"] == "/ETSI.CAdES.detached"
    assert signature.sig_object["/M"] == "D:20261122103000Z"
    assert signature.self_reported_timestamp == NOW
    assert [float(side) for side in signature.sig_field["/Rect"]] == [0, 0, 0, 0]


async def test_does_not_validate_with_another_root(pdf: bytes, authority: SigningAuthority) -> None:
    signed = await sign_pdf(pdf, means_of(authority.issue_file()), PIN, NOW)

    assert not (await verdict(signed, SigningAuthority("Un'altra").certificate)).trusted


async def test_no_changed_byte_validates(pdf: bytes, authority: SigningAuthority) -> None:
    signed = await sign_pdf(pdf, means_of(authority.issue_file()), PIN, NOW)
    [signature] = open_pdf(signed).embedded_signatures
    start, length, behind, rest = signature.byte_range
    covered = [*range(start, length), *range(behind, behind + rest)]

    for place in covered[:: len(covered) // 60]:
        changed = bytearray(signed)
        changed[place] ^= 1
        try:
            is_valid = (await verdict(bytes(changed), authority.certificate)).bottom_line
        except Exception:  # noqa: BLE001 a PDF that cannot be read any more is not valid either
            is_valid = False
        assert not is_valid, place


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"ends_at": NOW - timedelta(days=1)}, Refusal.EXPIRED),
        ({"begins_at": NOW + timedelta(days=1)}, Refusal.NOT_YET_VALID),
        ({"usage": "digital_signature"}, Refusal.WRONG_KEY_USAGE),
        ({"codice_fiscale": "VRDGNN60A01D612Y"}, Refusal.NOT_THE_DOCTOR),
        ({"key": rsa_key(1024)}, Refusal.WEAK_KEY),
    ],
)
async def test_certificate_that_may_not_sign_is_refused(
    wishes: dict[str, Any], reason: Refusal, pdf: bytes, authority: SigningAuthority
) -> None:
    means = means_of(authority.issue_file(**wishes))

    for act in (sign_pdf(pdf, means, PIN, NOW), inspect_means(means, PIN, NOW)):
        with pytest.raises(SigningRefused) as refused:
            await act
        assert refused.value.reason is reason


async def test_certificate_without_a_codice_fiscale_signs(
    pdf: bytes, authority: SigningAuthority
) -> None:
    means = means_of(authority.issue_file(codice_fiscale=""))

    assert (await verdict(await sign_pdf(pdf, means, PIN, NOW), authority.certificate)).bottom_line


@pytest.mark.parametrize(
    ("change", "pin", "reason"),
    [
        (lambda file: file, "sbagliato", Refusal.WRONG_PIN),
        (lambda file: file, "", Refusal.WRONG_PIN),
        (lambda _: b"%PDF-1.7 not at all", PIN, Refusal.UNREADABLE),
        (lambda _: b"", PIN, Refusal.UNREADABLE),
        (lambda file: file + b"\0" * 70_000, PIN, Refusal.UNREADABLE),
    ],
)
async def test_wrong_pin_and_wrong_file_are_told_apart(
    change: Callable[[bytes], bytes], pin: str, reason: Refusal, authority: SigningAuthority
) -> None:
    with pytest.raises(SigningRefused) as refused:
        await inspect_means(means_of(change(authority.issue_file())), pin, NOW)

    assert refused.value.reason is reason


async def test_facts_name_the_signer(authority: SigningAuthority) -> None:
    facts = await inspect_means(means_of(authority.issue_file()), PIN, NOW)

    assert (facts.subject, facts.issuer) == ("BIANCHI ANNA", "CA di prova")
    assert facts.codice_fiscale == CODICE_FISCALE
    assert facts.valid_until == NOW + timedelta(days=700)


async def test_token_that_is_not_there_is_unreachable(pdf: bytes) -> None:
    key = Pkcs11Key(module="/nowhere/libtoken.so", token="a", key="b")

    with pytest.raises(SigningRefused) as refused:
        await sign_pdf(pdf, SignerMeans("organisation", "doctor", key), PIN, NOW)

    assert refused.value.reason is Refusal.UNREACHABLE


async def test_time_stamp_authority_that_is_away_refuses(
    pdf: bytes, authority: SigningAuthority, unused_tcp_port: int
) -> None:
    means = means_of(authority.issue_file())

    with pytest.raises(SigningRefused) as refused:
        await sign_pdf(pdf, means, PIN, NOW, tsa_url=f"http://127.0.0.1:{unused_tcp_port}/")

    assert refused.value.reason is Refusal.UNREACHABLE


async def test_time_stamp_of_an_authority_is_in_the_signature(
    pdf: bytes, authority: SigningAuthority, aiohttp_server: AiohttpServer
) -> None:
    key, certificate = authority.issue(
        usage="digital_signature", purpose=ExtendedKeyUsageOID.TIME_STAMPING
    )
    [translated] = load_certs_from_pemder_data(certificate.public_bytes(Encoding.DER))
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    clock = DummyTimeStamper(
        translated, load_private_key_from_pemder_data(private, passphrase=None), fixed_dt=NOW
    )

    async def stamp(request: web.Request) -> web.Response:
        asked = tsp.TimeStampReq.load(await request.read())
        answer = await clock.async_request_tsa_response(asked)
        return web.Response(body=answer.dump(), content_type="application/timestamp-reply")

    app = web.Application()
    app.router.add_post("/", stamp)
    server = await aiohttp_server(app)

    signed = await sign_pdf(
        pdf, means_of(authority.issue_file()), PIN, NOW, tsa_url=str(server.make_url("/"))
    )

    found = await verdict(signed, authority.certificate)
    assert found.bottom_line
    assert found.timestamp_validity.valid
    assert found.timestamp_validity.timestamp == NOW
    assert pdfa_faults(signed) == []


async def test_signing_leaves_the_loop_free(pdf: bytes, authority: SigningAuthority) -> None:
    means = means_of(authority.issue_file())
    signing = asyncio.create_task(sign_pdf(pdf, means, PIN, NOW))
    ticks = 0
    started = time.perf_counter()
    while not signing.done():
        await asyncio.sleep(0.002)
        ticks += 1

    assert await signing
    assert ticks > 3, time.perf_counter() - started


# ---- rows ------------------------------------------------------------------------------


async def give_means(database: Database, keyring: Keyring, user: User, file: bytes) -> SignerMeans:
    async with database.begin(user.organisation_id) as session:
        row = await session.get_one(User, user.id)
        await seal_codice_fiscale(keyring, session, row, CODICE_FISCALE)
        means = SignerMeans(user.organisation_id, user.id, Pkcs12File(file), CODICE_FISCALE)
        await put_signer(keyring, session, means, await inspect_means(means, PIN, NOW), NOW)
    async with database.read(user.organisation_id) as session:
        loaded = await load_means(keyring, session, user.id)
    assert loaded == means
    return means


async def test_kept_means_are_sealed_and_sign(
    database: Database, keyring: Keyring, cast: Cast, pdf: bytes, authority: SigningAuthority
) -> None:
    file = authority.issue_file()
    means = await give_means(database, keyring, cast.toscana.clinician, file)

    signed = await sign_as(database, means, PIN, pdf, NOW)

    assert (await verdict(signed, authority.certificate)).bottom_line
    async with database.read(means.organisation) as session:
        row = await find_signer(session, means.user_id)
        assert row is not None
        assert file[40:200] not in row.sealed_content
        assert (row.kind, row.failed_pins) == (SignerKind.PKCS12, 0)
        assert await load_means(keyring, session, cast.toscana.colleague.id) is None


async def test_three_wrong_pins_lock_and_new_means_unlock(
    database: Database, keyring: Keyring, cast: Cast, pdf: bytes, authority: SigningAuthority
) -> None:
    file = authority.issue_file()
    means = await give_means(database, keyring, cast.toscana.clinician, file)

    answers = await asyncio.gather(
        *(sign_as(database, means, "sbagliato", pdf, NOW) for _ in range(6)),
        return_exceptions=True,
    )
    reasons = [answer.reason for answer in answers if isinstance(answer, SigningRefused)]
    with pytest.raises(SigningRefused) as refused:
        await sign_as(database, means, PIN, pdf, NOW)

    assert sorted(reasons) == [Refusal.LOCKED] * 3 + [Refusal.WRONG_PIN] * 3
    assert refused.value.reason is Refusal.LOCKED
    await give_means(database, keyring, cast.toscana.clinician, file)
    assert await sign_as(database, means, PIN, pdf, NOW)


async def test_right_pin_and_other_refusals_do_not_count(
    database: Database, keyring: Keyring, cast: Cast, pdf: bytes, authority: SigningAuthority
) -> None:
    means = await give_means(database, keyring, cast.toscana.clinician, authority.issue_file())
    later = NOW + timedelta(days=900)

    for pin, now in (("sbagliato", NOW), (PIN, later), ("sbagliato", NOW), (PIN, later)):
        with pytest.raises(SigningRefused):
            await sign_as(database, means, pin, pdf, now)
    async with database.read(means.organisation) as session:
        row = await find_signer(session, means.user_id)
        assert row is not None
        assert row.failed_pins == 2
    await sign_as(database, means, PIN, pdf, NOW)
    async with database.read(means.organisation) as session:
        row = await find_signer(session, means.user_id)
        assert row is not None
        assert row.failed_pins == 0


async def test_removing_or_changing_the_means_forgets_the_pin_of_each_login(
    database: Database, keyring: Keyring, cast: Cast, authority: SigningAuthority
) -> None:
    user = cast.toscana.clinician
    await give_means(database, keyring, user, authority.issue_file())
    async with database.begin(user.organisation_id) as session:
        login = UserSession(
            token_hash="a" * 64,
            organisation_id=user.organisation_id,
            user_id=user.id,
            created_at=NOW,
            seen_at=NOW,
        )
        session.add(login)
        await seal_signing_pin(keyring, session, login, PIN)
    async with database.read(user.organisation_id) as session:
        login = await session.get_one(UserSession, "a" * 64)
        assert await open_signing_pin(keyring, session, login) == PIN

    async with database.begin(user.organisation_id) as session:
        assert await remove_signer(session, user.id)
        assert not await remove_signer(session, user.id)

    async with database.read(user.organisation_id) as session:
        assert (await session.get_one(UserSession, "a" * 64)).sealed_signing_pin is None
        assert await load_means(keyring, session, user.id) is None


async def test_signer_of_the_demonstration_signs_with_its_own_root(
    database: Database, keyring: Keyring, cast: Cast, pdf: bytes
) -> None:
    own, user = DemoAuthority(NOW), cast.toscana.clinician
    async with database.begin(user.organisation_id) as session:
        row = await session.get_one(User, user.id)
        await seal_codice_fiscale(keyring, session, row, CODICE_FISCALE)
        pin = await make_demo_signer(own, keyring, session, row, NOW)
    async with database.read(user.organisation_id) as session:
        means = await load_means(keyring, session, user.id)
    assert means is not None

    signed = await sign_as(database, means, pin, pdf, NOW)

    assert (await verdict(signed, own.certificate)).bottom_line
    assert pin == demo_pin(keyring, user.username)
    assert not (await verdict(signed, DemoAuthority(NOW).certificate)).trusted
