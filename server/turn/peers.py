"""The addresses that a TURN server must never relay to: special-purpose ones (RFC 6890 and the
IANA registries), where a relay would open the inner network. Tables only.

In coturn 4.6.1 a range that starts at ``::`` denies every IPv4 peer too: none does.
"""

from __future__ import annotations

from typing import Final

_F: Final = "ffff"


def _block(prefix: str, groups: int) -> str:
    """From ``prefix::`` to its end, ``groups`` groups of it free."""
    return f"{prefix}::-{prefix}:{':'.join([_F] * groups)}"


DENIED_RANGES: Final = (
    "0.0.0.0-0.255.255.255",
    "10.0.0.0-10.255.255.255",
    "100.64.0.0-100.127.255.255",
    "127.0.0.0-127.255.255.255",
    "169.254.0.0-169.254.255.255",
    "172.16.0.0-172.31.255.255",
    "192.0.0.0-192.0.0.255",
    "192.0.2.0-192.0.2.255",
    "192.88.99.0-192.88.99.255",
    "192.168.0.0-192.168.255.255",
    "198.18.0.0-198.19.255.255",
    "198.51.100.0-198.51.100.255",
    "203.0.113.0-203.0.113.255",
    "224.0.0.0-255.255.255.255",
    "::1-::ffff:ffff:ffff",  # loopback, IPv4-compatible and IPv4-mapped
    "64:ff9b::-64:ff9b::ffff:ffff",  # NAT64
    _block("64:ff9b:1", 5),
    "100::-100::ffff:ffff:ffff:ffff",
    f"2001::-2001:1ff:{':'.join([_F] * 6)}",  # Teredo, ORCHID, benchmarking
    _block("2001:db8", 6),
    _block("2002", 7),  # 6to4
    f"3fff::-3fff:fff:{':'.join([_F] * 6)}",
    _block("5f00", 7),
    f"fc00::-{':'.join([_F] * 8)}",  # unique local, link-local, multicast
)

FORBIDDEN_V4: Final = (
    "0.0.0.0",  # noqa: S104 (nothing is bound to it)
    "0.1.2.3", "127.0.0.1", "127.8.8.8", "10.0.0.1", "100.64.0.1", "169.254.169.254",
    "172.16.0.1", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
FORBIDDEN_V6: Final = (
    "::", "::1", "::10.0.0.1", "::ffff:8.8.8.8", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1",
    "2001::1", "2001:db8::1", "2002:a00:1::1", "2002:7f00:1::1", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
)  # fmt: skip
PUBLIC_V4: Final = ("8.8.8.8", "93.184.216.34")
PUBLIC_V6: Final = ("2606:4700:4700::1111", "2a00:1450::1")
