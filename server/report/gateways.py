"""How an organisation is connected to the gateway of the national record: one folder of files.

``<fse_dir>/<organisation code>/`` holds ``gateway.json`` (:class:`GatewayFile`) and, as PEM,
``authentication.pem``/``.key`` (the TLS client), ``signature.pem``/``.key`` (the JWTs) and, where
the gateway's own certificate is not of a public authority, ``authority.pem``. Without
``gateway.json`` the organisation is not connected. Files are read again for every round of the
queue: a renewed certificate needs no restart.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from server.settings import Settings
from server.settingvalues import LOOPBACK_HOSTS

_FILE: Final = "gateway.json"
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Facility(StrEnum):
    """``tipologiaStruttura`` (Affinity Domain, healthcareFacilityTypeCode)."""

    HOSPITAL = "Ospedale"
    TERRITORY = "Territorio"


class Catalogue(StrEnum):
    """The registry that the codes of sites are from."""

    HSP = "HSP.11"
    STS = "STS.11"


class GatewayFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``gateway.json``."""

    url: str
    """Base address with its version: ``https://…/govway/rest/in/FSE/gateway/v1``."""
    repository: str
    """OID of the repository that keeps the documents (``identificativoRep``)."""
    audience: str = ""
    """Claim ``aud``; empty: the address itself."""
    facility: Facility = Facility.TERRITORY
    site_catalogue: Catalogue = Catalogue.HSP
    practice_setting: str = "AD_PSC131"
    """``assettoOrganizzativo`` of a clinic without a known discipline."""
    application_id: str = "ACCANTO"
    application_vendor: str = "Accanto"


class GatewayUnusable(Exception):
    """The folder cannot be used; ``reason`` is a stable word, for instance ``certificate_expired``,
    and ``text`` a sentence for the administrator."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, slots=True)
class Gateway:
    """One organisation's way in, as its files say it."""

    settings: GatewayFile
    tls: ssl.SSLContext
    signing_key: bytes
    """PEM."""
    signing_certificate: bytes
    """DER."""
    common_name: str
    ends_at: datetime
    """When the first of the two certificates ends."""

    @property
    def url(self) -> str:
        return self.settings.url.rstrip("/")

    @property
    def audience(self) -> str:
        return self.settings.audience or self.url


def folder_of(settings: Settings, organisation_code: str) -> Path | None:
    """Where the files of an organisation would be; None when its code cannot name a folder."""
    if _PLAIN.fullmatch(organisation_code) is None:
        return None
    return settings.fse_folder / organisation_code


def is_connected(settings: Settings, organisation_code: str) -> bool:
    """Whether this organisation publishes to the national record."""
    folder = folder_of(settings, organisation_code)
    return folder is not None and (folder / _FILE).is_file()


def load_gateway(settings: Settings, organisation_code: str, now: datetime) -> Gateway | None:
    """The gateway of an organisation; None when it is not connected.

    :raises GatewayUnusable: a file is missing, unreadable, or a certificate is not valid now.
    """
    folder = folder_of(settings, organisation_code)
    if folder is None or not (folder / _FILE).is_file():
        return None
    found = _read_settings(folder)
    certificates = [_read_certificate(folder, name) for name in ("authentication", "signature")]
    for name, certificate in zip(("authentication", "signature"), certificates, strict=True):
        _check_dates(name, certificate, now)
    signature = certificates[1]
    names = signature.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        raise GatewayUnusable("certificate_unreadable", "signature.pem has no common name")
    return Gateway(
        settings=found,
        tls=_make_context(folder),
        signing_key=_read(folder, "signature.key"),
        signing_certificate=signature.public_bytes(Encoding.DER),
        common_name=str(names[0].value),
        ends_at=min(each.not_valid_after_utc for each in certificates),
    )


def find_loose_keys(settings: Settings, organisation_code: str) -> list[str]:
    """The names of private keys that others on this machine could read."""
    folder = folder_of(settings, organisation_code)
    names = ("authentication.key", "signature.key")
    paths = [folder / name for name in names] if folder is not None else []
    return [path.name for path in paths if path.is_file() and path.stat().st_mode & 0o077]


def _read_settings(folder: Path) -> GatewayFile:
    try:
        found = msgspec.json.decode(_read(folder, _FILE), type=GatewayFile)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise GatewayUnusable("wrong_settings", f"{_FILE}: {error}") from error
    parts = urlsplit(found.url)
    is_safe = parts.scheme == "https" or parts.hostname in LOOPBACK_HOSTS
    if not is_safe or not parts.hostname:
        raise GatewayUnusable("wrong_settings", f"{_FILE}: url must be https")
    if re.fullmatch(r"[0-2](\.(0|[1-9]\d*))+", found.repository) is None:
        raise GatewayUnusable("wrong_settings", f"{_FILE}: repository must be an OID")
    return found


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise GatewayUnusable("file_missing", f"{name} cannot be read") from error


def _read_certificate(folder: Path, name: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(folder, f"{name}.pem"))
    except ValueError as error:
        raise GatewayUnusable("certificate_unreadable", f"{name}.pem is no certificate") from error


def _check_dates(name: str, certificate: x509.Certificate, now: datetime) -> None:
    if now >= certificate.not_valid_after_utc:
        raise GatewayUnusable("certificate_expired", f"{name}.pem has ended")
    if now < certificate.not_valid_before_utc:
        raise GatewayUnusable("certificate_expired", f"{name}.pem is not valid yet")


def _make_context(folder: Path) -> ssl.SSLContext:
    authority = folder / "authority.pem"
    try:
        context = ssl.create_default_context(cafile=authority if authority.is_file() else None)
        context.load_cert_chain(folder / "authentication.pem", folder / "authentication.key")
    except (OSError, ssl.SSLError) as error:
        text = "authentication.pem, its key or authority.pem cannot be used"
        raise GatewayUnusable("certificate_unreadable", text) from error
    return context
