"""ICE servers: what is configured, with short-lived credentials, and never a public default."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from signaling.ice import EVERYBODY, IceConfig, ice_servers, turn_credentials
from signaling.messages import Away, Closed, Gone, RoomEvent, TurnedAway

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
RELAYED = IceConfig(
    stun_urls=("stun:turn.asl.test:3478",),
    turn_urls=("turn:turn.asl.test:3478", "turns:turn.asl.test:5349?transport=tcp"),
    turn_secret=b"north",
)


def test_nothing_configured_gives_an_empty_list() -> None:
    assert ice_servers(IceConfig(), "visit.patient", NOW) == []


def test_credentials_are_those_that_coturn_computes() -> None:
    username, credential = turn_credentials(RELAYED, "visit.patient", NOW)

    expiry = int(NOW.timestamp()) + 7200
    assert username == f"{expiry}:visit.patient.000000"
    expected = hmac.new(b"north", username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(credential) == expected


def test_stun_and_turn_are_given_in_the_form_of_the_browser() -> None:
    stun, turn = ice_servers(RELAYED, "visit.patient", NOW)

    assert stun == {"urls": ["stun:turn.asl.test:3478"]}
    assert set(turn) == {"urls", "username", "credential"}
    assert turn["urls"] == list(RELAYED.turn_urls)


def test_the_secret_is_never_shown() -> None:
    assert "north" not in repr(RELAYED)
    assert "north" not in repr(ice_servers(RELAYED, "visit.patient", NOW))


@pytest.mark.parametrize("seconds", [0, -1, 7201])
def test_credentials_live_two_hours_at_most(seconds: int) -> None:
    with pytest.raises(ValueError, match="credential_seconds"):
        IceConfig(credential_seconds=seconds)


def test_a_relay_without_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="turn_secret"):
        IceConfig(turn_urls=("turn:turn.asl.test",))


def test_each_credential_has_a_quota_of_its_own() -> None:
    one, _ = turn_credentials(RELAYED, "visit.patient", NOW)
    other, _ = turn_credentials(RELAYED, "visit.patient", NOW + timedelta(milliseconds=1))

    assert one.partition(":")[2] != other.partition(":")[2]


# ---- a secret for each seat ------------------------------------------------------------


@dataclass
class Seats:
    """Keeps what it is told."""

    revoked: list[tuple[str, str, float]] = field(default_factory=list)

    def issue(self, identity: str, now: datetime) -> bytes:
        return f"of {identity}".encode()

    def revoke(self, room_id: str, participant: str, at: float) -> None:
        self.revoked.append((room_id, participant, at))


def test_a_seat_has_its_own_secret() -> None:
    config = IceConfig(turn_urls=("turn:turn.asl.test",), seats=Seats())

    username, credential = turn_credentials(config, "visit.patient", NOW)

    expected = hmac.new(b"of visit.patient", username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(credential) == expected


@pytest.mark.parametrize(
    ("event", "revoked"),
    [
        (Gone(participant="patient"), [("room", "patient", 5.0)]),
        (TurnedAway(participant="patient"), [("room", "patient", 5.0)]),
        (Closed(outcome="completed"), [("room", EVERYBODY, 5.0)]),
        (Away(participant="patient"), []),
    ],
)
def test_who_is_sent_away_loses_the_relay(
    event: RoomEvent, revoked: list[tuple[str, str, float]]
) -> None:
    seats = Seats()

    IceConfig(turn_urls=("turn:turn.asl.test",), seats=seats).end_seats("room", event, 5.0)

    assert seats.revoked == revoked


def test_one_secret_for_all_ends_nobody() -> None:
    RELAYED.end_seats("room", Closed(outcome="completed"), 5.0)
