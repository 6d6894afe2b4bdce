"""What a message is filed under, as every database can hold it. Pure."""

from __future__ import annotations

from server.cup.booking import Booking, Message


def control_id_of(message: Message) -> str | None:
    return clean(message.control_id)[:200] if message.control_id else None


def booking_code_of(message: Message) -> str:
    body = message.body
    return body.booking_code if isinstance(body, Booking) else clean(message.booking_code)[:64]


def clean(text: str) -> str:
    """Without what no database takes: a code is kept also of a message that cannot be read."""
    return text if text.isprintable() else "".join(char for char in text if char.isprintable())
