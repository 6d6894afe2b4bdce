"""Signed checkpoints: C2SP signed-note and tlog-checkpoint, with Ed25519.

A checkpoint says the size and root of one log at one moment. A witness adds a line of its own
(C2SP tlog-cosignature v1): it has seen that this log only grew.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from server.tlog.tree import HASH_BYTES

_ED25519: Final = b"\x01"
_COSIGNATURE: Final = b"\x04"
_MARK: Final = "— "
_KEY_HASH_BYTES: Final = 4


class BadNote(ValueError):
    """A text that is no checkpoint, or one that nobody known has signed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``origin`` names the log and its key; ``root`` is of the tree of ``size`` leaves."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The signed body, with its last newline."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key and its name, written as ``name+hash+key`` (C2SP *vkey*)."""

    name: str
    public: bytes
    kind: bytes = _ED25519

    @property
    def hash(self) -> bytes:
        return sha256(f"{self.name}\n".encode() + self.kind + self.public).digest()[
            :_KEY_HASH_BYTES
        ]

    def text(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{b64encode(self.kind + self.public).decode()}"


class Signer:
    """A private key and its name. ``seed``: 32 bytes."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The whole note: body, empty line, signature."""
        signature = self._key.sign(checkpoint.text().encode())
        return f"{checkpoint.text()}\n{_line(self.verifier, signature)}"

    def cosign(self, note: str, seconds: int) -> str:
        """The note with one more line; ``seconds``: POSIX time of the witness's look."""
        body = split_note(note)[0]
        witness = Verifier(self.verifier.name, self.verifier.public, _COSIGNATURE)
        message = f"cosignature/v1\ntime {seconds}\n{body}".encode()
        return note + _line(witness, seconds.to_bytes(8, "big") + self._key.sign(message))


def _line(key: Verifier, signature: bytes) -> str:
    return f"{_MARK}{key.name} {b64encode(key.hash + signature).decode()}\n"


def parse_verifier(text: str) -> Verifier:
    """:raises BadNote: it is no Ed25519 *vkey*, or its hash is of another key."""
    name, _, rest = text.strip().partition("+")
    hashed, _, key = rest.partition("+")
    packed = _decode(key)
    verifier = Verifier(name, packed[1:], packed[:1])
    if not name or len(packed) != HASH_BYTES + 1 or verifier.kind not in {_ED25519, _COSIGNATURE}:
        raise BadNote("not an Ed25519 key")
    if verifier.hash.hex() != hashed:
        raise BadNote("the hash is of another key")
    return verifier


def split_note(note: str) -> tuple[str, list[str]]:
    """The signed body, and the signature lines.

    :raises BadNote: it has no signature, or is not made of lines.
    """
    body, found, signatures = note.rpartition("\n\n")
    lines = signatures.splitlines()
    if not found or not lines or not signatures.endswith("\n"):
        raise BadNote("no signature")
    if any(not line.startswith(_MARK) for line in lines):
        raise BadNote("a line is no signature")
    return body + "\n", lines


def open_note(note: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint that this key has signed. Lines of other keys are passed over.

    :raises BadNote: the text is no checkpoint, or the key has not signed it.
    """
    body, lines = split_note(note)
    key = Ed25519PublicKey.from_public_bytes(verifier.public)
    for line in lines:
        name, _, packed = line.removeprefix(_MARK).partition(" ")
        signature = _decode(packed)
        if name != verifier.name or signature[:_KEY_HASH_BYTES] != verifier.hash:
            continue
        try:
            key.verify(signature[_KEY_HASH_BYTES:], body.encode())
        except InvalidSignature as error:
            raise BadNote("the signature is false") from error
        return parse_checkpoint(body)
    raise BadNote("not signed by this key")


def parse_checkpoint(body: str) -> Checkpoint:
    """:raises BadNote: it does not say an origin, a size and a root."""
    lines = body.split("\n")
    if len(lines) < 4 or not lines[0]:
        raise BadNote("not a checkpoint")
    size, root = lines[1], _decode(lines[2])
    if not size.isdecimal() or not size.isascii() or str(int(size)) != size:
        raise BadNote("the size is no number")
    if len(root) != HASH_BYTES:
        raise BadNote("the root is no hash")
    return Checkpoint(lines[0], int(size), root)


def _decode(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (BadBase64, ValueError) as error:
        raise BadNote("not base64") from error
