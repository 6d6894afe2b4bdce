"""``accanto demo``: an installation with invented people, whose day comes in by the real import.

The folder and its keys stay; with the same folder the demonstration goes on where it was. The
files that CUP would send hold names, so they are written outside the data folder and deleted.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import click
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.admin import add_organisation, add_user, open_database, prepare
from server.cup.inbox.intake import import_file
from server.db import EVERY_ORGANISATION, Database
from server.demo import people
from server.demo.backing import RECORDS, Backing, run_backing
from server.demo.cases import plan_past
from server.demo.day import (
    MAIN_BOOKING,
    Slot,
    codice_fiscale_of,
    plan_day,
    render_bundle,
    render_csv,
)
from server.demo.link import HOST, claim_port, fhir_token, make_source, renew_listener
from server.demo.month import plan_month
from server.demo.monthvisits import hold_month
from server.demo.nodes import Nodes, make_app, run_nodes
from server.demo.past import hold_past_visits
from server.demo.people import Body, Staff
from server.demo.signers import DemoAuthority, demo_pin, make_demo_signer
from server.demo.stage import Stage
from server.demo.writing import add_writing
from server.errors import CommandFailed
from server.joinlink import LinkPhase, derive_link, link_phase
from server.keyring import Keyring, load_keyring
from server.listen import Place, serve
from server.models import Appointment, Clinic, Organisation, Phase, Source, User, Visit
from server.models.ids import crockford
from server.models.recording import RecordingPurpose
from server.passwords import hash_password
from server.phases import change_phase
from server.sealed import open_identity, seal_codice_fiscale
from server.settings import Settings, load_settings, save_settings

_PARENT: Final = Path("demo-data")
MARK: Final = "demonstration"
"""An empty file that makes a folder ours; written last, when the day is in."""
_DEFAULT_PORT: Final = 8080
_BOOKED_BEFORE: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a person, or a test, needs to begin; the keys of ``--json``."""

    base_url: str
    patient_url: str
    patient_birth_date: str
    clinician_url: str
    clinician_username: str
    clinician_password: str
    other_clinician_username: str
    other_clinician_password: str
    desk_username: str
    desk_password: str
    manager_username: str
    manager_password: str
    administrator_username: str
    administrator_password: str
    clinician_code: str
    """As CUP's messages call the clinician."""
    mllp_host: str
    mllp_port: int
    fhir_url: str
    fhir_token: str
    smtp_outbox_url: str
    data_dir: str


async def run_demo(
    folder: Path | None, port: int | None, nodes: int, *, is_json: bool, now: datetime
) -> None:
    """Make or resume a demonstration and serve it until it is stopped.

    :raises CommandFailed: the folder is something else, or the port is taken.
    """
    folder = folder or _PARENT / f"{now.astimezone():%Y-%m-%d-%H%M%S}"
    is_resumed = (folder / MARK).exists()
    if not is_resumed and folder.exists() and any(folder.iterdir()):
        raise CommandFailed(f"{folder} is not a demonstration: it is left as it is")
    if is_resumed and (folder / RECORDS).exists() != (nodes > 1):
        raise CommandFailed(f"{folder} was made {'without' if nodes > 1 else 'with'} --nodes")
    if port is None:
        port = load_settings(folder).port if is_resumed else _DEFAULT_PORT
    port = claim_port(port)
    if nodes == 1:
        ready = await _prepare(folder, port, Backing("", ""), now)
        place = Place(notice_seconds=0)
        await serve(ready.settings, partial(_print, ready, is_json), make_app, place)
        return
    with run_backing(folder) as backing:
        ready = await _prepare(folder, port, backing, now)
        async with run_nodes(ready.settings, nodes) as running:
            await _print(ready, is_json, port, running)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A demonstration that is filled and may be served."""

    settings: Settings
    announcement: Announcement
    is_over: bool
    pin: str
    """Of the clinician's signature."""


async def _prepare(folder: Path, port: int, backing: Backing, now: datetime) -> _Ready:
    """Make what is missing in the folder and in its database."""
    chosen = {"port": str(port), "base_url": f"http://{HOST}:{port}"}
    settings = load_settings(folder, host=HOST, **chosen, **asdict(backing))
    await prepare(settings)
    save_settings(folder, chosen | {name: url for name, url in asdict(backing).items() if url})
    keyring = load_keyring(folder)
    async with open_database(settings) as database:
        if not (folder / MARK).exists():
            await _fill(settings, database, keyring, now)
            (folder / MARK).touch()
        mllp_port = await renew_listener(database)
        announcement, is_over = await _announce(database, keyring, settings, mllp_port, now)
    return _Ready(settings, announcement, is_over, demo_pin(keyring, people.CLINICIAN.username))


async def _print(ready: _Ready, is_json: bool, _: int, nodes: Nodes | None = None) -> None:
    if is_json:
        click.echo(json.dumps(asdict(ready.announcement) | (asdict(nodes) if nodes else {})))
        return
    click.echo(_banner(ready.announcement, ready.pin, is_over=ready.is_over))
    for url, pid in zip(nodes.node_urls, nodes.node_pids, strict=True) if nodes else ():
        click.echo(f"  Node       {url}   process {pid}")


async def _fill(settings: Settings, database: Database, keyring: Keyring, now: datetime) -> None:
    """Two bodies, their staff, the visits of the last month and of yesterday, their day today; all
    bookings come in by the real import."""
    month, past = plan_month(now), plan_past(now)
    began_at = month[0].evening_before - _BOOKED_BEFORE
    sources = await _add_bodies(database, keyring, began_at)
    await add_writing(database, began_at)
    first, second = plan_day(now)
    stage = Stage(settings, database, keyring, began_at)

    async def import_slots(slots: Sequence[Slot], name: str) -> None:
        content = render_bundle(list(slots), stage.now)
        await _import(database, keyring, sources[0], name, content, stage.now)

    def secrets_of(username: str) -> tuple[str, str]:
        return _password_of(keyring, username), demo_pin(keyring, username)

    async with stage.serve():
        await hold_month(stage, month, secrets_of, import_slots)
        stage.now = past[0][0].start - _BOOKED_BEFORE
        await import_slots([slot for slot, _ in past], "past.json")
        await hold_past_visits(stage, past, secrets_of)
    await _import(database, keyring, sources[0], "cup.json", render_bundle(first, now), now)
    await _import(database, keyring, sources[1], "cup.csv", render_csv(second), now)


async def _import(
    database: Database, keyring: Keyring, source: Source, name: str, content: bytes, now: datetime
) -> None:
    """Take in a file of CUP, outside the data folder: it holds names."""
    with tempfile.TemporaryDirectory(prefix="accanto-demo-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        report = await import_file(
            database, keyring, path, organisation_code=None, now=now, source=source
        )
    if report.errors:
        raise CommandFailed(f"The demonstration's own {name} was not read: a bug")
    await _complete_clinics(database)


async def _add_bodies(database: Database, keyring: Keyring, began_at: datetime) -> list[Source]:
    """The two bodies with their staff; ``began_at``: since when they work."""
    hashes = await asyncio.gather(
        *(
            asyncio.to_thread(hash_password, _password_of(keyring, staff.username))
            for staff in people.STAFF
        )
    )
    authority, sources = DemoAuthority(began_at), []
    async with database.begin(EVERY_ORGANISATION) as session:
        for body in (people.TUSCANY, people.EMILIA):
            organisation = _organisation(body)
            await add_organisation(session, keyring, organisation)
            await change_phase(session, organisation, Phase.ATTIVO, (), by="", now=began_at)
            is_open = body is people.TUSCANY
            source = make_source(organisation, body.source_code, keyring, is_open=is_open)
            session.add(source)
            sources.append(source)
            for staff, password_hash in zip(people.STAFF, hashes, strict=True):
                if staff.body is not body:
                    continue
                user = _user(staff, organisation, password_hash)
                await add_user(session, user)
                if staff.person is not None:
                    code = codice_fiscale_of(staff.person)
                    await seal_codice_fiscale(keyring, session, user, code)
                    await make_demo_signer(authority, keyring, session, user, began_at)
    return sources


async def _complete_clinics(database: Database) -> None:
    """What CUP does not say of a clinic and a report must."""
    services = {service.clinic_code: service for service in people.SERVICES}
    async with database.begin(EVERY_ORGANISATION) as session:
        for clinic in await session.scalars(select(Clinic)):
            service = services[clinic.code]
            clinic.discipline_code, clinic.branch_code = (
                service.discipline_code,
                service.branch_code,
            )
            clinic.site_code, clinic.site_name = service.site_code, service.site_name


def _organisation(body: Body) -> Organisation:
    return Organisation(
        code=body.code,
        name=body.name,
        desk_phone=body.desk_phone,
        is_totp_required=False,
        province=body.province,
        region_code=body.region_code,
        ministry_code=body.ministry_code,
        street=body.street,
        postal_code=body.postal_code,
        city=body.city,
        is_recording_allowed=True,
        recording_purposes=list(RecordingPurpose),
    )


def _user(staff: Staff, organisation: Organisation, password_hash: str) -> User:
    return User(
        organisation_id=organisation.id,
        username=staff.username,
        password_hash=password_hash,
        role=staff.role,
        title=staff.title,
        given_name=staff.given_name,
        family_name=staff.family_name,
        code=staff.code,
        is_facilitator=staff in (people.CLINICIAN, people.OTHER_CLINICIAN),
    )


def _password_of(keyring: Keyring, username: str) -> str:
    """Derived from the root key: stored nowhere, and the same after a restart."""
    digest = int.from_bytes(keyring.derive(f"demo-password|{username}"), "big")
    text = crockford(digest, 12)
    return f"{text[:4]}-{text[4:8]}-{text[8:]}"


async def _announce(
    database: Database, keyring: Keyring, settings: Settings, mllp_port: int, now: datetime
) -> tuple[Announcement, bool]:
    """What to print, and whether the main visit is over."""
    async with database.read(EVERY_ORGANISATION) as session:
        visits = await session.scalars(
            select(Visit)
            .join(Visit.appointment)
            .where(Appointment.booking_code == MAIN_BOOKING)
            .options(joinedload(Visit.appointment).joinedload(Appointment.patient))
        )
        visit = visits.one()
        identity = await open_identity(keyring, session, visit.appointment.patient)
        join_key = await keyring.load_secret(session, visit.organisation_id, "join")
    link = derive_link(join_key, visit.id, visit.link_version)
    base_url = settings.base_url
    return Announcement(
        base_url=base_url,
        patient_url=f"{base_url}/v/{visit.locator}#{link.fragment}",
        patient_birth_date=identity.birth_date.isoformat() if identity.birth_date else "",
        clinician_url=f"{base_url}/login",
        clinician_username=people.CLINICIAN.username,
        clinician_password=_password_of(keyring, people.CLINICIAN.username),
        other_clinician_username=people.OTHER_CLINICIAN.username,
        other_clinician_password=_password_of(keyring, people.OTHER_CLINICIAN.username),
        desk_username=people.DESK.username,
        desk_password=_password_of(keyring, people.DESK.username),
        manager_username=people.MANAGER.username,
        manager_password=_password_of(keyring, people.MANAGER.username),
        administrator_username=people.ADMINISTRATOR.username,
        administrator_password=_password_of(keyring, people.ADMINISTRATOR.username),
        clinician_code=people.CLINICIAN.code or "",
        mllp_host=HOST,
        mllp_port=mllp_port,
        fhir_url=f"{base_url}/fhir",
        fhir_token=fhir_token(keyring),
        smtp_outbox_url=f"{base_url}/demo/outbox",
        data_dir=str(settings.data_dir.resolve()),
    ), link_phase(visit, visit.appointment, now) not in {LinkPhase.CHECK_IN, LinkPhase.ROOM}


def _banner(ready: Announcement, pin: str, *, is_over: bool) -> str:
    lines = [
        "",
        "  Accanto demo: open the two links in two browser windows.",
        "",
        f"  Patient    {ready.patient_url}",
        f"             birth date {ready.patient_birth_date}",
        f"  Clinician  {ready.clinician_url}",
        f"             {ready.clinician_username}   {ready.clinician_password}",
        f"             PIN of the signature {pin}",
        f"  Desk       {ready.desk_username}   {ready.desk_password}",
        f"  Manager    {ready.manager_username}   {ready.manager_password}",
        f"  Admin      {ready.administrator_username}   {ready.administrator_password}",
        "",
        f"  Messages   {ready.smtp_outbox_url}   what patients would receive",
        f"  CUP        HL7 v2 (MLLP) {ready.mllp_host}:{ready.mllp_port}",
        f"             FHIR {ready.fhir_url}   token {ready.fhir_token}",
        "",
        f"  Folder     {ready.data_dir}",
        "  Two-factor login is off in the demo. Ctrl-C stops it; the folder stays.",
    ]
    if is_over:
        lines.append("  The first patient's visit is over: a fresh demo has a new day.")
    return "\n".join([*lines, ""])
