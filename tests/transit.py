"""A transit engine that speaks the documented HTTP of OpenBao and Vault, with real AES-GCM inside.

``/v1/<mount>/{encrypt,decrypt,rewrap}/<key>`` and ``/v1/<mount>/keys/<key>``, for keys of type
``aes256-gcm96``, derived (HKDF-SHA256 over the context) or not. It runs in a thread of its own,
because its client waits in the thread of the test.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


class Refusal(Exception):
    """An answer with ``{"errors": […]}``."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class TransitKey:
    is_derived: bool = True
    versions: list[bytes] = field(default_factory=lambda: [os.urandom(32)])

    def aead(self, version: int, context: bytes) -> AESGCM:
        if not 1 <= version <= len(self.versions):
            raise Refusal(400, "invalid ciphertext: version is too new")
        key = self.versions[version - 1]
        if not self.is_derived:
            return AESGCM(key)
        if not context:
            raise Refusal(400, "missing 'context' for key derivation")
        return AESGCM(HKDF(SHA256(), 32, salt=None, info=context).derive(key))

    def encrypt(self, plaintext: bytes, context: bytes) -> str:
        nonce, version = os.urandom(_NONCE_BYTES), len(self.versions)
        sealed = nonce + self.aead(version, context).encrypt(nonce, plaintext, None)
        return f"vault:v{version}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, ciphertext: str, context: bytes) -> bytes:
        prefix, _, sealed = ciphertext.rpartition(":")
        if not prefix.startswith("vault:v"):
            raise Refusal(400, "invalid ciphertext: no prefix")
        raw = decoded(sealed)
        try:
            return self.aead(int(prefix[7:]), context).decrypt(
                raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None
            )
        except (InvalidTag, ValueError) as error:
            raise Refusal(400, "invalid ciphertext: unable to decrypt") from error


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Refusal(400, "failed to base64-decode input") from error


class TransitEngine:
    """Its state may be changed by the test between two requests."""

    def __init__(self) -> None:
        self.token = "s.Rn8gettone"
        self.is_sealed = False
        self.keys: dict[str, TransitKey] = {"accanto": TransitKey()}
        self.requests: list[str] = []
        self.url = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/transit/keys/{key}", self._answer(self._describe))
        for name, act in (
            ("encrypt", self._encrypt), ("decrypt", self._decrypt), ("rewrap", self._rewrap),
        ):  # fmt: skip
            app.router.add_post(f"/v1/transit/{name}/{{key}}", self._answer(act))
        return app

    def _answer(
        self, act: Callable[[TransitKey, dict[str, Any]], dict[str, Any]]
    ) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            self.requests.append(request.path)
            try:
                if self.is_sealed:
                    raise Refusal(503, "Vault is sealed")
                if request.headers.get("X-Vault-Token") != self.token:
                    raise Refusal(403, "permission denied")
                key = self.keys.get(request.match_info["key"])
                if key is None:
                    raise Refusal(404 if request.method == "GET" else 400, "key not found")
                body = await request.json() if request.can_read_body else {}
                return web.json_response({"request_id": "1", "data": act(key, body)})
            except Refusal as refusal:
                return web.json_response({"errors": [str(refusal)]}, status=refusal.status)

        return handle

    def _describe(self, key: TransitKey, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "aes256-gcm96",
            "derived": key.is_derived,
            "latest_version": len(key.versions),
            "min_decryption_version": 1,
            "exportable": False,
            "keys": {str(number): 0 for number, _ in enumerate(key.versions, 1)},
        }

    def _encrypt(self, key: TransitKey, body: dict[str, Any]) -> dict[str, Any]:
        plaintext, context = decoded(body["plaintext"]), decoded(body.get("context", ""))
        return {"ciphertext": key.encrypt(plaintext, context), "key_version": len(key.versions)}

    def _decrypt(self, key: TransitKey, body: dict[str, Any]) -> dict[str, Any]:
        plaintext = key.decrypt(body["ciphertext"], decoded(body.get("context", "")))
        return {"plaintext": base64.b64encode(plaintext).decode()}

    def _rewrap(self, key: TransitKey, body: dict[str, Any]) -> dict[str, Any]:
        context = decoded(body.get("context", ""))
        return {"ciphertext": key.encrypt(key.decrypt(body["ciphertext"], context), context)}


@contextmanager
def running_transit() -> Iterator[TransitEngine]:
    engine = TransitEngine()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(engine.app())

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        engine.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield engine
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
