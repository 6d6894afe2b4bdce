"""Guarded aiortc legs: what a stranger sends never reaches DTLS, SRTP or SCTP.

aioice hands every datagram that is not STUN to DTLS whatever its source, so that one foreign
ClientHello ends a handshake and one empty datagram ends a leg (``security.md`` §0, finding 1).
Here a leg listens through protocols of its own: only datagrams from the far end of a validated
ICE pair pass (RFC 8445 §7.2.5.3), only of the kinds of RFC 7983 that such a leg speaks, and only
into a bounded queue. Private names of aiortc 1.16 are used; ``tests/test_guard.py`` fails when
they change. Used by every leg of this package; knows no signaling.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from typing import Any, Final

from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, Connection, StunProtocol
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcdtlstransport import RTCCertificate, SRTPProtectionProfile
from OpenSSL import SSL

from recordings.echowords import Endpoint

MAX_QUEUED_DATAGRAMS: Final = 512
LONGEST_DATAGRAM: Final = 2048
MAX_PAIRS: Final = 32
_RECEIVE_BUFFER_BYTES: Final = 512 * 1024
_DTLS_1_2: Final = 0xFEFD
_AEAD_SUITES: Final = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"
_CERTIFICATES: Final = "_RTCPeerConnection__certificates"
_ICE_TRANSPORTS: Final = "_RTCPeerConnection__iceTransports"


class BadOffer(Exception):
    """Not an offer that our page makes."""


def without_addresses(sdp: str) -> tuple[str, list[str]]:
    """The offer without addresses, and the kinds of its sections.

    A leg answers those who come to it and prove that they know its password. It never sends a
    check to an address that only somebody's text names.
    """
    lines = [line for line in sdp.splitlines() if not line.startswith(("a=candidate", "a=end-of"))]
    kinds = [line[2:].split(" ", 1)[0] for line in lines if line.startswith("m=")]
    return "\r\n".join(lines) + "\r\n", kinds


class GuardedProtocol(StunProtocol):
    """One UDP socket of a leg."""

    _is_settled = False

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        source = (str(addr[0]), int(addr[1]))
        if not isinstance(data, bytes) or not 0 < len(data) <= LONGEST_DATAGRAM:
            return
        if data[0] < 4:
            self._check(data, source)
        elif _is_media(data[0]) and self._is_validated(source):
            self._settle(source)
            queue = self.receiver._queue
            if queue.qsize() < MAX_QUEUED_DATAGRAMS:
                queue.put_nowait((data, self.local_candidate.component))

    def _settle(self, source: tuple[str, int]) -> None:
        """From the nominated peer on, the kernel itself drops what others send: a flood does not
        fill the buffer that the peer's datagrams wait in. A peer whose address changes makes a
        new leg, as aiortc knows no ICE restart."""
        pair = self.receiver._nominated.get(self.local_candidate.component)
        if self._is_settled or pair is None or pair.remote_addr != source:
            return
        self._is_settled = True
        own: socket.socket = self.transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(own.fileno())) as twin, contextlib.suppress(OSError):
            twin.connect(source)

    def _check(self, data: bytes, source: tuple[str, int]) -> None:
        """STUN, which authenticates itself. A peer cannot make pairs without end."""
        pairs = self.receiver._check_list
        if len(pairs) < MAX_PAIRS or any(pair.remote_addr == source for pair in pairs):
            super().datagram_received(data, source)

    def _is_validated(self, source: tuple[str, int]) -> bool:
        return any(
            pair.remote_addr == source
            and pair.protocol is self
            and pair.state is CandidatePair.State.SUCCEEDED
            for pair in self.receiver._check_list
        )


class AeadCertificate(RTCCertificate):
    """Offers no cipher suite but ECDHE with AEAD, and nothing older than DTLS 1.2."""

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_min_proto_version(_DTLS_1_2)
        context.set_cipher_list(_AEAD_SUITES)
        return context


class GuardedPeerConnection(RTCPeerConnection):
    """A leg of this server. It asks no STUN or TURN server: browsers come to it."""

    def __init__(self, endpoint: Endpoint, certificate: RTCCertificate | None = None) -> None:
        """``certificate``: an :class:`AeadCertificate` that was shown before."""
        super().__init__(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        setattr(self, _CERTIFICATES, [certificate or AeadCertificate.generateCertificate()])
        self._endpoint = endpoint

    async def answer(self, offer: str) -> str:
        """The answer to an offer without addresses; the leg listens from here on.

        :raises BadOffer: aiortc does not take it.
        """
        try:
            await self.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await self.setLocalDescription(await self.createAnswer())
        except Exception as error:
            raise BadOffer(type(error).__name__) from error
        return self.localDescription.sdp

    async def setLocalDescription(  # noqa: N802 - the name of the standard
        self,
        sessionDescription: RTCSessionDescription | None = None,  # noqa: N803
    ) -> None:
        """Sockets are opened here, so every transport is guarded first."""
        for transport in getattr(self, _ICE_TRANSPORTS):
            _guard(transport.iceGatherer._connection, self._endpoint)
        await super().setLocalDescription(sessionDescription)


def _guard(connection: Connection, endpoint: Endpoint) -> None:
    async def listen(component: int, addresses: list[str]) -> list[Candidate]:
        wanted = [endpoint.address] if endpoint.address else addresses
        opened = [await _open(connection, endpoint, address, component) for address in wanted]
        return [candidate for candidate in opened if candidate is not None]

    connection.get_component_candidates = listen  # type: ignore[assignment, method-assign]
    connection.data_received = _drop  # type: ignore[method-assign]


def _drop(data: bytes, component: int) -> None:
    """What aioice itself would let pass: datagrams that look like STUN and are not."""


def _is_media(first: int) -> bool:
    """DTLS, or RTP and RTCP (RFC 7983)."""
    return 20 <= first <= 63 or 128 <= first <= 191


async def _open(
    connection: Connection, endpoint: Endpoint, address: str, component: int
) -> Candidate | None:
    protocol = await _bind(connection, endpoint, address)
    if protocol is None:
        return None
    opened: socket.socket = protocol.transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    protocol.local_candidate = Candidate(
        foundation=candidate_foundation("host", "udp", address),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "host"),
        host=address,
        port=protocol.transport.get_extra_info("sockname")[1],
        type="host",
    )
    connection._protocols.append(protocol)
    return protocol.local_candidate


async def _bind(connection: Connection, endpoint: Endpoint, address: str) -> GuardedProtocol | None:
    loop = asyncio.get_running_loop()
    everywhere = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - behind NAT, as announced
    for host in (address, everywhere) if endpoint.address else (address,):
        for port in _ports(endpoint):
            try:
                _, protocol = await loop.create_datagram_endpoint(
                    lambda: GuardedProtocol(connection), local_addr=(host, port)
                )
            except OSError:
                continue
            return protocol
    return None


def _ports(endpoint: Endpoint) -> list[int]:
    """Every port once, in an order nobody knows."""
    ports = range(endpoint.first_port, endpoint.last_port + 1)
    return random.sample(ports, len(ports))
