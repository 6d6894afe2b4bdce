"""The two JWTs of every call (ModI ID_AUTH_REST_01): who asks, and what is asked for.

Both are signed with the *signature* certificate, which travels in ``x5c``. A pair is for one call.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from joserfc import jwt
from joserfc.jwk import RSAKey

from server.report.gateways import Gateway, GatewayUnusable

LIFE_SECONDS: Final = 300
_ID_BYTES: Final = 16


def make_headers(
    gateway: Gateway, subjects: Mapping[str, str | bool], document: bytes, now: datetime
) -> dict[str, str]:
    """A new pair for one call about these subjects (:mod:`server.fse.metadata`).

    ``document`` is the whole file of the call, empty where there is none.

    :raises GatewayUnusable: the key of the signature is none.
    """
    issued_at = int(now.timestamp())
    common = {
        "sub": subjects["sub"],
        "aud": gateway.audience,
        "iat": issued_at,
        "exp": issued_at + LIFE_SECONDS,
    }
    hashed = {"attachment_hash": hashlib.sha256(document).hexdigest()} if document else {}
    bearer = {**common, "iss": f"auth:{gateway.common_name}"}
    signature = {**subjects, **common, **hashed, "iss": f"integrity:{gateway.common_name}"}
    return {
        "Authorization": f"Bearer {_sign(gateway, bearer)}",
        "FSE-JWT-Signature": _sign(gateway, signature),
    }


def _sign(gateway: Gateway, claims: Mapping[str, str | bool | int]) -> str:
    header = {
        "alg": "RS256",
        "typ": "JWT",
        "x5c": [base64.b64encode(gateway.signing_certificate).decode()],
    }
    try:
        key = RSAKey.import_key(gateway.signing_key)
        return jwt.encode(header, {**claims, "jti": secrets.token_hex(_ID_BYTES)}, key)
    except (ValueError, TypeError) as error:
        raise GatewayUnusable("file_missing", "signature.key is no RSA key") from error
