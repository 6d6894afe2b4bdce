"""Where data go from this installation, as its settings say it: for the processing record.

Pure. A flow that is not switched on is not there; addresses are given as hosts, never with a path
or a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from server.models import Connector, Source
from server.settings import Settings, SmtpSecurity
from server.settingvalues import LOOPBACK_HOSTS
from server.sources import SourceSettings, settings_of

_SEALED_SCHEMES: Final = frozenset({"https", "valkeys", "rediss", "turns", "fhirs"})


class Recipient(StrEnum):
    """Who gets data, or keeps them for us."""

    PATIENTS = "patients"
    CUP_IN = "cup_in"
    CUP_OUT = "cup_out"
    MAIL = "mail"
    SMS = "sms"
    FSE = "fse"
    TURN = "turn"
    STUN = "stun"
    TIME_STAMP = "time_stamp"
    KEY_SERVICE = "key_service"
    DATABASE = "database"
    ROOM_LOG = "room_log"
    BACKUP = "backup"


class Protection(StrEnum):
    """How it is sealed on its way."""

    TLS = "tls"
    MUTUAL_TLS = "mutual_tls"
    MEDIA = "media"
    """Calls: SRTP from browser to browser; a relay sees nothing of them."""
    LOCAL = "local"
    """It does not leave the machine."""
    SEALED = "sealed"
    """What goes is sealed itself."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Flow:
    """One way of data; ``place``: a host, a port or a folder."""

    recipient: Recipient
    place: str
    protection: Protection


def flows_of(settings: Settings, sources: Iterable[Source], fse_address: str = "") -> list[Flow]:
    """All that are switched on. ``fse_address``: the gateway of the organisation, empty: none."""
    found = [_by_url(Recipient.PATIENTS, settings.base_url)]
    for source in sources:
        found += _of_source(source.name or source.code, settings_of(source))
    if settings.smtp_host:
        found.append(Flow(Recipient.MAIL, settings.smtp_host, _mail_protection(settings)))
    addresses = [
        (Recipient.SMS, settings.sms_url),
        (Recipient.FSE, fse_address),
        (Recipient.KEY_SERVICE, settings.transit_url),
        (Recipient.DATABASE, settings.database_url),
        (Recipient.ROOM_LOG, settings.valkey_url),
    ]
    found += [_by_url(recipient, address) for recipient, address in addresses if address]
    if not settings.database_url:
        found.append(Flow(Recipient.DATABASE, "", Protection.LOCAL))
    if settings.signing_tsa_url:
        found.append(Flow(Recipient.TIME_STAMP, _host(settings.signing_tsa_url), Protection.SEALED))
    found += [Flow(Recipient.TURN, _relay(url), Protection.MEDIA) for url in settings.turn_urls]
    found += [Flow(Recipient.STUN, _relay(url), Protection.NONE) for url in settings.stun_urls]
    folders = (settings.backup_dir, settings.backup_keys_dir)
    found += [Flow(Recipient.BACKUP, folder, Protection.SEALED) for folder in folders if folder]
    return found


def _of_source(name: str, settings: SourceSettings) -> Iterator[Flow]:
    listener, poller, outgoing = settings.listener, settings.poller, settings.outgoing
    if listener is not None:
        tls = Protection.MUTUAL_TLS if listener.tls else Protection.NONE
        protection = Protection.LOCAL if listener.is_on_loopback else tls
        yield Flow(Recipient.CUP_IN, f"{name}, {listener.host}:{listener.port}", protection)
    if poller is not None:
        yield Flow(Recipient.CUP_IN, f"{name}, {_host(poller.url)}", _protection(poller.url))
    if settings.drop_folder:
        yield Flow(Recipient.CUP_IN, f"{name}, {settings.drop_folder}", Protection.LOCAL)
    if listener is None and poller is None and not settings.drop_folder:
        yield Flow(Recipient.CUP_IN, name, Protection.TLS)
    if outgoing is None:
        return
    if outgoing.connector is Connector.HL7V2:
        protection = Protection.MUTUAL_TLS if outgoing.tls else Protection.NONE
        yield Flow(Recipient.CUP_OUT, f"{name}, {outgoing.address}", protection)
    elif outgoing.connector is Connector.FHIR:
        place = f"{name}, {_host(outgoing.address)}"
        yield Flow(Recipient.CUP_OUT, place, _protection(outgoing.address))
    else:
        yield Flow(Recipient.CUP_OUT, f"{name}, {outgoing.address}", Protection.LOCAL)


def _by_url(recipient: Recipient, url: str) -> Flow:
    return Flow(recipient, _host(url), _protection(url))


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _protection(url: str) -> Protection:
    host = _host(url)
    if not host or host in LOOPBACK_HOSTS:
        return Protection.LOCAL
    return Protection.TLS if urlsplit(url).scheme in _SEALED_SCHEMES else Protection.NONE


def _mail_protection(settings: Settings) -> Protection:
    if settings.smtp_host in LOOPBACK_HOSTS:
        return Protection.LOCAL
    return Protection.NONE if settings.smtp_security is SmtpSecurity.NONE else Protection.TLS


def _relay(url: str) -> str:
    """``turn:turn.example.it:3478?transport=udp`` without what follows the port."""
    return url.partition(":")[2].partition("?")[0]
