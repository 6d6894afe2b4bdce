"""Who may speak MLLP with us: anybody on loopback, elsewhere only who shows a pinned certificate.

Makes TLS contexts from a source's settings; the connections are :mod:`server.cup.hl7v2.mllp`'s. A
certificate is pinned in the settings of one source, and a source is of one organisation: that of
another is signed by the right authority and still not let in (``security.md`` I7).
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import Final

from server.errors import CommandFailed
from server.sources import Listener, Tls

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def listening_context(listener: Listener) -> ssl.SSLContext | None:
    """The TLS of an entrance; None for plain TCP on loopback.

    :raises CommandFailed: it would let anybody in, or a file cannot be used.
    """
    if listener.tls is None and listener.is_on_loopback:
        return None
    return _context(ssl.PROTOCOL_TLS_SERVER, listener.tls)


def calling_context(host: str, tls: Tls | None) -> ssl.SSLContext | None:
    """The TLS of a connection that we open; None for plain TCP on loopback.

    :raises CommandFailed: it could reach anybody, or a file cannot be used.
    """
    if tls is None and host in _LOOPBACK:
        return None
    return _context(ssl.PROTOCOL_TLS_CLIENT, tls)


def is_pinned(writer: asyncio.StreamWriter, tls: Tls | None) -> bool:
    """Whether the other side has shown a certificate of this source; plain TCP has none to show."""
    if tls is None:
        return True
    connection: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True) if connection else None
    if not certificate:
        return False
    return hashlib.sha256(certificate).hexdigest() in _pins(tls)


def _pins(tls: Tls) -> set[str]:
    return {pin.replace(":", "").strip().lower() for pin in tls.pinned}


def _context(purpose: int, tls: Tls | None) -> ssl.SSLContext:
    if tls is None:
        raise CommandFailed("plain MLLP is for loopback only: set tls, with pinned certificates")
    if not tls.pinned:
        raise CommandFailed("tls.pinned is empty: no certificate would be let in")
    context = ssl.SSLContext(purpose)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    """The pin says more than a name does."""
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(tls.certificate, tls.private_key)
        context.load_verify_locations(tls.authority)
    except (OSError, ssl.SSLError) as error:
        raise CommandFailed(f"its TLS files cannot be used: {error.strerror}") from error
    return context
