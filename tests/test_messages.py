"""The wire contract: prose and types say the same, and marked fields never reach a log."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

import signaling
from signaling.describe import describe, find_sensitivity
from signaling.messages import (
    ByeAction,
    ClientFrame,
    Hello,
    Offer,
    OfferEvent,
    Participant,
    ParticipantState,
    Role,
    RoomEvent,
    ServerFrame,
    SetMedia,
    Welcome,
)
from signaling.reasons import ByeReason, RefusalCode
from signaling.recordingevents import RecordingShown
from signaling.wire import Message

PROTOCOL = (Path(signaling.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
EVENTS = list(RoomEvent.__args__)
CLIENT_FRAMES = list(ClientFrame.__args__)
SERVER_FRAMES = [frame for frame in ServerFrame.__args__ if frame not in EVENTS]

Row = tuple[str, str, str]


def section(title: str) -> str:
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PROTOCOL, re.M | re.S)
    assert match, title
    return match[1]


def documented(title: str) -> dict[str, set[Row]]:
    """Message → its (field, type, sensitivity) rows, as one section of the manual says."""
    parts = re.split(r"^### (\w+)(?: \(event\))?\n", section(title), flags=re.M)
    return {
        tag: {
            (field, kind.strip(), mark.strip())
            for field, kind, mark in re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|", text, re.M)
        }
        for tag, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def words(kind: inspect.Type) -> str:
    """The manual's word for a field's type."""
    match kind:
        case inspect.Metadata(type=inner):
            return words(inner)
        case inspect.UnionType(types=types):
            return ", ".join(map(words, types))
        case inspect.ListType(item_type=inspect.IntType()):
            return "list of int"
        case inspect.ListType():
            return "list"
        case inspect.StrType() | inspect.EnumType():
            return "str"
        case inspect.NoneType():
            return "null"
        case inspect.StructType():
            return "object"
        case inspect.RawType():
            return "any"
    return {inspect.IntType: "int", inspect.BoolType: "bool"}[type(kind)]


def typed(struct: type[msgspec.Struct]) -> set[Row]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {
        (field.encode_name, words(field.type), find_sensitivity(field.type) or "")
        for field in info.fields
    }


def tag(message: type[Message]) -> str:
    return str(message.__struct_config__.tag)


@pytest.mark.parametrize(
    ("title", "messages"),
    [("Client frames", CLIENT_FRAMES), ("Server frames", SERVER_FRAMES), ("Events", EVENTS)],
)
def test_every_message_and_field_is_documented_and_nothing_else(
    title: str, messages: list[type[Message]]
) -> None:
    types = {tag(message): typed(message) for message in messages}
    if title == "Server frames":
        types["participant"] = typed(Participant)
        types["recording"] = typed(RecordingShown)

    assert documented(title) == types


@pytest.mark.parametrize(
    ("title", "values"),
    [("States", ParticipantState), ("Error codes", RefusalCode), ("Bye reasons", ByeReason)],
)
def test_every_state_code_and_reason_is_documented(title: str, values: type[StrEnum]) -> None:
    assert re.findall(r"^\| `(\w+)` \|", section(title), re.M) == list(values)


def test_every_action_and_role_is_documented() -> None:
    assert all(f"`{word}`" in PROTOCOL for word in [*ByeAction, *Role])


@pytest.mark.parametrize("union", [ClientFrame, RoomEvent, ServerFrame])
def test_each_tag_is_used_once_in_a_direction(union: object) -> None:
    msgspec.json.Decoder(union)


def test_a_log_line_has_ids_and_no_marked_field() -> None:
    secret = "SECRET-WORD"
    raw = msgspec.Raw(f'"{secret}"'.encode())
    frames = [
        Hello(versions=[1], ticket=secret, resume=secret),
        Offer(cseq=7, to="bruno", generation=3, payload=raw),
        OfferEvent(seq=9, sender="anna", to="bruno", generation=3, payload=raw),
        Welcome(
            version=1,
            epoch="e1",
            seq=1,
            cseq=0,
            you="anna",
            role=Role.PATIENT,
            polite=True,
            participants=[],
            resumed=False,
            resume=secret,
            late_minutes=0,
            still="",
            recording=None,
            outcome=None,
            ice_servers=[{"urls": ["turn:turn.asl.test"], "credential": secret}],
            relay_until_admitted=False,
            relay_always=False,
        ),
    ]

    lines = [describe(frame) for frame in frames]

    assert secret not in " ".join(lines)
    assert lines[1] == "offer cseq=7 to='bruno' generation=3 payload=[PII]"


def test_a_log_line_is_one_short_line_whatever_the_client_wrote() -> None:
    line = describe(
        OfferEvent(sender="a\nb\u2028c" * 99, to="", generation=1, payload=msgspec.Raw())
    )

    assert line.isprintable()
    assert len(line) < 300


def test_every_message_can_be_described() -> None:
    assert describe(SetMedia(cseq=1, microphone=True, camera=False)).startswith("set_media cseq=1")
