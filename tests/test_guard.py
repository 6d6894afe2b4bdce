"""Guarded legs: strangers cannot end them, peers cannot fill them, and aiortc is the one we know.

The unguarded leg is attacked, too: an attack that does no harm there proves nothing here.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aioice.ice
import pytest
from aioice.ice import CandidatePair, Connection, StunProtocol
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcdtlstransport import RTCCertificate
from OpenSSL import SSL

from recordings.echowords import Endpoint
from recordings.guard import (
    LONGEST_DATAGRAM,
    MAX_PAIRS,
    MAX_QUEUED_DATAGRAMS,
    AeadCertificate,
    GuardedPeerConnection,
    GuardedProtocol,
)

HERE = Endpoint("127.0.0.1")
RUNS = 12
PATIENCE = 20.0
JUNK_RTP, MALFORMED = 10_000, 1_000
"""A tenth of the goal."""


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unguarded peers of the tests; guarded legs are told where to listen."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


def plain() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


@dataclass
class Pair:
    """A browser and a leg of the server, connected or on the way."""

    browser: RTCPeerConnection
    leg: RTCPeerConnection
    channel: RTCDataChannel
    heard: list[object] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def address(self) -> tuple[str, int]:
        """Where the leg listens."""
        found = re.search(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+)", self.leg.localDescription.sdp)
        assert found is not None
        return found[1], int(found[2])

    @property
    def protocol(self) -> StunProtocol:
        """The leg's socket."""
        [protocol] = ice_of(self.leg)._protocols
        return protocol

    @property
    def is_connected(self) -> bool:
        return self.browser.connectionState == self.leg.connectionState == "connected"

    async def answer(self) -> None:
        """The browser learns of the leg; the handshake begins."""
        answer = RTCSessionDescription(self.leg.localDescription.sdp, "answer")
        await self.browser.setRemoteDescription(answer)

    async def settle(self) -> None:
        """Until both sides know how it ended."""
        async with asyncio.timeout(PATIENCE):
            while not (self.is_connected or "failed" in self.states):
                await asyncio.sleep(0.005)

    @property
    def states(self) -> set[str]:
        return {self.browser.connectionState, self.leg.connectionState}

    async def hear(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE), self.news:
            await self.news.wait_for(lambda: len(self.heard) >= count)


@asynccontextmanager
async def offered(leg: RTCPeerConnection, *, track: bool = False) -> AsyncIterator[Pair]:
    """Up to the answer, which the browser does not have yet."""
    browser = plain()
    pair = Pair(browser, leg, browser.createDataChannel("line"))
    if track:
        browser.addTrack(AudioStreamTrack())

    async def keep(message: object) -> None:
        async with pair.news:
            pair.heard.append(message)
            pair.news.notify_all()

    leg.on("datachannel", lambda channel: channel.on("message", keep))
    try:
        await browser.setLocalDescription(await browser.createOffer())
        await leg.setRemoteDescription(browser.localDescription)
        await leg.setLocalDescription(await leg.createAnswer())
        yield pair
    finally:
        await browser.close()
        await leg.close()


@asynccontextmanager
async def connected(leg: RTCPeerConnection, *, track: bool = False) -> AsyncIterator[Pair]:
    async with offered(leg, track=track) as pair:
        await pair.answer()
        await pair.settle()
        assert pair.is_connected
        async with asyncio.timeout(PATIENCE):
            while pair.channel.readyState != "open":
                await asyncio.sleep(0.005)
        yield pair


def ice_of(connection: RTCPeerConnection) -> Connection:
    [transport] = connection._RTCPeerConnection__iceTransports
    found: Connection = transport._connection
    return found


def client_hello() -> bytes:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    connection = SSL.Connection(context)
    connection.set_connect_state()
    with suppress(SSL.WantReadError):
        connection.do_handshake()
    return bytes(connection.bio_read(4096))


@asynccontextmanager
async def stranger() -> AsyncIterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        sender.setblocking(False)
        yield sender


async def race(leg: RTCPeerConnection) -> bool:
    """Whether a leg connects while a stranger sends it ClientHellos (``security.md`` R10)."""
    hello = client_hello()
    async with offered(leg) as pair, stranger() as attacker:
        for _ in range(20):
            attacker.sendto(hello, pair.address)
        await pair.answer()
        async with asyncio.timeout(PATIENCE):
            while not (pair.is_connected or "failed" in pair.states):
                attacker.sendto(hello, pair.address)
                await asyncio.sleep(0.005)
        return pair.is_connected


# ---- strangers -------------------------------------------------------------------------


async def test_a_guarded_leg_always_wins_the_race() -> None:
    won = [await race(GuardedPeerConnection(HERE)) for _ in range(RUNS)]

    assert won == [True] * RUNS


async def test_an_unguarded_leg_loses_the_race() -> None:
    assert not await race(plain())


async def test_an_empty_datagram_of_a_stranger_is_nothing() -> None:
    """aiortc looks at the first byte of whatever comes, and dies of none."""
    async with connected(GuardedPeerConnection(HERE)) as pair, stranger() as attacker:
        with suppress(ConnectionRefusedError):
            attacker.sendto(b"", pair.address)
        pair.protocol.datagram_received(b"", attacker.getsockname())
        pair.channel.send("still here")
        await pair.hear(1)

        assert pair.is_connected


async def test_what_looks_like_stun_reaches_nobody_and_breaks_nothing() -> None:
    dice, faults = random.Random(4), []  # type: ignore[var-annotated]
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with connected(GuardedPeerConnection(HERE)) as pair, stranger() as attacker:
        for _ in range(2000):
            body = dice.randbytes(4 * dice.randrange(0, 40))
            head = bytes([dice.randrange(4), dice.randrange(256)]) + len(body).to_bytes(2, "big")
            pair.protocol.datagram_received(
                head + b"\x21\x12\xa4\x42" + dice.randbytes(12) + body, attacker.getsockname()
            )
            pair.protocol.datagram_received(
                bytes([dice.randrange(4)]) + body, attacker.getsockname()
            )

        assert ice_of(pair.leg)._queue.qsize() == 0
    assert faults == []


async def test_media_goes_on_in_a_flood() -> None:
    """``security.md`` R11: junk from a stranger, malformed SRTP, RTCP and DTLS from the peer."""
    junk = bytes([0x80]) + os.urandom(1150)
    malformed = [bytes([first, 200]) + os.urandom(90) for first in (0x80, 0x81, 20, 22, 23, 63)]
    async with connected(GuardedPeerConnection(HERE), track=True) as pair, stranger() as attacker:
        [browser_socket] = ice_of(pair.browser)._protocols
        most = 0
        for number in range(JUNK_RTP):
            with suppress(BlockingIOError, ConnectionRefusedError):
                attacker.sendto(junk, pair.address)
            if number % (JUNK_RTP // MALFORMED) == 0:
                await browser_socket.send_data(random.choice(malformed), pair.address)
                await asyncio.sleep(0)  # the leg runs in this loop, too
                most = max(most, ice_of(pair.leg)._queue.qsize())
        for _ in range(20):
            pair.channel.send("legitimate")
        await pair.hear(20)
        received, lost = await count_audio(pair.leg)
        async with asyncio.timeout(PATIENCE):
            while (await count_audio(pair.leg))[0] < received + 20:
                await asyncio.sleep(0.02)

        assert lost <= received / 4  # six times that, where strangers fill the socket's buffer
        assert most <= MAX_QUEUED_DATAGRAMS
        assert pair.is_connected


async def count_audio(leg: RTCPeerConnection) -> tuple[int, int]:
    """How many packets have come, and how many of them are missing."""
    stats = (await leg.getReceivers()[0].getStats()).values()
    streams = [one for one in stats if one.type == "inbound-rtp"]
    return sum(one.packetsReceived for one in streams), sum(one.packetsLost for one in streams)


async def test_after_the_handshake_the_kernel_keeps_strangers_out() -> None:
    """So that a flood does not push the peer's datagrams out of the buffer of the socket."""
    async with connected(GuardedPeerConnection(HERE)) as pair, stranger() as attacker:
        attacker.connect(pair.address)
        attacker.send(b"x")

        with pytest.raises(ConnectionRefusedError):
            attacker.send(b"x")


# ---- the peer itself -------------------------------------------------------------------


async def test_the_queue_of_a_leg_is_bounded() -> None:
    async with connected(GuardedPeerConnection(HERE)) as pair:
        [browser_socket] = ice_of(pair.browser)._protocols
        source = browser_socket.transport.get_extra_info("sockname")
        for _ in range(4 * MAX_QUEUED_DATAGRAMS):
            pair.protocol.datagram_received(bytes([0x80]) + bytes(100), source)

        assert ice_of(pair.leg)._queue.qsize() == MAX_QUEUED_DATAGRAMS


@pytest.mark.parametrize(
    "data",
    [b"", bytes([4]) + b"x", bytes([64]) + b"x", bytes([200]) + b"x", bytes(LONGEST_DATAGRAM + 1),
     bytes([0x80]) * (LONGEST_DATAGRAM + 1)],
)  # fmt: skip
async def test_only_kinds_of_a_leg_pass_even_from_the_peer(data: bytes) -> None:
    async with connected(GuardedPeerConnection(HERE)) as pair:
        [browser_socket] = ice_of(pair.browser)._protocols
        pair.protocol.datagram_received(data, browser_socket.transport.get_extra_info("sockname"))

        assert ice_of(pair.leg)._queue.qsize() == 0


async def test_a_source_counts_only_while_its_pair_is_validated() -> None:
    async with connected(GuardedPeerConnection(HERE)) as pair:
        [browser_socket] = ice_of(pair.browser)._protocols
        source = browser_socket.transport.get_extra_info("sockname")
        for one in ice_of(pair.leg)._check_list:
            one.state = CandidatePair.State.IN_PROGRESS
        pair.protocol.datagram_received(bytes([0x80]) + bytes(100), source)

        assert ice_of(pair.leg)._queue.qsize() == 0


async def test_a_peer_cannot_make_pairs_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(GuardedPeerConnection(HERE)) as pair:
        passed: list[object] = []
        monkeypatch.setattr(
            StunProtocol, "datagram_received", lambda _, __, source: passed.append(source)
        )
        pairs, new = ice_of(pair.leg)._check_list, ("127.0.0.1", 9)
        known = pairs[0].remote_addr
        for source in (known, new):
            pair.protocol.datagram_received(bytes(20), source)
        pairs.extend(pairs[:1] * (MAX_PAIRS - len(pairs)))
        for source in (known, new):
            pair.protocol.datagram_received(bytes(20), source)

        assert passed == [known, new, known]
        monkeypatch.undo()


# ---- what is spoken --------------------------------------------------------------------


async def test_a_leg_asks_no_server_and_listens_in_its_range() -> None:
    leg = GuardedPeerConnection(Endpoint("127.0.0.1", 41_200, 41_203))
    async with offered(leg) as pair:
        ice = ice_of(leg)

        assert (ice.stun_server, ice.turn_server) == (None, None)
        assert 41_200 <= pair.address[1] <= 41_203


async def test_a_leg_behind_nat_announces_the_public_address() -> None:
    async with offered(GuardedPeerConnection(Endpoint("203.0.113.7"))) as pair:
        bound = pair.protocol.transport.get_extra_info("sockname")

        assert (pair.address, bound[0]) == (("203.0.113.7", bound[1]), "0.0.0.0")  # noqa: S104


async def test_a_certificate_that_is_not_in_the_offer_yields_nothing() -> None:
    """``security.md`` R4."""
    leg, browser = GuardedPeerConnection(HERE), plain()
    browser.createDataChannel("line")
    await browser.setLocalDescription(await browser.createOffer())
    offer = browser.localDescription.sdp
    forged = re.sub(r"(a=fingerprint:sha-\d+) ..", r"\1 " + "00", offer)
    assert forged != offer
    await leg.setRemoteDescription(RTCSessionDescription(forged, "offer"))
    await leg.setLocalDescription(await leg.createAnswer())
    await browser.setRemoteDescription(leg.localDescription)
    async with asyncio.timeout(PATIENCE):
        while leg.connectionState != "failed":
            await asyncio.sleep(0.005)

    assert leg.sctp.state != "connected"
    await leg.close()
    await browser.close()


@pytest.mark.parametrize(
    ("suite", "is_spoken"),
    [
        (b"ECDHE-ECDSA-AES128-GCM-SHA256", True),
        (b"ECDHE-ECDSA-CHACHA20-POLY1305", True),
        (b"ECDHE-ECDSA-AES128-SHA", False),
        (b"ECDHE-ECDSA-AES256-SHA", False),
    ],
)
def test_only_aead_is_spoken(suite: bytes, is_spoken: bool) -> None:
    """``security.md`` R12; aiortc's own certificate speaks CBC-SHA, too."""
    assert shakes_hands(AeadCertificate.generateCertificate(), suite) == is_spoken
    assert shakes_hands(RTCCertificate.generateCertificate(), suite)


def shakes_hands(certificate: RTCCertificate, suite: bytes) -> bool:
    from aiortc.rtcdtlstransport import SRTP_PROFILES

    server = SSL.Connection(certificate._create_ssl_context(SRTP_PROFILES))
    server.set_accept_state()
    context = RTCCertificate.generateCertificate()._create_ssl_context(SRTP_PROFILES)
    context.set_max_proto_version(0xFEFD)
    context.set_cipher_list(suite)
    client = SSL.Connection(context)
    client.set_connect_state()
    done = set()
    for _ in range(20):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
                done.add(one)
            except SSL.WantReadError:
                pass
            except SSL.Error:
                return False
            with suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
        if len(done) == 2:
            return True
    return False


# ---- the aiortc we know ----------------------------------------------------------------


def test_aiortc_is_the_one_whose_private_names_we_use() -> None:
    assert importlib.metadata.version("aiortc").startswith("1.16.")
    assert importlib.metadata.version("aioice").startswith("0.13.")


async def test_private_names_are_where_we_reach_for_them() -> None:
    leg = plain()
    leg.addTransceiver("audio")
    [transceiver] = leg.getTransceivers()
    [transport] = leg._RTCPeerConnection__iceTransports
    ice = transport.iceGatherer._connection

    assert isinstance(transceiver.receiver, RTCRtpReceiver)
    assert isinstance(transceiver.sender, RTCRtpSender)
    assert len(leg._RTCPeerConnection__certificates) == 1
    assert transceiver.receiver._RTCRtpReceiver__decoder_queue.qsize() == 0
    assert callable(transceiver.sender._handle_rtcp_packet)
    assert callable(transceiver.receiver._send_rtcp_pli)
    assert callable(RTCCertificate._create_ssl_context)
    assert isinstance(ice, Connection)
    assert (ice._check_list, ice._protocols, ice._queue.qsize()) == ([], [], 0)
    assert ice._nominated == {}
    assert callable(ice.get_component_candidates)
    assert callable(ice.data_received)
    await leg.close()


async def test_every_socket_of_a_leg_is_guarded() -> None:
    async with offered(GuardedPeerConnection(HERE), track=True) as pair:
        transports = pair.leg._RTCPeerConnection__iceTransports
        protocols = [one for each in transports for one in each._connection._protocols]

        assert protocols
        assert all(type(one) is GuardedProtocol for one in protocols)
