"""How a frame is written in a log: type and ids, never what is marked ``PII`` or ``SECRET``.

The only door from a message to a log line. What it hides is declared in ``messages.py`` beside
each field, so that a new field is judged where it is added.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import inspect

from signaling.messages import ClientFrame, ServerFrame
from signaling.wire import Message

_MAX_VALUE_CHARACTERS: Final = 80


def find_sensitivity(kind: inspect.Type) -> str | None:
    """The ``PII`` or ``SECRET`` mark of a field's type, also inside ``… | None`` and lists."""
    match kind:
        case inspect.Metadata(extra={"sensitivity": str() as mark}):
            return mark
        case inspect.Metadata(type=inner):
            return find_sensitivity(inner)
        case inspect.UnionType(types=types):
            return next(filter(None, map(find_sensitivity, types)), None)
        case inspect.ListType(item_type=item):
            return find_sensitivity(item)
        case _:
            return None


def _marks_by_field(message: type[Message]) -> dict[str, str | None]:
    info = inspect.type_info(message)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - narrows for the type checker
    return {field.name: find_sensitivity(field.type) for field in info.fields}


_MARKS: Final[dict[type[Message], dict[str, str | None]]] = {
    message: _marks_by_field(message)
    for union in (ClientFrame, ServerFrame)
    for message in union.__args__
}


def describe(message: Message) -> str:
    """One line of printable ASCII for a log."""
    parts = [
        f"{name}=[{mark}]" if mark else f"{name}={_shorten(getattr(message, name))}"
        for name, mark in _MARKS[type(message)].items()
    ]
    return " ".join([str(message.__struct_config__.tag), *parts])


def _shorten(value: object) -> str:
    text = ascii(msgspec.to_builtins(value))
    return text if len(text) <= _MAX_VALUE_CHARACTERS else text[:_MAX_VALUE_CHARACTERS] + "…"
