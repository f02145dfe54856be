"""A Kafka record as the parts behind the transport see it, whatever client read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class Record(Protocol):
    """What is read of a record: aiokafka's ConsumerRecord and `RawRecord` are such."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Append time, ms since 1970. The transport puts its clock here where a topic has
        CreateTime, which is the producer's word only."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class RawRecord(Struct, frozen=True):
    """A record that comes from no client: replayed, or made by a test."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
