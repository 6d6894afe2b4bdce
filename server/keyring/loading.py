"""Finding the root key: by the settings of a data folder, in a transit service or in its files.

``keys/root.key`` is the root key, ``keys/root.former.key`` the one before until nothing is left
under it, ``keys/installation.json`` the wrapped secret that others are derived from. Where the
last is missing they are derived from the root key itself, as they were before roots could change.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from recordings.vault import KEY_BYTES, SealBroken
from server.errors import CommandFailed
from server.keyring.ring import Keyring
from server.keyring.roots import FileRoot, RootKey, RootKeyWrong, Roots
from server.keyring.wrapping import Secret
from server.settings import load_settings

ROOT_KEY_FILE: Final = Path("keys") / "root.key"
FORMER_ROOT_FILE: Final = Path("keys") / "root.former.key"
INSTALLATION_FILE: Final = Path("keys") / "installation.json"
_AAD: Final = b"accanto|installation"


class _Installation(msgspec.Struct, frozen=True):
    """What the file holds; ``wrapped`` is in base64."""

    root_id: str
    wrapped: str


def load_keyring(
    data_dir: Path, *, create: bool = False, installation_from: Path | None = None
) -> Keyring:
    """The keys of a data folder; with ``create`` what is missing is made, on the first start.
    The secret of the installation may be taken from elsewhere, if it is there.

    :raises CommandFailed: says what is missing, open to others, damaged or away, and what to do.
    """
    roots = load_roots(data_dir, create=create)
    if installation_from is not None and (installation_from / INSTALLATION_FILE).exists():
        return Keyring(roots, _load_installation(installation_from, roots, create=False))
    return Keyring(roots, _load_installation(data_dir, roots, create=create))


def load_roots(data_dir: Path, *, create: bool = False) -> Roots:
    """The root key of now and the former ones that are still there.

    :raises CommandFailed: as :func:`load_keyring`.
    """
    settings = load_settings(data_dir)
    path, former = data_dir / ROOT_KEY_FILE, data_dir / FORMER_ROOT_FILE
    files = _read_former(former)

    def reload() -> Roots:
        return load_roots(data_dir)

    if settings.transit_url:
        from server.keyring.transit import TransitRoot  # requests takes its time to load

        transit = TransitRoot(settings)
        transit.read_version()
        if path.exists():
            files.append(FileRoot(_read_key(path), str(path)))
        return Roots(transit, tuple(files), reload)
    if create and not path.exists():
        write_new(path, secrets.token_bytes(KEY_BYTES))
    return Roots(FileRoot(_read_key(path), str(path)), tuple(files), reload)


def read_root_key(data_dir: Path) -> Secret:
    """The bytes of ``keys/root.key``.

    :raises CommandFailed: as :func:`load_keyring`.
    """
    return _read_key(data_dir / ROOT_KEY_FILE)


def save_installation(data_dir: Path, secret: bytes, root: RootKey) -> None:
    """Wrap the secret of the installation under a root key, in place of what was there."""
    wrapped = base64.b64encode(root.wrap(secret, _AAD)).decode()
    path = data_dir / INSTALLATION_FILE
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    write_new(unfinished, msgspec.json.encode(_Installation(root.id, wrapped)))
    os.replace(unfinished, path)
    sync_folder(path.parent)


def renew_installation(data_dir: Path, keyring: Keyring) -> bool:
    """Bring the secret of the installation under the newest root key; whether it was not yet."""
    kept, root = _read_installation(data_dir), keyring.roots.current
    if kept is None and isinstance(root, FileRoot) and root.key == keyring.installation:
        return False
    if kept is not None and kept.root_id == root.id:
        wrapped = base64.b64decode(kept.wrapped)
        if root.renew(wrapped, _AAD) == wrapped:
            return False
    save_installation(data_dir, keyring.installation, root)
    return True


def write_new(path: Path, content: bytes) -> None:
    """A new file that only its owner reads, on the disk when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load_installation(data_dir: Path, roots: Roots, *, create: bool) -> Secret:
    kept = _read_installation(data_dir)
    path = data_dir / INSTALLATION_FILE
    if kept is not None:
        try:
            return roots.find(kept.root_id).unwrap(base64.b64decode(kept.wrapped), _AAD)
        except (SealBroken, binascii.Error) as error:
            raise CommandFailed(f"{path} is damaged: put its copy back") from error
        except RootKeyWrong as error:
            raise CommandFailed(f"{path} is not of this root key: {error}") from error
    for root in (*roots.former, roots.current):
        if isinstance(root, FileRoot):
            return root.key
    if not create:
        raise CommandFailed(f"Cannot read {path}: put its copy back, it is in the backup of keys")
    secret = Secret(secrets.token_bytes(KEY_BYTES))
    save_installation(data_dir, secret, roots.current)
    return secret


def _read_installation(data_dir: Path) -> _Installation | None:
    path = data_dir / INSTALLATION_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Installation)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise CommandFailed(f"{path} is damaged: put its copy back") from error


def _read_former(path: Path) -> list[FileRoot]:
    """It goes while others look when its rotation is finished."""
    if not path.exists():
        return []
    try:
        return [FileRoot(_read_key(path), str(path))]
    except CommandFailed:
        if path.exists():
            raise
        return []


def _read_key(path: Path) -> Secret:
    try:
        key = Secret(path.read_bytes())
        mode = path.stat().st_mode & 0o077
    except OSError as error:
        raise CommandFailed(
            f"Cannot read the root key {path}: {error.strerror}. Put its copy back, or restore it "
            "from three shares with 'accanto keys restore'"
        ) from error
    if mode:
        raise CommandFailed(f"The root key {path} is readable by others: run chmod 600 on it")
    if len(key) != KEY_BYTES:
        raise CommandFailed(f"The root key {path} must have {KEY_BYTES} bytes: put its copy back")
    return key
