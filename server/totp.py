"""The second factor (TOTP, RFC 6238): the rule, and its sealed state.

A secret counts once its first code was right; until then each login shows a new one, so that
nobody can look at it and wait. Each code works once: the last accepted step is kept.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Final

import msgspec
import pyotp
from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import Keyring, Place
from server.models import User

_STEP_SECONDS: Final = 30
_STEPS_OF_DRIFT: Final = 1
_ISSUER: Final = "Accanto"


class SecondFactor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sealed in ``user.sealed_totp_secret``."""

    secret: str
    """Base32, as authenticator applications take it."""
    is_confirmed: bool = False
    last_step: int = 0

    def provisioning_uri(self, username: str) -> str:
        """The ``otpauth://`` address that an authenticator application opens."""
        return pyotp.TOTP(self.secret).provisioning_uri(name=username, issuer_name=_ISSUER)


def new_second_factor() -> SecondFactor:
    return SecondFactor(secret=pyotp.random_base32())


def find_accepted(factor: SecondFactor, code: str, now: datetime) -> SecondFactor | None:
    """The state after a right code that was not used before, else nothing."""
    typed = "".join(code.split())
    totp = pyotp.TOTP(factor.secret, interval=_STEP_SECONDS)
    step_now = int(now.timestamp()) // _STEP_SECONDS
    first = max(step_now - _STEPS_OF_DRIFT, factor.last_step + 1)
    for step in range(first, step_now + _STEPS_OF_DRIFT + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), typed.encode()):
            return SecondFactor(secret=factor.secret, is_confirmed=True, last_step=step)
    return None


async def seal_second_factor(
    keyring: Keyring, session: AsyncSession, user: User, factor: SecondFactor
) -> None:
    user.sealed_totp_secret = await keyring.seal(session, _place(user), msgspec.json.encode(factor))


async def open_second_factor(
    keyring: Keyring, session: AsyncSession, user: User
) -> SecondFactor | None:
    """Nothing before the first login that asked for one."""
    if user.sealed_totp_secret is None:
        return None
    plaintext = await keyring.unseal(session, _place(user), user.sealed_totp_secret)
    return msgspec.json.decode(plaintext, type=SecondFactor)


def _place(user: User) -> Place:
    return Place(user.organisation.id, "user", user.id, "totp_secret", 1)
