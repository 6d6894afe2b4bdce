"""The root key in the transit engine of an OpenBao or Vault: it wraps and opens, and never leaves.

The key must be *derived*: then the context, which says what the wrapped key is for, goes into the
key itself, and what was wrapped for one purpose opens for no other. ``rewrap`` takes a context but
no associated data, so the context is the one that binds (Vault API, *Transit*).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import hvac  # type: ignore[import-untyped]
from hvac import exceptions
from requests.exceptions import RequestException

from recordings.vault import SealBroken
from server.errors import CommandFailed, Unavailable
from server.keyring.wrapping import Secret
from server.settings import Settings

TIMEOUT_SECONDS: Final = 5
_ID_CHARACTERS: Final = 16
_CANNOT_OPEN: Final = ("authentication failed", "invalid ciphertext", "unable to decrypt")


class RootKeyAway(Unavailable, CommandFailed):
    """The transit service does not answer, is sealed, or does not let us in."""


class TransitRoot:
    """A named key of a transit engine. The token is read from its file at each use: who renews it
    writes the file anew."""

    is_remote: Final = True

    def __init__(self, settings: Settings) -> None:
        self._url = settings.transit_url
        self._mount = settings.transit_mount
        self._name = settings.transit_key
        self._token_file = Path(settings.transit_token_file)
        self._verify: str | bool = settings.transit_ca_file or True
        self.place: Final = f"{self._url} ({self._mount}/{self._name})"
        digest = hashlib.sha256(f"transit|{self._mount}|{self._name}".encode())
        self.id: Final = digest.hexdigest()[:_ID_CHARACTERS]

    def wrap(self, secret: bytes, aad: bytes) -> bytes:
        data = self._ask(lambda transit, **key: transit.encrypt_data(
            plaintext=_encode(secret), context=_encode(aad), **key
        ))  # fmt: skip
        return str(data["ciphertext"]).encode()

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        data = self._ask(lambda transit, **key: transit.decrypt_data(
            ciphertext=_text(wrapped), context=_encode(aad), **key
        ))  # fmt: skip
        try:
            return Secret(base64.b64decode(data["plaintext"], validate=True))
        except binascii.Error as error:
            raise SealBroken from error

    def renew(self, wrapped: bytes, aad: bytes) -> bytes:
        if version_of(wrapped) >= self.read_version():
            return wrapped
        data = self._ask(lambda transit, **key: transit.rewrap_data(
            ciphertext=_text(wrapped), context=_encode(aad), **key
        ))  # fmt: skip
        return str(data["ciphertext"]).encode()

    def read_version(self) -> int:
        """The newest version of the key.

        :raises CommandFailed: the key is not derived, so that nothing would be bound.
        """
        data = self._ask(lambda transit, **key: transit.read_key(**key))
        if not data.get("derived"):
            raise CommandFailed(
                f"The transit key {self.place} is not derived: make another with "
                f"'bao write {self._mount}/keys/NAME type=aes256-gcm96 derived=true'"
            )
        return int(data["latest_version"])

    def _ask(self, request: Callable[..., Any]) -> dict[str, Any]:
        with self._errors_in_words():
            client = hvac.Client(
                url=self._url,
                token=self._token_file.read_text(encoding="ascii").strip(),
                timeout=TIMEOUT_SECONDS,
                verify=self._verify,
                allow_redirects=False,
            )
            answer = request(client.secrets.transit, name=self._name, mount_point=self._mount)
            return dict(answer["data"])

    @contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        """What the service says, without what it was asked."""
        try:
            yield
        except exceptions.InvalidRequest as error:
            if any(word in str(error) for word in _CANNOT_OPEN):
                raise SealBroken from error
            raise RootKeyAway(f"The root key at {self.place} cannot be used: {error}") from error
        except exceptions.VaultDown as error:
            raise RootKeyAway(f"The transit service at {self._url} is sealed: unseal it") from error
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            raise RootKeyAway(
                f"The transit service at {self._url} refuses the token in {self._token_file}: it "
                "must read, encrypt, decrypt and rewrap with the key"
            ) from error
        except exceptions.InvalidPath as error:
            raise RootKeyAway(f"There is no transit key {self.place}") from error
        except exceptions.VaultError as error:
            name = type(error).__name__
            raise RootKeyAway(f"The transit service at {self._url} fails: {name}") from error
        except RequestException as error:
            raise RootKeyAway(f"The transit service at {self._url} does not answer") from error
        except (OSError, UnicodeDecodeError) as error:
            raise RootKeyAway(f"Cannot read the transit token {self._token_file}") from error


def version_of(wrapped: bytes) -> int:
    """Under which version of the transit key: ``vault:v3:…`` is 3."""
    _, version, _ = _text(wrapped).split(":", 2)
    return int(version.removeprefix("v"))


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _text(wrapped: bytes) -> str:
    """:raises SealBroken: not what a transit engine writes."""
    if not wrapped.startswith(b"vault:v") or not wrapped.isascii() or wrapped.count(b":") != 2:
        raise SealBroken
    return wrapped.decode()
