"""The root key in five shares on paper, any three of which bring it back (SLIP-39 words).

A share alone, or two, tell nothing. Each carries a checksum against slips of the pen and says to
which set it belongs. Where the secret of the installation is not the root key itself the shares
hold both, so that they are enough on an empty machine.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from shamir_mnemonic import (  # type: ignore[import-untyped]
    MnemonicError,
    Share,
    combine_mnemonics,
    generate_mnemonics,
)

from recordings.vault import KEY_BYTES
from server.errors import CommandFailed
from server.keyring import (
    INSTALLATION_FILE,
    ROOT_KEY_FILE,
    FileRoot,
    Keyring,
    Secret,
    check_value,
    save_installation,
    write_new,
)

SHARES: Final = 5
NEEDED: Final = 3
_WORDS_A_LINE: Final = 5
_ONE_GROUP: Final = 1


def split_root(keyring: Keyring, now: datetime) -> list[str]:
    """Five shares as text to print; lines that begin with ``#`` are for people.

    :raises CommandFailed: the root key is not in our hands.
    """
    root = keyring.roots.current
    if not isinstance(root, FileRoot):
        raise CommandFailed(
            f"The root key stays in {root.place}: what opens that service is its escrow"
        )
    secret = root.key if keyring.installation == root.key else root.key + keyring.installation
    groups = generate_mnemonics(_ONE_GROUP, [(NEEDED, SHARES)], bytes(secret))
    texts = [_print_share(number, words, root.id, now) for number, words in enumerate(groups[0], 1)]
    if join_shares(texts[-NEEDED:]) != secret:
        raise CommandFailed("The shares do not give the root key back: nothing was written")
    return texts


def save_shares(folder: Path, texts: list[str]) -> list[Path]:
    """Write each share into a file of its own that only its owner reads.

    :raises CommandFailed: shares are there already, or the folder cannot be written.
    """
    paths = [folder / f"share-{number}-of-{SHARES}.txt" for number in range(1, SHARES + 1)]
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None:
        raise CommandFailed(f"{taken} is there already: take another folder")
    try:
        for path, text in zip(paths, texts, strict=True):
            write_new(path, text.encode())
    except OSError as error:
        raise CommandFailed(f"The shares cannot be written: {error.strerror}") from error
    return paths


def join_shares(texts: list[str]) -> Secret:
    """The secret of three shares of one set.

    :raises CommandFailed: says what is wrong; never with a word of a share.
    """
    shares = {_parse_share(number, text) for number, text in enumerate(texts, 1)}
    sets = {share.common_parameters() for share in shares}
    if len(sets) > 1:
        raise CommandFailed("The shares are not of one set: take three that were made together")
    if len(shares) < NEEDED:
        raise CommandFailed(f"{len(shares)} different shares open nothing: {NEEDED} are needed")
    words = [share.mnemonic() for share in sorted(shares, key=lambda share: share.index)[:NEEDED]]
    try:
        return Secret(combine_mnemonics(words))
    except MnemonicError:
        raise CommandFailed("The shares do not fit together: one of them is forged") from None


def put_root_back(data_dir: Path, secret: Secret, known_roots: set[str]) -> str:
    """Write the root key of the shares into a data folder that has none; its check value.
    ``known_roots`` are the check values that the database wants, none where there is none yet.

    :raises CommandFailed: there is a root key, or these are shares of another one.
    """
    root, installation = Secret(secret[:KEY_BYTES]), Secret(secret[KEY_BYTES:])
    path = data_dir / ROOT_KEY_FILE
    if path.exists():
        raise CommandFailed(f"There is a root key already: {path}. Nothing was changed")
    if len(root) != KEY_BYTES or len(installation) not in {0, KEY_BYTES}:
        raise CommandFailed("The shares are not of a root key of Accanto")
    value = check_value(root)
    if known_roots and value not in known_roots:
        raise CommandFailed(
            f"These are shares of another root key: theirs has the check value {value}, this "
            f"database wants {', '.join(sorted(known_roots))}. Nothing was changed"
        )
    if installation and not (data_dir / INSTALLATION_FILE).exists():
        save_installation(data_dir, installation, FileRoot(root, str(path)))
    write_new(path, root)
    return value


def _print_share(number: int, words: str, root_id: str, now: datetime) -> str:
    listed = words.split()
    lines = [
        f"# Accanto: share {number} of {SHARES} of the root key; any {NEEDED} bring it back.",
        f"# Made on {now:%Y-%m-%d}; check value of the root key: {root_id}.",
        "# Keep each share with another person, on paper, and no copy of it.",
    ]
    for first in range(0, len(listed), _WORDS_A_LINE):
        lines.append(" ".join(listed[first : first + _WORDS_A_LINE]))
    return "\n".join(lines) + "\n"


def _parse_share(number: int, text: str) -> Share:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    words = " ".join(re.findall(r"[a-z]+", " ".join(lines).lower()))
    try:
        return Share.from_mnemonic(words)
    except (MnemonicError, ValueError):
        raise CommandFailed(f"Share {number} has a wrong or missing word") from None
