"""Recorded events as records: what `hitrun replay` reads, one JSON object a line.

A line is a record {topic, key, timestamp, headers, value}, the same as `kcat -J` writes it
({topic, key, ts, headers: [name, value, ...], payload}), or a bare CloudEvents object. Bytes that
are no UTF-8 survive, as lone surrogates ("\\udcff") or as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from msgspec import Struct

from schemas.codec import to_ms
from schemas.record import RawRecord
from schemas.topics import Stream, Topics

_FAMILIES: Final[tuple[tuple[str, Stream], ...]] = (
    ("marketplace.checkout.", "checkout"),
    ("marketplace.payment.", "payment"),
    ("marketplace.order.", "order"),
    ("hitrun.", "command"),
)
"""How a bare event's type begins, and the stream it belongs to."""


LATEST_MS: Final = 253_370_764_800_000
"""The year 9999: what a date can hold."""


class BadLine(Exception):
    """This line is no record; say so and read on."""


class Recorded(Struct, frozen=True):
    """One line that could be read."""

    stream: Stream
    record: RawRecord
    """Its timestamp is the arrival."""


def until_ms(text: str) -> int:
    """A time in RFC 3339 as ms; raises ValueError in words."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is no time like 2026-03-01T12:00:00Z") from None
    if at.tzinfo is None:
        raise ValueError(f"{text} says no zone; put Z behind it for UTC")
    return to_ms(at)


def read(
    lines: Iterable[bytes], *, topics: Topics, name: str, bad: Callable[[str], None]
) -> Iterator[Recorded]:
    """The records of one file, in its order. What is no record is told to `bad` as
    "name:line: why" and left out. A line without any time arrives with the line before it."""
    arrival_ms: int | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            recorded = record_of(line, topics=topics, offset=number - 1, former_ms=arrival_ms)
        except BadLine as why:
            bad(f"{name}:{number}: {why}")
            continue
        arrival_ms = recorded.record.timestamp
        yield recorded


def in_order_of_arrival(files: Iterable[Iterator[Recorded]]) -> list[Recorded]:
    """All records of all files by arrival; of the same moment in the order of files and lines."""
    whole = [recorded for file in files for recorded in file]
    whole.sort(key=lambda recorded: recorded.record.timestamp)
    return whole


def record_of(line: bytes, *, topics: Topics, offset: int, former_ms: int | None) -> Recorded:
    """The record of a line. Raises BadLine."""
    try:
        found = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise BadLine(f"not JSON: {error}") from None
    except RecursionError:
        raise BadLine("not JSON: nested too deeply") from None
    if not isinstance(found, dict):
        raise BadLine("not a JSON object")
    if "topic" in found:
        return _record(found, topics, offset, former_ms)
    if "specversion" in found or "type" in found:
        return _bare(found, line.strip(), topics, offset, former_ms)
    raise BadLine(
        "neither a record (topic, key, timestamp, headers, value) nor a CloudEvents object"
    )


def _record(
    found: dict[str, object], topics: Topics, offset: int, former_ms: int | None
) -> Recorded:
    topic = found["topic"]
    stream = topics.stream_of(topic) if isinstance(topic, str) else None
    if stream is None or not isinstance(topic, str):
        known = ", ".join(topics.inputs())
        raise BadLine(f"topic {topic!r} is none of the inputs ({known}); HITRUN_TOPIC_* name them")
    value = _value(found.get("value", found.get("payload")))
    headers = _headers(found.get("headers"))
    at_ms = _timestamp(found.get("timestamp", found.get("ts")))
    if at_ms is None:
        at_ms = _event_time(value, headers, former_ms)
    return Recorded(
        stream,
        RawRecord(
            topic,
            _whole(found.get("partition"), 0),
            _whole(found.get("offset"), offset),
            at_ms,
            _text(found.get("key"), "key"),
            value,
            headers,
        ),
    )


def _bare(
    found: dict[str, object], line: bytes, topics: Topics, offset: int, former_ms: int | None
) -> Recorded:
    kind, data = found.get("type"), found.get("data")
    streams = [s for start, s in _FAMILIES if isinstance(kind, str) and kind.startswith(start)]
    if not streams:
        raise BadLine(f"the type {kind!r} tells no topic; write it as a record with its topic")
    customer = data.get("customer_id") if isinstance(data, dict) else None
    key = _bytes(customer) if isinstance(customer, str) else None
    record = RawRecord(
        topics.name(streams[0]), 0, offset, _event_time(line, (), former_ms), key, line
    )
    return Recorded(streams[0], record)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadLine("a lone surrogate that stands for no byte") from None


def _text(found: object, what: str) -> bytes | None:
    if found is None:
        return None
    if not isinstance(found, str):
        raise BadLine(f"{what} is neither a text nor null")
    return _bytes(found)


def _value(found: object) -> bytes | None:
    """A record's value: a text as it is, null a tombstone, an object as JSON."""
    if isinstance(found, dict | list):
        return _bytes(json.dumps(found, ensure_ascii=False, separators=(",", ":")))
    return _text(found, "value")


def _headers(found: object) -> tuple[tuple[str, bytes], ...]:
    """{name: value}, [[name, value], ...] or, as kcat has it, [name, value, name, value, ...]."""
    pairs: list[tuple[object, object]]
    if found is None:
        return ()
    if isinstance(found, dict):
        pairs = list(found.items())
    elif not isinstance(found, list):
        raise BadLine("headers are neither an object nor a list")
    elif all(isinstance(each, list) and len(each) == 2 for each in found):
        pairs = [(name, value) for name, value in found]
    elif len(found) % 2 == 0:
        pairs = list(zip(found[::2], found[1::2], strict=True))
    else:
        raise BadLine("headers: a name without a value")
    headers = []
    for name, value in pairs:
        if not isinstance(name, str):
            raise BadLine("headers: a name is no text")
        headers.append((name, _text(value, f"header {name}") or b""))
    return tuple(headers)


def _timestamp(found: object) -> int | None:
    if found is None or found == -1:  # Kafka's own word for none
        return None
    if isinstance(found, int) and not isinstance(found, bool):
        if not 0 <= found < LATEST_MS:
            raise BadLine(f"timestamp {found} is no ms since 1970")
        return found
    if isinstance(found, str):
        try:
            return until_ms(found)
        except ValueError as error:
            raise BadLine(f"timestamp: {error}") from None
    raise BadLine("timestamp is neither whole ms since 1970 nor a time in RFC 3339")


def _event_time(
    value: bytes | None, headers: tuple[tuple[str, bytes], ...], former_ms: int | None
) -> int:
    """The event's own time; that of the line before when it says none that can be read."""
    told: object = dict(headers).get("ce_time", b"").decode("utf-8", "replace") or None
    if told is None and value is not None:
        try:
            found = json.loads(value.decode("utf-8", "surrogateescape"))
            told = found.get("time") if isinstance(found, dict) else None
        except (ValueError, RecursionError):
            told = None
    try:
        return until_ms(told if isinstance(told, str) else "")
    except ValueError:
        if former_ms is None:
            raise BadLine("neither a timestamp nor an event time that can be read") from None
        return former_ms


def _whole(found: object, default: int) -> int:
    return found if isinstance(found, int) and not isinstance(found, bool) else default
