"""The settings: one table, read once. Nobody else looks at the environment.

Each value comes from ``ACCANTO_<NAME>`` in the environment, else from ``accanto.env`` in the
data folder, else from the default here. ``accanto settings`` and the README print this table.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from recordings.echowords import Endpoint
from recordings.s3 import Bucket
from server import settingvalues
from server.errors import CommandFailed

ENVIRONMENT_PREFIX = "ACCANTO_"
SETTINGS_FILE = "accanto.env"


class SmtpSecurity(StrEnum):
    """How the connection to the mail server is sealed."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class Settings(BaseSettings):
    """Everything that can be set; each description is the help people read."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(
        default=Path("accanto-data"), description="Folder of the database, the keys and the files."
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL, for instance postgresql+asyncpg://user@host/name. "
        "Empty: SQLite in the data folder.",
    )
    valkey_url: Annotated[str, AfterValidator(settingvalues.check_valkey)] = Field(
        default="",
        repr=False,
        description="Valkey that all processes share, for instance unix:///run/valkey/valkey.sock, "
        "valkey://host:6379 or valkeys://:password@host:6379 (TLS). Empty: this process is alone.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    base_url: Annotated[str, AfterValidator(settingvalues.check_origin)] = Field(
        default="http://127.0.0.1:8080",
        description="What browsers type: links are built from it and it is the only allowed "
        "Origin. https is required outside this machine.",
    )
    trusted_proxies: list[Annotated[str, AfterValidator(settingvalues.check_network)]] = Field(
        default=["127.0.0.1/32", "::1/128"],
        description="JSON list of reverse proxies (addresses or networks): only from them "
        "X-Forwarded-For is believed.",
    )
    turn_urls: list[str] = Field(
        default=[], description='JSON list such as ["turn:turn.example.it:3478?transport=udp"].'
    )
    turn_secret: Annotated[str, AfterValidator(settingvalues.check_own_secret)] = Field(
        default="", repr=False, description="Shared secret of the TURN servers (REST credentials)."
    )
    turn_former_secret: str = Field(
        default="",
        repr=False,
        description="Secret that the TURN servers still take while it is changed. Empty: none.",
    )
    turn_valkey_url: Annotated[str, AfterValidator(settingvalues.check_plain_valkey)] = Field(
        default="",
        repr=False,
        description="Valkey that the TURN servers read their secrets from, for instance "
        "valkey://accanto:password@10.0.0.5:6379: each seat has its own and loses it at once when "
        "it is revoked. Empty: turn_secret for all.",
    )
    turn_realm: Annotated[str, AfterValidator(settingvalues.check_realm)] = Field(
        default="", description="Realm of the TURN servers. Empty: the host of base_url."
    )
    stun_urls: list[str] = Field(
        default=[], description="JSON list of STUN servers. Empty: none is asked, ever."
    )
    media_address: Annotated[str, AfterValidator(settingvalues.check_address)] = Field(
        default="",
        description="Address of this machine that browsers reach for the echo of the line test; "
        "behind NAT the public one. Empty: each address of this machine but loopback.",
    )
    media_ports: Annotated[str, AfterValidator(settingvalues.check_ports)] = Field(
        default="",
        description="UDP ports for it, to be open in the firewall, such as 40000-40099. "
        "Empty: any port.",
    )
    line_test_hours: int = Field(
        default=24,
        ge=1,
        le=24 * 30,
        description="How many hours before the visit the patient can begin to test the line.",
    )
    line_test_legs: int = Field(
        default=4,
        ge=1,
        le=64,
        description="How many line tests one process runs at once, each with up to 150 MB for "
        "half a minute; others are asked to wait.",
    )
    training_patients: int = Field(
        default=3,
        ge=1,
        le=32,
        description="How many synthetic patients of practice visits one process runs at once; "
        "others are asked to wait.",
    )
    recordings_at_once: int = Field(
        default=8,
        ge=1,
        le=256,
        description="How many visits are recorded at once, each by a process with up to 120 MB and "
        "an eighth of a core; who asks for another one is told to try later.",
    )
    files_max_mb: int = Field(
        default=20,
        ge=1,
        le=100,
        description="Size in MB of a photo or document that a patient may send; the proxy in front "
        "must let as much through.",
    )
    files_per_visit: int = Field(
        default=20, ge=1, le=200, description="How many of them one visit may have."
    )
    store_url: Annotated[str, AfterValidator(settingvalues.check_bucket)] = Field(
        default="",
        description="Where recordings are kept, sealed: s3://bucket or s3://bucket/folder of an "
        "S3-compatible store, whose own copies are then their backup. Empty: the data folder.",
    )
    store_endpoint: Annotated[str, AfterValidator(settingvalues.check_gateway)] = Field(
        default="",
        description="Address of that store, for instance https://s3.example.it. Empty: Amazon's "
        "own of the region.",
    )
    store_region: str = Field(default="eu-south-1", description="Region of the bucket.")
    store_access_key: str = Field(default="", description="Access key of the store.")
    store_secret_key: str = Field(default="", repr=False, description="Secret of that access key.")
    signing_tsa_url: str = Field(
        default="",
        description="Time stamp authority (RFC 3161) that signatures of reports are stamped by "
        "(PAdES B-T), with http or https. Empty: without a stamp (PAdES B-B).",
    )
    metrics_token: Annotated[str, AfterValidator(settingvalues.check_own_secret)] = Field(
        default="",
        repr=False,
        description="Bearer token of `/metrics` (Prometheus). Empty: only this machine itself may "
        "ask, and not through a proxy.",
    )
    smtp_host: str = Field(
        default="", description="Mail server for messages to patients. Empty: no e-mail is sent."
    )
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Port of the mail server.")
    smtp_security: SmtpSecurity = Field(
        default=SmtpSecurity.STARTTLS,
        description="starttls, tls (from the first byte, often port 465) or none.",
    )
    smtp_username: str = Field(default="", description="User of the mail server. Empty: no log-in.")
    smtp_password: str = Field(
        default="", repr=False, description="Password of that user of the mail server."
    )
    mail_from: Annotated[str, AfterValidator(settingvalues.check_sender)] = Field(
        default="", description="Address that e-mails to patients come from."
    )
    sms_url: Annotated[str, AfterValidator(settingvalues.check_gateway)] = Field(
        default="",
        description='SMS gateway that takes POST {"to", "text", "id"} as JSON. '
        "Empty: no SMS is sent.",
    )
    sms_token: str = Field(default="", repr=False, description="Bearer token of the SMS gateway.")
    log_signer_dir: str = Field(
        default="",
        description="Folder of the signer of the session log: its key and its memory. On another "
        "disk or under another user it outlives an intruder. Empty: log-signer in the data folder.",
    )
    log_head_mail: list[Annotated[str, AfterValidator(settingvalues.check_sender)]] = Field(
        default=[],
        description="JSON list of addresses that get the newest checkpoint of every session log "
        "once a day: kept there, it shows later whether a log was altered. Empty: nobody.",
    )
    backup_dir: str = Field(
        default="", description="Folder of backups of the data, for `accanto backup` and `check`."
    )
    backup_keys_dir: str = Field(
        default="",
        description="Folder of backups of the keys: on another disk, under other hands.",
    )
    transit_url: Annotated[str, AfterValidator(settingvalues.check_gateway)] = Field(
        default="",
        description="OpenBao or Vault whose transit engine holds the root key, for instance "
        "https://bao.example.it:8200. Empty: the root key is a file of the data folder.",
    )
    transit_mount: str = Field(default="transit", description="Path of that transit engine.")
    transit_key: str = Field(
        default="accanto",
        description="Name of the key in it: type aes256-gcm96, derived=true.",
    )
    transit_token_file: str = Field(
        default="", description="File with the token for it, read at each use."
    )
    transit_ca_file: str = Field(
        default="",
        description="Certificates (PEM) that the transit service is believed by. Empty: those of "
        "the machine.",
    )
    fse_dir: str = Field(
        default="",
        description="Folder with one folder for each organisation that publishes to the national "
        "record (FSE): certificates, keys and `gateway.json`. Empty: `fse` in the data folder.",
    )
    line_voice_gap_percent: float = Field(
        default=10,
        gt=0,
        le=100,
        description="Gaps in a voice, in per cent of some seconds, from which on it is not "
        "understood.",
    )
    line_delay_ms: int = Field(
        default=800,
        gt=0,
        description="Time there and back, in milliseconds, from which on a talk is not possible.",
    )
    line_frames_per_second: float = Field(
        default=5, gt=0, le=30, description="Pictures a second below which one is none."
    )
    line_frozen_percent: float = Field(
        default=30,
        gt=0,
        le=100,
        description="Time that a picture may stand still, in per cent of some seconds.",
    )
    line_bad_time_percent: float = Field(
        default=15,
        gt=0,
        le=100,
        description="How much of a visit may be bad, in per cent, before the line is proposed as "
        "good for the voice only, or as not suitable.",
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @property
    def database(self) -> str:
        """The URL to connect to."""
        return self.database_url or f"sqlite+aiosqlite:///{self.sqlite_file}"

    @property
    def sqlite_file(self) -> Path:
        """The embedded database, used where there is no ``database_url``."""
        return self.data_dir.resolve() / "accanto.db"

    @property
    def fse_folder(self) -> Path:
        """Where the gateways of the organisations are described."""
        return Path(self.fse_dir) if self.fse_dir else self.data_dir / "fse"

    @property
    def signer_folder(self) -> Path:
        """Where the signer of the session log keeps its key and memory."""
        return Path(self.log_signer_dir) if self.log_signer_dir else self.data_dir / "log-signer"

    @property
    def realm(self) -> str:
        """What the TURN servers call themselves in a challenge."""
        return self.turn_realm or str(urlsplit(self.base_url).hostname)

    @property
    def bucket(self) -> Bucket | None:
        """The S3-compatible store of recordings."""
        if not self.store_url:
            return None
        parts = urlsplit(self.store_url)
        return Bucket(
            name=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=self.store_endpoint,
            region=self.store_region,
            access_key=self.store_access_key,
            secret_key=self.store_secret_key,
        )

    @property
    def media_endpoint(self) -> Endpoint:
        """Where the media legs of this server listen."""
        first, _, last = self.media_ports.partition("-")
        return Endpoint(self.media_address, int(first or 0), int(last or 0))

    @property
    def is_https(self) -> bool:
        return self.base_url.startswith("https://")


def load_settings(data_dir: Path | None = None, **overrides: object) -> Settings:
    """Read the table for one data folder.

    :raises CommandFailed: names the setting and what is wrong with it.
    """
    folder = data_dir or Path(
        os.environ.get(
            f"{ENVIRONMENT_PREFIX}DATA_DIR", str(Settings.model_fields["data_dir"].default)
        )
    )
    given = {name: value for name, value in overrides.items() if value is not None}
    _refuse_unknown_names()
    try:
        return Settings(
            _env_file=folder / SETTINGS_FILE,  # type: ignore[call-arg]
            data_dir=folder,
            **given,  # type: ignore[arg-type]
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        raise CommandFailed(f"Setting {ENVIRONMENT_PREFIX}{name}: {first['msg']}") from error
    except SettingsError as error:
        raise CommandFailed(f"A setting must be a JSON list and is not: {error}") from error


def _refuse_unknown_names() -> None:
    known = {f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known:
            raise CommandFailed(f"Unknown setting {name}: see 'accanto settings'")


def save_settings(data_dir: Path, values: dict[str, str]) -> None:
    """Write ``accanto.env`` of a data folder, readable by its owner only."""
    path = data_dir / SETTINGS_FILE
    path.touch(mode=0o600)
    lines = [f"{ENVIRONMENT_PREFIX}{name.upper()}={value}\n" for name, value in values.items()]
    path.write_text("".join(lines), encoding="utf-8")
