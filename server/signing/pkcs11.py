"""A signing key on a token (PKCS#11 v2.40): it never leaves the token, only the hash goes there.

The library of a token is somebody else's code in this process and serves one caller at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pkcs11
from cryptography import x509
from pkcs11 import exceptions
from pyhanko.sign.pkcs11 import PKCS11Signer

from server.signing.means import Pkcs11Key, Refusal, SigningRefused

_TOKENS: Final = threading.Lock()
_REFUSALS: Final[dict[type[Exception], Refusal]] = {
    exceptions.PinIncorrect: Refusal.WRONG_PIN,
    exceptions.PinInvalid: Refusal.WRONG_PIN,
    exceptions.PinLenRange: Refusal.WRONG_PIN,
    exceptions.PinLocked: Refusal.LOCKED,
    exceptions.NoSuchKey: Refusal.NO_KEY,
    exceptions.MultipleObjectsReturned: Refusal.NO_KEY,
    exceptions.PKCS11Error: Refusal.NO_KEY,  # what pyhanko says of labels that it does not find
}


@contextmanager
def open_pkcs11(key: Pkcs11Key, pin: str) -> Iterator[tuple[PKCS11Signer, x509.Certificate]]:
    """What signs while the token is open, and its certificate.

    :raises SigningRefused: the token does not answer, does not take the PIN or has no such key.
    """
    with _TOKENS:
        try:
            token = _find_token(key)
            with token.open(user_pin=pin) as session:
                signer = PKCS11Signer(
                    session,
                    key_label=key.key,
                    cert_label=key.certificate or key.key,
                    embed_roots=False,
                    bulk_fetch=False,
                )
                yield signer, _certificate_of(signer)
        except (exceptions.PKCS11Error, OSError, RuntimeError) as error:
            refusal = _REFUSALS.get(type(error), Refusal.UNREACHABLE)
            raise SigningRefused(refusal) from error


def _find_token(key: Pkcs11Key) -> pkcs11.Token:
    try:
        slots = pkcs11.lib(key.module).get_slots(token_present=True)
        tokens = [slot.get_token() for slot in slots]
    except (exceptions.PKCS11Error, OSError, RuntimeError) as error:
        raise SigningRefused(Refusal.UNREACHABLE) from error
    for token in tokens:
        if token.label == key.token:
            return token
    raise SigningRefused(Refusal.UNREACHABLE)


def _certificate_of(signer: PKCS11Signer) -> x509.Certificate:
    certificate = signer.signing_cert
    if certificate is None:
        raise SigningRefused(Refusal.NO_KEY)
    return x509.load_der_x509_certificate(certificate.dump())
