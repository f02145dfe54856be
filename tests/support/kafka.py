"""Working with the tests' Kafka: topics, records in and out. All calls block and have a deadline.

kafka.create({"in": 4})
kafka.produce([Sent("in", key=b"c1", value=b"{}")])
for record in kafka.read("in"): ...
"""

import asyncio
import itertools
import time
import uuid
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code
from aiokafka.structs import ConsumerRecord

T = TypeVar("T")

CALL_S = 60.0
"""The longest any call here may take."""


@dataclass(frozen=True)
class Sent:
    """A record to produce; without a partition its key decides (murmur2)."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    timestamp_ms: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class Kafka:
    """A cluster as tests use it. Names are theirs alone: `unique` once per test."""

    def __init__(self, bootstrap: str, **security: Any) -> None:
        """`security`: options of every client, for a broker that demands TLS or a password."""
        self.bootstrap = bootstrap
        self.client: dict[str, Any] = {"bootstrap_servers": bootstrap, **security}
        self._numbers = itertools.count(1)
        self._run = uuid.uuid4().hex[:6]

    def unique(self, word: str = "t") -> str:
        """A name that no other test, and no earlier run on the same data, has used."""
        return f"{word}-{self._run}-{next(self._numbers)}"

    def create(self, topics: Mapping[str, int], *, replication: int = 1, **config: str) -> None:
        """Make topics, name -> partitions; config as `cleanup_policy="compact"` (_ for .)."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        wanted = [
            NewTopic(name, partitions, replication, topic_configs=settings)
            for name, partitions in topics.items()
        ]

        async def act(admin: AIOKafkaAdminClient) -> None:
            answer = await admin.create_topics(wanted)
            for name, code, message in answer.topic_errors:
                if code:
                    raise for_code(code)(f"{name}: {message}")

        self.administer(act)

    def delete(self, *topics: str) -> None:
        """Remove topics, for tests about topics that go away."""

        async def act(admin: AIOKafkaAdminClient) -> None:
            await admin.delete_topics(list(topics))

        self.administer(act)

    def topics(self) -> set[str]:
        """The names of all topics."""

        async def act(admin: AIOKafkaAdminClient) -> set[str]:
            return set(await admin.list_topics())

        return self.administer(act)

    def produce(
        self,
        records: Iterable[Sent],
        *,
        transactional_id: str | None = None,
        commit: bool = True,
        **options: Any,
    ) -> list[tuple[int, int]]:
        """Send records in their order; returns (partition, offset) of each.

        With a transactional_id in one transaction, which is aborted when `commit` is False.
        """

        async def act() -> list[tuple[int, int]]:
            producer = AIOKafkaProducer(
                **self.client,
                transactional_id=transactional_id,
                enable_idempotence=True,
                max_request_size=4 * 1024 * 1024,
                linger_ms=5,
                **options,
            )
            await producer.start()
            try:
                if transactional_id:
                    await producer.begin_transaction()
                futures = [await _send(producer, record) for record in records]
                places = [(done.partition, done.offset) for done in await asyncio.gather(*futures)]
                if transactional_id and commit:
                    await producer.commit_transaction()
                elif transactional_id:
                    await producer.abort_transaction()
                return places
            finally:
                await producer.stop()

        return run(act())

    def read(
        self,
        *topics: str,
        committed: bool = True,
        start: Mapping[tuple[str, int], int] | None = None,
    ) -> list[ConsumerRecord]:
        """All records up to the present end, by topic, partition and offset; no group.

        committed: as a read_committed consumer sees them; the end is then the last stable offset.
        start: first offsets of (topic, partition), to read only what is new.
        """

        async def act() -> list[ConsumerRecord]:
            consumer = AIOKafkaConsumer(
                **self.client,
                isolation_level="read_committed" if committed else "read_uncommitted",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                fetch_max_wait_ms=50,
                max_partition_fetch_bytes=8 * 1024 * 1024,
            )
            await consumer.start()
            try:
                return await _read_to_end(consumer, topics, start or {})
            finally:
                await consumer.stop()

        return run(act())

    def ends(self, *topics: str, committed: bool = False) -> dict[tuple[str, int], int]:
        """End offsets of (topic, partition): high watermarks, or last stable ones."""

        async def act() -> dict[tuple[str, int], int]:
            consumer = AIOKafkaConsumer(
                **self.client,
                isolation_level="read_committed" if committed else "read_uncommitted",
            )
            await consumer.start()
            try:
                found = await consumer.end_offsets(await _partitions(consumer, topics))
                return {(tp.topic, tp.partition): end for tp, end in found.items()}
            finally:
                await consumer.stop()

        return run(act())

    def administer(self, act: Any) -> Any:
        """Awaits `act(admin client)`, for what has no call here."""

        async def whole() -> Any:
            admin = AIOKafkaAdminClient(**self.client)
            await admin.start()
            try:
                return await act(admin)
            finally:
                await admin.close()

        return run(whole())


def run(work: Coroutine[Any, Any, T], *, within_s: float = CALL_S) -> T:
    """Run a coroutine to its end, from a test that is not one; TimeoutError after the time."""

    async def limited() -> T:
        async with asyncio.timeout(within_s):
            return await work

    return asyncio.run(limited())


async def _send(producer: AIOKafkaProducer, record: Sent) -> Any:
    return await producer.send(
        record.topic,
        value=record.value,
        key=record.key,
        partition=record.partition,
        timestamp_ms=record.timestamp_ms,
        headers=list(record.headers),
    )


async def _partitions(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    await consumer._client.set_topics(topics)  # the public way waits for the next refresh
    found = []
    for topic in topics:
        until = time.monotonic() + 3
        while not (numbers := consumer.partitions_for_topic(topic)):
            assert time.monotonic() < until, f"there is no topic {topic}"
            await consumer._client.force_metadata_update()
        found += [TopicPartition(topic, number) for number in sorted(numbers)]
    return found


async def _read_to_end(
    consumer: AIOKafkaConsumer, topics: Sequence[str], start: Mapping[tuple[str, int], int]
) -> list[ConsumerRecord]:
    partitions = await _partitions(consumer, topics)
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await consumer.seek_to_beginning(*partitions)
    for tp in partitions:
        if (tp.topic, tp.partition) in start:
            consumer.seek(tp, start[tp.topic, tp.partition])
    records: list[ConsumerRecord] = []
    waiting = [tp for tp in partitions if ends[tp] > await consumer.position(tp)]
    while waiting:
        for batch in (await consumer.getmany(timeout_ms=100)).values():
            records += [record for record in batch if record.offset < ends[_tp(record)]]
        # Positions pass transaction markers and aborted records, which are never handed out.
        waiting = [tp for tp in waiting if await consumer.position(tp) < ends[tp]]
    return sorted(records, key=lambda r: (topics.index(r.topic), r.partition, r.offset))


def _tp(record: ConsumerRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
