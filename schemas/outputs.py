"""The events hitrun writes: their ids and their bytes (structured CloudEvents, JSON)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

import orjson

NAMESPACE = uuid.UUID("9d1d647c-dc39-5f43-a8d0-ae112ca5431b")
"""Of every id hitrun makes: the same decision has the same id, on whatever machine."""

SOURCE = "hitrun"
CONTENT_TYPE = b"application/cloudevents+json"
HEADERS: tuple[tuple[str, bytes], ...] = (("content-type", CONTENT_TYPE),)
"""Of every output record."""

_FIXED: dict[str, object] = {
    "specversion": "1.0",
    "source": SOURCE,
    "datacontenttype": "application/json",
}


def event_id(*parts: str | int) -> str:
    """uuid5 over the compact JSON array of `parts` (no spaces, no escapes beyond JSON's own)."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return str(uuid.uuid5(NAMESPACE, text))


def encode(event: Mapping[str, object]) -> bytes:
    """The value of an output record: `event` has type, id, subject, time and data."""
    return orjson.dumps({**_FIXED, **event})


def misplaced(
    *, topic: str, partition: int, offset: int, at: str, customer_id: str, checkout_id: str
) -> bytes:
    """`hitrun.event.misplaced`, for the partition where the customer lives."""
    return encode(
        {
            "type": "hitrun.event.misplaced",
            "id": event_id("misplaced", topic, partition, offset),
            "subject": checkout_id,
            "time": at,
            "data": {"customer_id": customer_id, "checkout_id": checkout_id},
        }
    )
