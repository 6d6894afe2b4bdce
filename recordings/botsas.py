"""The patient's side of the verified call: commit, reveal, derive. Pure but for its nonce.

The Python twin of ``static/js/sas.js``; what it is for and against is said there, the fields and a
vector in ``PROTOCOL.md``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Final

NONCE_BYTES: Final = 16
_HASH_BYTES: Final = 32
_TAG: Final = b"tv-sas-1"
_FIGURES: Final = 4
_FIGURE_BITS: Final = 6
_DRAWN: Final = (
    "🐶 🐱 🦁 🐎 🦄 🐷 🐘 🐰 🐼 🐓 🐧 🐢 🐟 🐙 🦋 🌷 "
    "🌳 🌵 🍄 🌏 🌙 ☁️ 🔥 🍌 🍎 🍓 🌽 🍕 🎂 ❤️ 😀 🤖 "
    "🎩 👓 🔧 🎅 👍 ☂️ ⌛ ⏰ 🎁 💡 📕 ✏️ 📎 ✂️ 🔒 🔑 "
    "🔨 ☎️ 🏁 🚂 🚲 ✈️ 🚀 🏆 ⚽ 🎸 🎺 🔔 ⚓ 🎧 📁 📌"
)
PICTURES: Final = tuple(_DRAWN.split())
"""Of the figures, by number, as ``static/js/emoji.js`` has them."""


def commitment_of(role: str, room: str, fingerprint: bytes, nonce: bytes) -> bytes:
    return hashlib.sha256(_fields(_TAG, role.encode(), room.encode(), fingerprint, nonce)).digest()


def derive_figures(
    room: str, nonces: tuple[bytes, bytes], fingerprints: tuple[bytes, bytes]
) -> tuple[int, ...]:
    """Four numbers of 0 … 63; the clinician's part is first in each pair."""
    salt = hashlib.sha256(room.encode()).digest()
    prk = hmac.digest(salt, b"".join(nonces), "sha256")  # RFC 5869 §2.2
    okm = hmac.digest(prk, _fields(_TAG, *fingerprints) + b"\x01", "sha256")
    whole = int.from_bytes(okm[:3], "big")
    places = range(_FIGURES - 1, -1, -1)
    return tuple(whole >> _FIGURE_BITS * place & 2**_FIGURE_BITS - 1 for place in places)


def _fields(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


class PatientExchange:
    """One exchange over one connection; ``figures`` once it is done. What no honest page sends
    ends it for good."""

    def __init__(
        self, room: str, own: bytes, theirs: bytes, send: Callable[[dict[str, str]], None]
    ) -> None:
        self._room = room
        self._own = own
        self._theirs = theirs
        self._send = send
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._commitment = commitment_of("patient", room, own, self._nonce)
        self._their_commitment = b""
        self._is_over = False
        self.figures: tuple[int, ...] = ()

    def begin(self) -> None:
        self._send({"step": "commit", "value": self._commitment.hex()})

    def receive(self, step: object, value: object) -> None:
        """A message of the clinician's page."""
        if self._is_over:
            return
        if step == "commit":
            self._hold(_bytes_of(value, _HASH_BYTES))
        elif step == "reveal":
            self._open(_bytes_of(value, NONCE_BYTES))
        else:
            self._is_over = True

    def _hold(self, commitment: bytes) -> None:
        if not commitment or self._their_commitment or commitment == self._commitment:
            self._is_over = True
            return
        self._their_commitment = commitment
        self._send({"step": "reveal", "value": self._nonce.hex()})

    def _open(self, nonce: bytes) -> None:
        """Whatever comes after it ends the exchange and leaves no figures."""
        made = commitment_of("clinician", self._room, self._theirs, nonce)
        if not nonce or self.figures or not hmac.compare_digest(made, self._their_commitment):
            self._is_over, self.figures = True, ()
            return
        self.figures = derive_figures(self._room, (nonce, self._nonce), (self._theirs, self._own))


def _bytes_of(value: object, count: int) -> bytes:
    """Empty when it is not so many bytes in lower-case hex."""
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * count}}}", value):
        return b""
    return bytes.fromhex(value)
